"""The network of one node as a service: has the CNI files and the nftables table, and sees that they stay.

Stopping leaves both, so that Pods keep their network while the service is away; `tear_down` removes them.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.network import cni_config, masquerade
from navarch.services.network.masquerade import NftError

CHECK_S = 30.0
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True, slots=True)
class Config:
    """pod_cidr: of this node. cluster_cidrs: where Pods keep their own address."""

    pod_cidr: str
    bridge: str
    cni_conf_dir: Path
    table: str
    cluster_cidrs: tuple[str, ...] = ()


class Network:
    """Keeps the network of one node."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._tasks = TaskOwner()
        self._log = get_logger("network")

    async def start(self) -> None:
        """Have everything in place, then keep it so. Raises NftError and OSError."""
        config = self._config
        await asyncio.to_thread(_allow_forwarding)
        await masquerade.install(config.table, config.pod_cidr, config.cluster_cidrs)
        await asyncio.to_thread(cni_config.write, config.cni_conf_dir, config.pod_cidr, config.bridge)
        self._log.info("network.ready", pod_cidr=config.pod_cidr, bridge=config.bridge, table=config.table)
        self._tasks.spawn(self._keep(), "network-check")

    async def stop(self) -> None:
        """Stop looking after it; everything stays."""
        await self._tasks.close()

    async def _keep(self) -> None:
        config = self._config
        while True:
            await self._clock.sleep(CHECK_S)
            try:
                if await asyncio.to_thread(cni_config.write, config.cni_conf_dir, config.pod_cidr, config.bridge):
                    self._log.warning("network.restored", what="CNI files")
                if not await masquerade.exists(config.table):
                    await masquerade.install(config.table, config.pod_cidr, config.cluster_cidrs)
                    self._log.warning("network.restored", what="nftables table")
            except (NftError, OSError) as failure:
                self._log.warning("network.check_failed", error=failure)


def _allow_forwarding() -> None:
    if FORWARDING.read_text().strip() != "1":
        FORWARDING.write_text("1\n")


async def tear_down(config: Config) -> None:
    """Remove the table, the bridge and the files. Idempotent; goes on after a failure and raises the first."""
    failures: list[Exception] = []
    try:
        await masquerade.remove(config.table)
    except (NftError, OSError) as failure:
        failures.append(failure)
    try:
        await asyncio.to_thread(_delete_link, config.bridge)
    except OSError as failure:
        failures.append(failure)
    await asyncio.to_thread(cni_config.remove, config.cni_conf_dir)
    if failures:
        raise failures[0]


def _delete_link(name: str) -> None:
    # Imported where it is needed: it is large, and a service that runs needs none of it.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as route:
        try:
            for index in route.link_lookup(ifname=name):
                route.link("del", index=index)
        except NetlinkError as failure:
            raise OSError(failure.code, f"cannot delete link {name}: {failure}") from failure
