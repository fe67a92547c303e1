"""Brings the host to a plan: netlink, sysctls, nftables, CNI files. Level-triggered: looks, and changes what differs.

Nothing here is undone when the service stops or dies: Pods keep their network without it.
"""

import asyncio
from dataclasses import dataclass, field

from navarch.services.network import cni_config, forward_policy, masquerade, netlink
from navarch.services.network.config import ALWAYS, Config
from navarch.services.network.conflicts import foreign_routes
from navarch.services.network.difference import Add, Operation, difference
from navarch.services.network.forward_policy import IptablesError
from navarch.services.network.kernel import CIDR, Desired, Kernel
from navarch.services.network.masquerade import NftError
from navarch.services.network.netlink import KernelRefused
from navarch.services.network.planner import FORWARDING, Plan, barriers


@dataclass
class Done:
    """What a look has found to do. operations: on the kernel. rules, files: whether they had to be written."""

    operations: list[Operation] = field(default_factory=list)
    rules: bool = False
    files: bool = False


class Host:
    """This host."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules: tuple[tuple[CIDR, ...], frozenset[CIDR]] | None = None

    def foreign_config(self) -> str:
        """Another network's CNI configuration that is in charge; "" for none."""
        if self._config.manage == ALWAYS:
            return ""
        return cni_config.foreign_config(self._config.cni_conf_dir)

    async def observe(self) -> Kernel:
        """The kernel as the plan needs to know it. Raises KernelRefused and OSError."""
        devices = self._config.settings.ownership.devices
        paths = [f"ipv{version}/{name}" for version, name in FORWARDING.items()]
        paths += [f"ipv4/conf/{device}/rp_filter" for device in devices]
        return await asyncio.to_thread(netlink.read, devices, paths)

    async def carry_out(self, plan: Plan, kernel: Kernel, *, check_rules: bool) -> Done:
        """Bring the host to the plan. check_rules: ask nftables, too, whether all is there.

        Raises KernelRefused, NftError, IptablesError and OSError; what was done before stays.
        """
        config = self._config
        done = Done()
        done.operations = difference(plan.desired, kernel, config.settings.ownership)
        if done.operations:
            await asyncio.to_thread(netlink.apply, done.operations, config.wireguard)
        if plan.conflict:
            done.files = await asyncio.to_thread(cni_config.withdraw, config.cni_conf_dir)
            return done
        done.rules = await self._have_rules(plan, check_rules)
        arguments = (config.cni_conf_dir, plan.cidrs, config.settings.bridge, plan.mtu)
        done.files = await asyncio.to_thread(cni_config.write, *arguments)
        return done

    async def _have_rules(self, plan: Plan, check: bool) -> bool:
        wanted = (plan.cidrs, plan.keep)
        if self._rules == wanted and not check:
            return False
        table = self._config.table
        changed = await forward_policy.ensure(table, self._config.settings.cluster_cidrs or plan.cidrs)
        if not await masquerade.is_installed(table, *wanted):
            await masquerade.install(table, *wanted)
            changed = True
        self._rules = wanted
        return changed


def hold_back(config: Config) -> None:
    """Have nothing leave for Pods of other nodes but by a way that is made for it. Idempotent. Blocking.

    From before the Nodes are known, and also where there can be no encryption. Raises KernelRefused and OSError.
    """
    settings = config.settings
    kernel = netlink.read(settings.ownership.devices)
    wanted = barriers(settings, foreign_routes(kernel, settings.ownership, settings.bridge))
    netlink.apply(Add(route) for route in sorted(wanted - kernel.routes, key=repr))


async def tear_down(config: Config) -> None:
    """Remove all that is ours from this host. Idempotent; goes on after a failure and raises the first."""
    failures: list[Exception] = []
    for remove in (masquerade.remove, forward_policy.remove):
        try:
            await remove(config.table)
        except (NftError, IptablesError, OSError) as failure:
            failures.append(failure)
    try:
        await asyncio.to_thread(_remove_links, config)
    except (KernelRefused, OSError) as failure:
        failures.append(failure)
    await asyncio.to_thread(cni_config.remove, config.cni_conf_dir)
    if failures:
        raise failures[0]


def _remove_links(config: Config) -> None:
    ours = config.settings.ownership
    netlink.apply(difference(Desired(), netlink.read(ours.devices), ours))
    netlink.delete_link(config.settings.bridge)
