"""Encryption between nodes: who is reached how, what the device needs, keys, and what `wg` says."""

import base64
import os
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.network import wireguard, wireguard_key
from navarch.services.network.difference import Add, Delete, difference
from navarch.services.network.facts import NodeFacts, node_facts
from navarch.services.network.kernel import (
    DeviceAddress,
    Kernel,
    Link,
    Route,
    WireguardDevice,
    WireguardPeer,
)
from navarch.services.network.planner import Settings, plan
from navarch.services.network.wireguard_key import ANNOTATION, BadKey

SETTINGS = Settings("nv0", cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd01::/48")), public_key="OURS")
OWN = NodeFacts(
    "a", (ip_address("192.168.1.1"),), (ip_network("10.244.1.0/24"), ip_network("fd01:0:0:1::/64")), (), 1, "OURS"
)
KERNEL = Kernel(
    {"eth0": Link("eth0", 1500)},
    frozenset({DeviceAddress("eth0", ip_address("192.168.1.1"), 24)}),
    frozenset(
        {
            Route(ip_network("192.168.1.0/24"), "eth0", metric=0, protocol=2),
            Route(ip_network("0.0.0.0/0"), "eth0", ip_address("192.168.1.254"), metric=0, protocol=3),
        }
    ),
)


def a_peer(key: str, address: str = "192.168.1.2", created_s: int = 2, name: str = "b") -> NodeFacts:
    number = "2" if name == "b" else "3"
    cidrs = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd01:0:0:{number}::/64"))
    return NodeFacts(name, (ip_address(address),), cidrs, (), created_s, key)


@pytest.mark.parametrize(
    ("peers", "expected"),
    [
        pytest.param([a_peer("K")], ["wireguard 192.168.1.2"], id="on the link"),
        pytest.param([a_peer("K", "192.168.9.2")], ["wireguard 192.168.9.2"], id="behind a router"),
        pytest.param([a_peer("")], ["refused its Node tells no WireGuard key"], id="no key: not in the clear"),
        pytest.param([a_peer("OURS", created_s=0)], ["refused its WireGuard key is that of node a"], id="our key"),
        pytest.param(
            [a_peer("K"), a_peer("K", "192.168.1.3", 1, "c")],
            ["refused its WireGuard key is that of node c", "wireguard 192.168.1.3"],
            id="one key of two: the older one's",
        ),
        pytest.param(
            [a_peer("K", "fd00::2")], ["unreachable the two nodes have no InternalIP"], id="no common version"
        ),
    ],
)
def test_ways(peers: list[NodeFacts], expected: list[str]) -> None:
    found = plan(OWN, peers, KERNEL, SETTINGS).peers
    for peer, text in zip(found, expected, strict=True):
        assert len(peer.ways) == 2
        for way in peer.ways:
            assert f"{way.how} {way.via or way.reason}".startswith(text)


def test_what_it_needs() -> None:
    planned = plan(OWN, [a_peer("K")], KERNEL, SETTINGS)
    desired = planned.desired
    assert desired.devices == (WireguardDevice("nv0-wg", 51820, "OURS", 1420),)
    allowed = frozenset({ip_network("10.244.2.0/24"), ip_network("fd01:0:0:2::/64")})
    assert desired.peers == {WireguardPeer("nv0-wg", "K", ip_address("192.168.1.2"), 51820, allowed)}
    assert {(str(one.destination), one.device, str(one.source)) for one in desired.routes} == {
        ("10.244.2.0/24", "nv0-wg", "10.244.1.0"),
        ("fd01:0:0:2::/64", "nv0-wg", "fd01:0:0:1::"),
        # Held back is what has no way.
        ("10.244.0.0/16", "", "None"),
        ("fd01::/48", "", "None"),
    }
    # What the host itself sends is from an address that the peer lets in.
    assert {str(one.address) for one in desired.addresses} == {"10.244.1.0", "fd01:0:0:1::"}
    assert planned.mtu == 1420
    # In the clear, as from the node.
    assert ip_network("192.168.1.2/32") not in planned.keep


def test_a_node_reborn_with_another_key_and_one_that_goes() -> None:
    old, new = (plan(OWN, [a_peer(key)], KERNEL, SETTINGS).desired for key in ("K", "L"))
    (device,) = old.devices
    link = Link(device.name, device.mtu, shared=False, tunnel=device)
    there = replace(
        KERNEL,
        links={**KERNEL.links, device.name: link},
        addresses=KERNEL.addresses | old.addresses,
        routes=KERNEL.routes | old.routes,
        peers=old.peers,
        sysctls=old.sysctls,
    )
    ours = SETTINGS.ownership
    assert difference(old, there, ours) == []
    assert difference(new, there, ours) == [*map(Delete, old.peers), *map(Add, new.peers)]


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "wireguard.key"
    public = wireguard_key.ensure(path)
    assert wireguard_key.ensure(path) == public
    assert wireguard_key.checked(public) == public
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    command = ["wg", "pubkey"]
    said = subprocess.run(command, input=path.read_text(), text=True, capture_output=True, check=True).stdout
    assert said.strip() == public


@pytest.mark.parametrize("content", ["", "key", base64.b64encode(b"short").decode(), "A" * 43 + "="])
def test_what_is_no_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(BadKey, match="accepted are 32 bytes in base64"):
        wireguard_key.ensure(path)
    assert path.read_text() == content


@given(st.text(max_size=60))
def test_what_nodes_tell_does_no_harm(text: str) -> None:
    node = corev1.Node(metadata={"name": "b"})
    node.metadata.annotations[ANNOTATION] = text
    assert node_facts(node).public_key == ""
    key = base64.b64encode(os.urandom(32)).decode()
    node.metadata.annotations[ANNOTATION] = key
    assert node_facts(node).public_key == key


def test_what_wg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dump = (
        "PRIVATE\tOURS\t51820\toff\n"
        "K\t(none)\t192.168.1.2:51820\t10.244.2.0/24,fd01:0:0:2::/64\t0\t0\t0\toff\n"
        "L\t(none)\t[fd00::3]:51821\t10.244.3.0/24\t1795511681\t10\t20\toff\n"
        "M\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
    )
    tool = tmp_path / "wg"
    tool.write_text(f"#!/bin/sh\n[ \"$*\" = 'show nv0-wg dump' ] || {{ echo no >&2; exit 1; }}\ncat <<'X'\n{dump}X\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = wireguard.read("nv0-wg", 1420)
    assert found is not None
    device, peers = found
    assert device == WireguardDevice("nv0-wg", 51820, "OURS", 1420)
    assert {(one.public_key, str(one.host), one.port, len(one.allowed)) for one in peers} == {
        ("K", "192.168.1.2", 51820, 2),
        ("L", "fd00::3", 51821, 1),
        ("M", "::", 0, 0),
    }
    assert wireguard.read("gone", 1420) is None
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        wireguard.read("nv0-wg", 1420)
