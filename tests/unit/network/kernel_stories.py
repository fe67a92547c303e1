"""Stories of the network agent in a network namespace of its own; `test_network_kernel` has each run.

unshare --net python3 kernel_stories.py NAME
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from navarch.services.network import encryption, netlink
from navarch.services.network.difference import SetSysctl, difference
from navarch.services.network.encryption import EncryptionUnavailable
from navarch.services.network.facts import NodeFacts
from navarch.services.network.host import hold_back, tear_down
from navarch.services.network.kernel import Desired, Link
from navarch.services.network.main import read
from navarch.services.network.netlink import KernelRefused
from navarch.services.network.netlink_events import NetlinkEvents
from navarch.services.network.planner import Settings, plan
from navarch.services.network.service import Network

PATIENCE_S = 60.0
SETTINGS = Settings("nv0", cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd01::/48")))
OWN = NodeFacts("a", (ip_address("192.168.1.1"),), (ip_network("10.244.1.0/24"), ip_network("fd01:0:0:1::/64")))
NEAR = NodeFacts("b", (ip_address("192.168.1.2"),), (ip_network("10.244.2.0/24"), ip_network("fd01:0:0:2::/64")))
FAR = NodeFacts("c", (ip_address("192.168.9.3"),), (ip_network("10.244.3.0/24"), ip_network("fd01:0:0:3::/64")))


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


def written_and_read() -> None:
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


def held_back() -> None:
    """What has no way does not leave by the default route, from the first moment to the last."""
    ip("route add ::/0 dev eth0")
    targets = ("10.244.7.7", "fd01:0:0:7::7")
    assert [way_of(one) for one in targets] == ["eth0", "eth0"]
    folder = Path(tempfile.mkdtemp())
    config, _ = read(
        [
            "--pod-cidr=10.244.1.0/24",
            "--cluster-cidr=10.244.0.0/16,fd01::/48",
            "--encryption=wireguard",
            "--bridge=nv0",
            f"--cni-conf-dir={folder}",
        ]
    )
    for _ in range(2):
        hold_back(config)
        assert [way_of(one) for one in targets] == ["", ""]
    # As `ip` has it for others' routes that lead nowhere: seen, and left alone.
    ip("route add blackhole 10.9.0.0/16")
    keyed = replace(SETTINGS, public_key="OURS")
    kernel = netlink.read(keyed.ownership.devices)
    assert difference(plan(OWN, [FAR], kernel, keyed).desired, kernel, keyed.ownership) == [
        SetSysctl("ipv4/ip_forward", "1"),
        SetSysctl("ipv6/conf/all/forwarding", "1"),
    ]
    bring_about()
    assert [way_of(one) for one in targets] == ["eth0", "eth0"]
    hold_back(config)
    asyncio.run(tear_down(config))
    assert [way_of(one) for one in targets] == ["eth0", "eth0"]


def way_of(address: str) -> str:
    """The device by which packets leave; "" where they do not."""
    done = subprocess.run(["ip", "-json", "route", "get", address], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)[0] if done.returncode == 0 else {}
    return "" if found.get("type") == "unreachable" else str(found.get("dev", ""))


def refused() -> None:
    desired = bring_about(FAR)
    for _ in range(2):  # That it is gone already is no failure.
        netlink.delete_link("nv0-x4")
    broken = [one for one in difference(desired, netlink.read(()), SETTINGS.ownership) if "Route" in repr(one)]
    with pytest.raises(KernelRefused, match=r"10\.244\.3\.0/24|fd01:0:0:3"):
        netlink.apply(broken)


def wireguard() -> None:
    before = socket.if_nameindex()
    with IPRoute() as route:
        has_it = encryption.has_wireguard(route)
    assert socket.if_nameindex() == before
    if has_it:
        encryption.check()
    else:
        with pytest.raises(EncryptionUnavailable, match="this kernel has no WireGuard"):
            encryption.check()
    with pytest.raises(EncryptionUnavailable, match=r"the program 'none' \(--wireguard-program\) is not here"):
        encryption.check("none")
    os.environ["PATH"] = "/nowhere"
    with pytest.raises(EncryptionUnavailable, match="package wireguard-tools"):
        encryption.check()


def noticed() -> None:
    asyncio.run(_noticed())


async def _noticed() -> None:
    changed = asyncio.Event()
    events = NetlinkEvents(changed.set)
    ip("link add br0 type bridge", "addr add 10.9.1.1/24 dev br0", "link set br0 up")
    events.links = await asyncio.to_thread(seen_links)
    events.start()
    # A Pod's link comes: that is none of ours.
    await asyncio.to_thread(ip, "link add pod0 type veth peer name pod1", "link set pod0 up")
    # A bridge that Pods come to and leave is the same bridge.
    await asyncio.to_thread(
        ip,
        "link set pod0 master br0",
        "link set pod1 up",
        "link set pod1 down",
        "link set pod0 nomaster",
    )
    await _quiet()
    assert not changed.is_set()
    # What becomes again what it was may have been seen in between.
    await asyncio.to_thread(ip, "link set eth0 mtu 1400")
    await asyncio.wait_for(changed.wait(), PATIENCE_S)
    await _quiet()
    changed.clear()
    await asyncio.to_thread(ip, "link set eth0 mtu 1500")
    await asyncio.wait_for(changed.wait(), PATIENCE_S)
    for change in (
        "link set eth0 mtu 1400",
        "addr add 192.168.2.1/24 dev eth0",
        "route add 10.9.0.0/24 via 192.168.1.7",
        "addr add fd00::1/64 dev eth0 nodad",
        "link set eth0 down",
    ):
        await _quiet()
        changed.clear()
        events.links = await asyncio.to_thread(seen_links)
        await asyncio.to_thread(ip, change)
        await asyncio.wait_for(changed.wait(), PATIENCE_S)
    events.stop()
    events.stop()


def seen_links() -> dict[int, Link | None]:
    return {socket.if_nametoindex(name): link for name, link in netlink.read(()).links.items()}


def ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)


async def _quiet() -> None:
    """Let what has been told be read."""
    for _ in range(50):
        await asyncio.sleep(0.002)


def single_node() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_single_node(Path(folder)))


async def _single_node(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--pod-cidr=10.244.1.0/24", f"--cni-conf-dir={folder / 'cni'}", f"--listen-metrics=127.0.0.1:{port}"]
    config, _ = read([*options, "--table=unit", "--bridge=nvunit0"])
    network = Network(config)
    await network.start()
    conflist = folder / "cni" / "10-navarch.conflist"
    assert json.loads(conflist.read_text())["plugins"][0]["mtu"] == 1450
    assert "10.244.1.0/24" in rules()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    health = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/health")
    assert json.loads(health)["health"] == "true"
    assert "navarch_network_sync_seconds_count" in await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
    conflist.unlink()
    async with asyncio.timeout(PATIENCE_S):
        while not conflist.exists():
            await asyncio.sleep(0.01)
    await network.stop()
    assert conflist.exists()
    assert "10.244.1.0/24" in rules()
    for _ in range(2):
        await tear_down(config)
    assert not conflist.exists()
    assert rules() == ""
    assert os.listdir(folder / "cni") == []


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def main(name: str) -> None:
    ip(
        "link set lo up",
        "link add eth0 type veth peer name other0",
        "link set eth0 up",
        "link set other0 up",
        "addr add 192.168.1.1/24 dev eth0",
        "route add default via 192.168.1.254",
    )
    STORIES[name]()


STORIES = {story.__name__: story for story in (written_and_read, refused, wireguard, held_back, noticed, single_node)}

if __name__ == "__main__":
    main(sys.argv[1])
