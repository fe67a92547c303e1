"""Netlink: what is written can be read again, changes are noticed. In a network namespace, so it needs root."""

import asyncio
import multiprocessing
import os
import socket
import struct
import subprocess
import traceback
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from multiprocessing.connection import Connection

import pytest
from pyroute2 import IPRoute

from navarch.services.network import encryption, netlink
from navarch.services.network.difference import difference
from navarch.services.network.encryption import EncryptionUnavailable
from navarch.services.network.facts import NodeFacts
from navarch.services.network.kernel import Desired
from navarch.services.network.netlink import KernelRefused
from navarch.services.network.netlink_events import HEADER, NetlinkEvents, matters
from navarch.services.network.planner import Settings, plan

CLONE_NEWNET = 0x40000000
PATIENCE_S = 60.0
SETTINGS = Settings("nv0", cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd01::/48")))
OWN = NodeFacts("a", (ip_address("192.168.1.1"),), (ip_network("10.244.1.0/24"), ip_network("fd01:0:0:1::/64")))
NEAR = NodeFacts("b", (ip_address("192.168.1.2"),), (ip_network("10.244.2.0/24"), ip_network("fd01:0:0:2::/64")))
FAR = NodeFacts("c", (ip_address("192.168.9.3"),), (ip_network("10.244.3.0/24"), ip_network("fd01:0:0:3::/64")))


def isolated(work: Callable[[], None]) -> None:
    """Run it in a process with a network of its own, with a link eth0."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_isolated, args=(work, there))
    process.start()
    there.close()
    try:
        failure = here.recv() if here.poll(PATIENCE_S) else "no answer"
    finally:
        process.kill()
        process.join()
    assert not failure, failure


def _isolated(work: Callable[[], None], answer: Connection) -> None:
    try:
        unshare()
        work()
        answer.send("")
    except BaseException:
        answer.send(traceback.format_exc())
    os._exit(0)


def unshare() -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with IPRoute() as route:
        route.link("add", ifname="eth0", kind="veth", peer="other0")
        for name in ("eth0", "other0"):
            route.link("set", index=socket.if_nametoindex(name), state="up")
        route.addr("add", index=socket.if_nametoindex("eth0"), address="192.168.1.1", prefixlen=24)
        route.route("add", dst="0.0.0.0/0", gateway="192.168.1.254")


def bring_about(*peers: NodeFacts) -> Desired:
    """Plan for these peers, carry out; nothing may be left to do then."""
    ours = SETTINGS.ownership
    paths = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", f"ipv4/conf/{ours.devices[0]}/rp_filter")
    kernel = netlink.read(ours.devices, paths)
    desired = plan(OWN, peers, kernel, SETTINGS).desired
    netlink.apply(difference(desired, kernel, ours))
    seen = netlink.read(ours.devices, paths)
    assert difference(plan(OWN, peers, seen, SETTINGS).desired, seen, ours) == []
    return desired


def test_what_is_written_is_read_again() -> None:
    isolated(_written_and_read)


def _written_and_read() -> None:
    bring_about(NEAR, FAR)
    names = dict(map(reversed, socket.if_nameindex()))  # type: ignore[arg-type]
    assert "nv0-x4" in names
    bring_about(FAR)
    bring_about(NEAR, NodeFacts("c", (ip_address("192.168.8.3"),), FAR.cidrs))
    # Others change what is ours.
    with IPRoute() as route:
        route.link("set", index=names["nv0-x4"], mtu=1300)
        route.flush_routes(proto=118)
        route.fdb("del", ifindex=names["nv0-x4"], lladdr=FAR.mac)
        route.addr("del", index=names["nv0-x4"], address="10.244.1.0", prefixlen=32)
    bring_about(NEAR, FAR)
    with IPRoute() as route:
        route.link("set", index=names["nv0-x4"], state="down")
    bring_about(NEAR, FAR)
    bring_about()
    assert "nv0-x4" not in dict(map(reversed, socket.if_nameindex()))  # type: ignore[arg-type]
    assert not [one for one in netlink.read(()).routes if SETTINGS.ownership.owns(one)]


def test_a_refusal_names_the_operation() -> None:
    isolated(_refused)


def _refused() -> None:
    desired = bring_about(FAR)
    for _ in range(2):  # That it is gone already is no failure.
        netlink.delete_link("nv0-x4")
    broken = [one for one in difference(desired, netlink.read(()), SETTINGS.ownership) if "Route" in repr(one)]
    with pytest.raises(KernelRefused, match=r"10\.244\.3\.0/24|fd01:0:0:3"):
        netlink.apply(broken)


def test_a_kernel_without_wireguard_is_told_from_one_with() -> None:
    isolated(_encryption)


def _encryption() -> None:
    encryption.check(encryption.NONE)
    before = socket.if_nameindex()
    with IPRoute() as route:
        has_it = encryption.has_wireguard(route)
    assert socket.if_nameindex() == before
    if not has_it:
        with pytest.raises(EncryptionUnavailable, match=r"no WireGuard.*--encryption=none"):
            encryption.check(encryption.WIREGUARD)


def test_changes_are_noticed() -> None:
    isolated(lambda: asyncio.run(_noticed()))


async def _noticed() -> None:
    changed = asyncio.Event()
    events = NetlinkEvents(changed.set)
    events.links = {socket.if_nametoindex("eth0")}
    events.start()
    # A Pod's link comes: that is none of ours.
    await asyncio.to_thread(ip, "link add pod0 type veth peer name pod1", "link set pod0 up")
    await _quiet()
    assert not changed.is_set()
    for change in (
        "link set eth0 mtu 1400",
        "addr add 192.168.2.1/24 dev eth0",
        "route add 10.9.0.0/24 via 192.168.1.7",
        "addr add fd00::1/64 dev eth0 nodad",
        "link set eth0 down",
    ):
        await _quiet()
        changed.clear()
        await asyncio.to_thread(ip, change)
        await asyncio.wait_for(changed.wait(), PATIENCE_S)
    events.stop()
    events.stop()


def ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)


async def _quiet() -> None:
    """Let what has been told be read."""
    for _ in range(50):
        await asyncio.sleep(0.002)


def message(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body


def route_message(table: int, destination: str) -> bytes:
    address = socket.inet_pton(socket.AF_INET6, destination)
    return message(24, bytes([10, 64, 0, 0, table, 2, 0, 1]) + bytes(4) + struct.pack("=HH", 20, 1) + address)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(message(16, struct.pack("=BBHi", 0, 0, 1, 7)), True, id="a link of ours"),
        pytest.param(message(16, struct.pack("=BBHi", 0, 0, 1, 8)), False, id="a Pod's link"),
        pytest.param(message(20, struct.pack("=BBBBi", 2, 24, 0, 0, 8)), True, id="an address"),
        pytest.param(message(20, struct.pack("=BBBBi", 10, 64, 0, 253, 8)), False, id="a link-local address"),
        pytest.param(route_message(254, "fd00::"), True, id="a route"),
        pytest.param(route_message(254, "fe80::"), False, id="a link-local route"),
        pytest.param(route_message(255, "fd00::"), False, id="a route of another table"),
        pytest.param(
            message(16, struct.pack("=BBHi", 0, 0, 1, 8)) + message(16, struct.pack("=BBHi", 0, 0, 1, 7)),
            True,
            id="the second of two",
        ),
        pytest.param(HEADER.pack(3, 16, 0, 0, 0), True, id="garbage may be anything"),
        pytest.param(message(99, b""), True, id="what is not known may be anything"),
    ],
)
def test_which_messages_matter(datagram: bytes, expected: bool) -> None:
    assert matters(datagram, {7}) is expected
