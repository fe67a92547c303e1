"""Addresses of dead Pods, given back by what a runtime lists."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc as criv1_grpc
from navarch.services.base.clock import VirtualClock
from navarch.services.base.dialing import channel
from navarch.services.network.stale_addresses import held_addresses
from navarch.services.network.sweeper import Sweeper


class Runtime(criv1_grpc.RuntimeServiceServicer):
    """Lists sandboxes, or fails."""

    def __init__(self) -> None:
        self.sandboxes: set[str] | None = set()

    async def ListPodSandbox(
        self, request: criv1.ListPodSandboxRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> criv1.ListPodSandboxResponse:
        if self.sandboxes is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return criv1.ListPodSandboxResponse(items=[criv1.PodSandbox(id=one) for one in sorted(self.sandboxes)])


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    served = Runtime()
    server = grpc.aio.server()
    criv1_grpc.add_RuntimeServiceServicer_to_server(served, server)
    server.add_insecure_port(f"unix:{tmp_path}/cri.sock")
    await server.start()
    yield served
    await server.stop(None)


async def test_only_who_is_not_listed_for_long_loses_its_address(runtime: Runtime, tmp_path: Path) -> None:
    folder = tmp_path / "navarch"
    folder.mkdir()
    for address, sandbox in (("10.244.1.2", "alive"), ("10.244.1.3", "dead")):
        (folder / address).write_text(f"{sandbox}\r\neth0")
    clock = VirtualClock()
    sweeper = Sweeper(folder, f"unix://{tmp_path}/cri.sock", clock, grace_s=60)
    async with channel(f"unix:{tmp_path}/cri.sock", None) as opened:
        stub: criv1_grpc.RuntimeServiceAsyncStub = criv1_grpc.RuntimeServiceStub(opened)
        runtime.sandboxes = {"alive"}
        await sweeper.sweep(stub)
        clock.advance(59)
        await sweeper.sweep(stub)
        assert set(held_addresses(folder)) == {"10.244.1.2", "10.244.1.3"}
        # Who cannot be asked has not said that anybody is dead.
        runtime.sandboxes = None
        clock.advance(60)
        with pytest.raises(grpc.aio.AioRpcError):
            await sweeper.sweep(stub)
        assert set(held_addresses(folder)) == {"10.244.1.2", "10.244.1.3"}
        runtime.sandboxes = {"alive"}
        await sweeper.sweep(stub)
        assert set(held_addresses(folder)) == {"10.244.1.2"}
