"""Has the addresses of dead Pods given back from time to time: asks the runtime for sandboxes, frees what is stale."""

import asyncio
from pathlib import Path

import grpc

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc as criv1_grpc
from navarch.services.base.clock import Clock
from navarch.services.base.dialing import channel
from navarch.services.base.log import get_logger
from navarch.services.network.stale_addresses import GRACE_S, StaleAddresses, held_addresses, release

SWEEP_S = 30.0
CALL_TIMEOUT_S = 30.0


class Sweeper:
    """folder: host-local's, of this network. runtime_endpoint: of CRI, "unix:///PATH"."""

    def __init__(
        self, folder: Path, runtime_endpoint: str, clock: Clock, *, every_s: float = SWEEP_S, grace_s: float = GRACE_S
    ) -> None:
        self._folder = folder
        self._endpoint = runtime_endpoint
        self._clock = clock
        self._every_s = every_s
        self._stale = StaleAddresses(grace_s)
        self._log = get_logger("network.addresses")

    async def run(self) -> None:
        """Sweep for ever."""
        async with channel(self._endpoint.replace("unix:///", "unix:/"), None) as opened:
            runtime = criv1_grpc.RuntimeServiceStub(opened)
            while True:
                try:
                    await self.sweep(runtime)
                except grpc.aio.AioRpcError as failure:
                    # The runtime is away: who lives is not known, and nothing is given back.
                    self._log.debug("addresses.not_compared", error=failure.details())
                except OSError as failure:
                    self._log.warning("addresses.not_released", error=failure)
                await self._clock.sleep(self._every_s)

    async def sweep(self, runtime: "criv1_grpc.RuntimeServiceAsyncStub") -> None:
        """Look once. Raises AioRpcError and OSError."""
        # First the files: whoever is noted after this look is judged at the next one.
        held = await asyncio.to_thread(held_addresses, self._folder)
        if not held:
            return
        listed = await runtime.ListPodSandbox(criv1.ListPodSandboxRequest(), timeout=CALL_TIMEOUT_S)
        stale = self._stale.stale(held, {item.id for item in listed.items}, self._clock.monotonic())
        for address in await asyncio.to_thread(release, self._folder, stale):
            self._log.info("address.released", address=address, sandbox=stale[address])
