"""How full the volumes of drivers are, by their own word: they are asked now and then, beside all else."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.navarch import stats_pb2
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.volumes.csi_drivers import Driver
from navarch.services.kubelet.volumes.kinds import MountFailure

LOOK_S = 10.0
PERIOD_S = 60.0
# The uid of a Pod and the name of its volume.
Key = tuple[str, str]
BYTES, INODES = csiv1.VolumeUsage.BYTES, csiv1.VolumeUsage.INODES


class Measurable(Protocol):
    """Knows whom to ask about which volume."""

    def measurable(self) -> Mapping[Key, tuple[Driver, csiv1.NodeGetVolumeStatsRequest]]:
        """The volumes whose drivers tell how full they are."""
        ...


class CsiUsage:
    """The last readings of the volumes of one node."""

    def __init__(self, volumes: Measurable, clock: Clock) -> None:
        self._volumes = volumes
        self._clock = clock
        self._known: dict[Key, tuple[float, stats_pb2.FsUsage | None]] = {}
        self._log = get_logger("kubelet.csi")

    def known(self) -> dict[Key, stats_pb2.FsUsage]:
        """What is known of volumes that are there."""
        return {key: usage for key, (_, usage) in self._known.items() if usage is not None}

    async def run(self) -> None:
        """Ask for ever: a new volume soon, an old one each minute. One that stalls holds up no other's driver long."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask for all that is due; forget those that are gone."""
        wanted, now = self._volumes.measurable(), self._clock.monotonic()
        self._known = {key: found for key, found in self._known.items() if key in wanted}
        due = [key for key in wanted if key not in self._known or self._known[key][0] + PERIOD_S <= now]
        await asyncio.gather(*(self._ask(key, *wanted[key]) for key in due))

    async def _ask(self, key: Key, driver: Driver, request: csiv1.NodeGetVolumeStatsRequest) -> None:
        usage: stats_pb2.FsUsage | None = None
        try:
            usage = usage_of(await driver.call(driver.stub.NodeGetVolumeStats, request))
        except MountFailure as failure:
            self._log.info("volume.not_measured", volume=request.volume_id, driver=driver.name, cause=failure)
        self._known[key] = (self._clock.monotonic(), usage)


def usage_of(answer: csiv1.NodeGetVolumeStatsResponse) -> stats_pb2.FsUsage:
    """A driver's answer. What it does not count is left out."""
    usage = stats_pb2.FsUsage()
    for entry in answer.usage:
        if entry.unit == BYTES:
            usage.available_bytes, usage.capacity_bytes = max(0, entry.available), max(0, entry.total)
            usage.used_bytes = max(0, entry.used)
        elif entry.unit == INODES:
            usage.inodes_free, usage.inodes = max(0, entry.available), max(0, entry.total)
            usage.inodes_used = max(0, entry.used)
    return usage
