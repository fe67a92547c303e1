"""From what the kernel has to what it should have: operations in the order in which no traffic is lost.

What is new comes before what refers to it; routes are replaced in place; only then goes what nothing uses any more.
A device whose parameters cannot be changed is made anew, and everything on it with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from navarch.services.network.kernel import (
    Desired,
    Device,
    DeviceAddress,
    Forwarding,
    Kernel,
    Link,
    Neighbour,
    Ownership,
    Route,
    WireguardPeer,
)

Entry = DeviceAddress | Route | Neighbour | Forwarding | WireguardPeer


@dataclass(frozen=True, slots=True)
class Add:
    """Make it, or make it as it should be. A device is up after that."""

    what: Device | Entry


@dataclass(frozen=True, slots=True)
class Delete:
    """Take it away. That it is gone already is no failure."""

    what: Entry


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Take a device away, and what is on it."""

    name: str


@dataclass(frozen=True, slots=True)
class ChangeDevice:
    """Give a device its MTU and have it up."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write below /proc/sys/net."""

    path: str
    value: str


Operation = Add | Delete | DeleteDevice | ChangeDevice | SetSysctl
T = TypeVar("T")


def difference(desired: Desired, kernel: Kernel, ours: Ownership) -> list[Operation]:
    """The operations after which the kernel has what is desired. None when it has."""
    wanted = {device.name: device for device in desired.devices}
    links = {name: kernel.links[name] for name in ours.devices if name in kernel.links}
    remade = sorted(name for name, link in links.items() if name in wanted and _must_be_remade(link, wanted[name]))
    seen = _without(kernel, remade)
    # The kernel drops the routes of a device that is down: they are missing already, or are about to be.
    missing = sorted(desired.routes - seen.routes, key=lambda one: (-one.destination.prefixlen, repr(one)))
    # What holds packets back comes before anything goes; routes to gateways come before those through them.
    operations: list[Operation] = [Add(route) for route in missing if not route.unicast]
    operations += [DeleteDevice(name) for name in remade]
    operations += [device for name in sorted(wanted) if (device := _device(seen, wanted[name])) is not None]
    operations += _sysctls(desired, kernel, remade)
    operations += _missing(desired.addresses, seen.addresses)
    operations += _missing(desired.forwardings, seen.forwardings)
    # A range is of one peer: whoever is to give it up does so before another gets it.
    operations += _without_peers(desired, seen)
    operations += _missing(desired.peers, seen.peers)
    operations += _missing(desired.neighbours, seen.neighbours)
    operations += [Add(route) for route in missing if route.unicast]
    return operations + _leftovers(desired, seen, ours)


def _device(seen: Kernel, wanted: Device) -> Operation | None:
    link = seen.links.get(wanted.name)
    if link is None:
        return Add(wanted)
    return None if link.up and link.mtu == wanted.mtu else ChangeDevice(wanted.name, wanted.mtu)


def _must_be_remade(link: Link, wanted: Device) -> bool:
    return link.tunnel is None or replace(link.tunnel, mtu=wanted.mtu) != wanted


def _without(kernel: Kernel, devices: list[str]) -> Kernel:
    """The kernel after these devices have gone."""
    if not devices:
        return kernel
    return Kernel(
        {name: link for name, link in kernel.links.items() if name not in devices},
        frozenset(one for one in kernel.addresses if one.device not in devices),
        frozenset(one for one in kernel.routes if one.device not in devices),
        frozenset(one for one in kernel.neighbours if one.device not in devices),
        frozenset(one for one in kernel.forwardings if one.device not in devices),
        frozenset(one for one in kernel.peers if one.device not in devices),
        kernel.sysctls,
    )


def _sysctls(desired: Desired, kernel: Kernel, remade: list[str]) -> list[Operation]:
    def is_set(path: str, value: str) -> bool:
        return kernel.sysctls.get(path) == value and not any(f"/{name}/" in path for name in remade)

    return [SetSysctl(path, value) for path, value in sorted(desired.sysctls.items()) if not is_set(path, value)]


def _missing(desired: Iterable[T], seen: frozenset[T]) -> list[Operation]:
    return [Add(one) for one in sorted(set(desired) - seen, key=repr)]  # type: ignore[arg-type]


def _without_peers(desired: Desired, seen: Kernel) -> list[Operation]:
    wanted = {device.name for device in desired.devices}
    keys = {(one.device, one.public_key) for one in desired.peers}
    gone = (one for one in seen.peers if one.device in wanted and (one.device, one.public_key) not in keys)
    return [Delete(one) for one in sorted(gone, key=repr)]


def _leftovers(desired: Desired, seen: Kernel, ours: Ownership) -> list[Operation]:
    """What is ours and wanted no more. What was replaced in place has the key of what is wanted."""
    wanted = {device.name for device in desired.devices}
    # What was replaced in place is gone: the kernel tells routes apart by range and metric.
    replaced = {(route.destination, route.metric) for route in desired.routes}
    neighbours = {(one.device, one.address) for one in desired.neighbours}
    operations: list[Operation] = [
        Delete(route)
        for route in sorted(seen.routes - desired.routes, key=repr)
        if ours.owns(route) and (route.destination, route.metric) not in replaced
    ]
    for neighbour in sorted(seen.neighbours - desired.neighbours, key=repr):
        if neighbour.device in wanted and (neighbour.device, neighbour.address) not in neighbours:
            operations.append(Delete(neighbour))
    operations += [
        Delete(one) for one in sorted(seen.forwardings - desired.forwardings, key=repr) if one.device in wanted
    ]
    operations += [Delete(one) for one in sorted(seen.addresses - desired.addresses, key=repr) if one.device in wanted]
    operations += [DeleteDevice(name) for name in ours.devices if name in seen.links and name not in wanted]
    return operations
