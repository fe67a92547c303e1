"""Every Pod reaches every Pod, whatever the hosts' links are and whatever happens to them. Real packets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.meta import condition_is
from navarch.services.network.stale_addresses import held_addresses
from navarch.testing.kubelet_lab import is_ready
from navarch.testing.namespaced_host import module
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import LabHost, Topology

from .conftest import HOST_PORT, PORT, PROBE, PYTHON, Probing, kernel_network, probing


@pytest.fixture(scope="module", params=["one link", "two links"])
def lab(request: pytest.FixtureRequest) -> Iterator[NetworkLab]:
    """Three hosts. On two links: the third is behind a router."""
    links = (1, 1, 1) if request.param == "one link" else (1, 1, 2)
    with network_lab(Topology(links, dual_stack=True)) as made:
        yield made


@pytest.fixture
async def network(lab: NetworkLab) -> AsyncIterator[Probing]:
    async with probing(lab) as made:
        yield made


def is_routed(lab: NetworkLab, one: LabHost, other: LabHost) -> bool:
    return one.link == other.link


async def test_everybody_reaches_everybody(network: Probing) -> None:
    """Pods and hosts all Pods, over TCP and UDP, IPv4 and IPv6, unchanged; by the right ways."""
    for host in network.lab.hosts.values():
        others = [other for other in network.lab.hosts.values() if other is not host]
        expected = {other.name: {"route" if is_routed(network.lab, host, other) else "vxlan"} for other in others}
        assert await network.ways(host) == expected
        node = await network.client.get(corev1.Node, host.name)
        assert condition_is(node.status.conditions, "NetworkUnavailable", "False")
    await network.everybody_reaches(network.pods, network.pods)
    for host in network.lab.hosts.values():
        own = {
            entry["local"]
            for link in json.loads(host.namespaces.run("ip", "-json", "address"))
            for entry in link["addr_info"]
        }
        questions = [
            f"{protocol}/{address}/{PORT}/1"
            for pod in network.pods
            for address in pod.addresses
            for protocol in ("tcp", "udp")
        ]
        answers = await network.ask(host, questions)
        assert not {question: answer for question, answer in answers.items() if answer not in own}


async def test_large_packets_need_no_fragments(network: Probing) -> None:
    """A full packet of a Pod and its outer headers fit into the link; larger datagrams arrive in a Pod's fragments."""
    first, last = network.pods[0], network.pods[-1]
    mtu = int((await network.exec(first, "cat", "/sys/class/net/eth0/mtu")).strip())
    assert mtu == 1450 == (await network.network(first.host)).mtu

    def fragments(host: LabHost) -> int:
        lines = Path(f"/proc/{host.namespaces.pid}/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Ip:"))
        return int(values[names.index("FragCreates")])

    before = fragments(first.host)
    address, address_v6 = last.addresses
    sizes = {
        f"tcp/{address}/{PORT}/1000000": first.addresses[0],
        f"tcp/{address_v6}/{PORT}/1000000": first.addresses[1],
        f"udp/{address}/{PORT}/{mtu - 28}": first.addresses[0],
        f"udp/{address_v6}/{PORT}/{mtu - 48}": first.addresses[1],
    }
    assert await network.ask(first, sizes) == sizes
    assert fragments(first.host) == before
    # These the Pod itself sends in fragments.
    larger = {f"udp/{address}/{PORT}/8000": first.addresses[0], f"udp/{address_v6}/{PORT}/8000": first.addresses[1]}
    assert await network.ask(first, larger) == larger


async def test_the_outside_sees_the_node(network: Probing) -> None:
    """Pods keep their address towards hosts on their link; elsewhere they have their node's. Hairpins turn."""
    lab, (first, *_) = network.lab, network.pods
    host, neighbour, third = lab.hosts.values()
    outside = lab.topology.addresses(1, 100)
    serving = [PYTHON, "-I", "-c", PROBE.read_text(), "serve", str(PORT)]
    processes = [
        namespaces.start(serving, lab.directory / "probe.log")
        for namespaces in (lab.control, neighbour.namespaces, third.namespaces)
    ]
    try:
        expected = {}
        for number, address in enumerate(one.partition("/")[0] for one in outside):
            expected[f"tcp/{address}/{PORT}/1"] = expected[f"udp/{address}/{PORT}/1"] = host.addresses[number]
        for other in (neighbour, third):
            for number, address in enumerate(other.addresses):
                seen = first if is_routed(lab, host, other) else host
                expected[f"tcp/{address}/{PORT}/1"] = seen.addresses[number]
        assert await network.ask(first, expected) == expected
        hairpin = f"tcp/{host.addresses[0]}/{HOST_PORT}/1"
        assert (await network.ask(first, [hairpin]))[hairpin].count(".") == 3
    finally:
        for process in processes:
            process.kill()


async def test_a_dead_agent_is_not_missed(network: Probing) -> None:
    """Killed, traffic flows on; started again it changes nothing; what others delete comes back."""
    host = network.lab.hosts["host-3"]
    await network.ways(host)
    before = kernel_network(host)
    host.kill("network")
    await network.everybody_reaches(network.of(host), network.pods)
    assert kernel_network(host) == before
    host.start("network")

    async def is_ready() -> bool:
        return (await network.network(host)).state == "ready"

    await network.eventually(is_ready, "the agent is ready")
    assert kernel_network(host) == before
    for family in ("-4", "-6"):
        host.namespaces.run("ip", family, "route", "flush", "proto", "118")
    for name in [name for _, name, _, _ in before["links"] if "-x" in name]:
        host.namespaces.run("ip", "link", "delete", name)

    async def is_back() -> bool:
        now = kernel_network(host)
        return [now[kind] for kind in ("routes", "routes of IPv6")] == [
            before[kind] for kind in ("routes", "routes of IPv6")
        ]

    await network.eventually(is_back, "routes are back")
    await network.everybody_reaches(network.of(host), network.pods)


@pytest.mark.parametrize("lab", ["one link"], indirect=True)
async def test_another_network_is_respected(network: Probing) -> None:
    """Whose configuration comes first is in charge; ours comes back when it goes, and when somebody deletes it."""
    host = network.lab.hosts["host-1"]
    before = kernel_network(host)
    other = host.cni_conf_dir / "05-other.conflist"
    other.write_text('{"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "ptp"}]}')

    async def has_state(wanted: str) -> bool:
        return (await network.network(host)).state == wanted

    await network.eventually(lambda: has_state("other"), "the agent gives way")
    assert kernel_network(host) == before
    ours = host.cni_conf_dir / "10-navarch.conflist"
    ours.unlink()
    other.unlink()

    async def is_written() -> bool:
        return await has_state("ready") and ours.exists()

    await network.eventually(is_written, "ours is there again")
    assert kernel_network(host) == before


@pytest.mark.parametrize("lab", ["one link"], indirect=True)
async def test_a_pod_with_a_limited_bandwidth(network: Probing) -> None:
    """Its annotation is heard by the plugin; the others have no limit."""
    host = network.lab.hosts["host-1"]
    assert "tbf" not in host.namespaces.run("tc", "qdisc")
    await network.make("limited", host, annotations={"kubernetes.io/ingress-bandwidth": "10M"})
    limited = await network.ready("limited", host)
    assert "tbf" in host.namespaces.run("tc", "qdisc")
    await network.everybody_reaches([limited], network.pods)
    await network.client.delete(corev1.Pod, limited.name, "default")


@pytest.mark.parametrize("lab", ["two links"], indirect=True)
async def test_the_mtu_follows_the_link(network: Probing) -> None:
    """New Pods get what fits now, and so does the tunnel."""
    host = network.lab.hosts["host-3"]
    for mtu in (1400, 1500):
        host.namespaces.ip(f"link set eth0 mtu {mtu}")

        async def follows(wanted: int = mtu - 50) -> bool:
            links = {name: found for _, name, found, _ in kernel_network(host)["links"]}
            config = (host.cni_conf_dir / "10-navarch.conflist").read_text()
            return links["navarch0-x4"] == wanted and f'"mtu": {wanted}' in config

        await network.eventually(follows, f"the MTU follows {mtu}")
    await network.everybody_reaches(network.of(host), network.pods[:2], size=1000)


@pytest.mark.parametrize("lab", ["one link"], indirect=True)
async def test_a_link_that_flaps(network: Probing) -> None:
    """When it is up again, with what its administrator gives it, all is as before."""
    host = network.lab.hosts["host-2"]
    host.namespaces.ip("link set eth0 down")

    async def is_noticed() -> bool:
        return all(ways == {"unreachable"} for ways in (await network.ways(host)).values())

    await network.eventually(is_noticed, "the agent knows that its link is down")
    _, address_v6 = network.lab.topology.addresses(host.link, host.number)
    routers = (one.partition("/")[0] for one in network.lab.topology.addresses(host.link, 254))
    host.namespaces.ip(
        "link set eth0 up",
        f"addr add {address_v6} dev eth0 nodad",
        *(f"route add default via {router}" for router in routers),
    )
    await network.everybody_reaches(network.of(host), network.pods)


@pytest.mark.parametrize("lab", ["one link"], indirect=True)
async def test_a_host_that_lost_its_power(network: Probing) -> None:
    """Its Pods are started again, reach everybody, and hold one address each: those of before are given back."""
    host = network.lab.hosts["host-2"]
    taken = held_addresses(host.directory / "cni-addresses" / "navarch")
    names = [pod.name for pod in network.of(host)]
    assert len(taken) == 2 * len(names)
    network.lab.reboot(host)

    async def is_started_again() -> bool:
        pods = [await network.client.get(corev1.Pod, name, "default") for name in names]
        return all(is_ready(pod) and pod.status.container_statuses[0].restart_count for pod in pods)

    await network.eventually(is_started_again, "its Pods run again")
    network.pods = [pod for pod in network.pods if pod.host is not host]
    started = [await network.ready(name, host) for name in names]
    await network.everybody_reaches(network.pods, started)

    async def holds_one_each() -> bool:
        held = held_addresses(host.directory / "cni-addresses" / "navarch")
        return set(held) == {address for pod in started for address in pod.addresses}

    await network.eventually(holds_one_each, "no address is lost")


@pytest.mark.parametrize("lab", ["one link"], indirect=True)
async def test_a_node_whose_pods_have_our_addresses(network: Probing) -> None:
    """It is refused, it is said so, and nobody loses anything."""
    host = network.lab.hosts["host-1"]
    own = (await network.client.get(corev1.Node, host.name)).spec.pod_cidr
    document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stranger"}, "spec": {"podCIDR": own}}
    await network.client.create(codec.from_json({**document, "spec": {"podCIDR": own, "podCIDRs": [own]}}))

    async def is_told() -> bool:
        events = (await network.client.list(corev1.Event)).items
        told = {event.involved_object.name for event in events if event.reason == "PeerRefused"}
        return told == set(network.lab.hosts)

    await network.eventually(is_told, "an Event on each node")
    assert (await network.ways(host))["stranger"] == {"refused"}
    await network.client.delete(corev1.Node, "stranger")
    await network.everybody_reaches(network.pods[:1], network.pods)


async def test_a_firewall_that_drops_what_is_forwarded_lets_pods_through(network: Probing) -> None:
    """As Docker sets it. Where it is lifted again, nothing of ours stays in it."""
    host = network.lab.hosts["host-2"]
    run = host.namespaces.run
    for tool in ("iptables", "ip6tables"):
        run(tool, "-P", "FORWARD", "DROP")
    # It looks again by itself after a while, and at once when it starts.
    host.kill("network")
    host.start("network")
    await network.everybody_reaches(network.of(host), network.pods)
    assert run("iptables", "-S", "FORWARD").count("navarch Pod network") == 2
    for tool in ("iptables", "ip6tables"):
        run(tool, "-P", "FORWARD", "ACCEPT")
    host.kill("network")
    host.start("network")

    async def is_left_alone() -> bool:
        return "navarch" not in run("iptables", "-S", "FORWARD") + run("ip6tables", "-S", "FORWARD")

    await network.eventually(is_left_alone, "our rules are gone")


async def test_a_host_that_changes_its_address_and_one_that_goes(network: Probing) -> None:
    """The others follow it, and forget it; its own agent takes all away when it is told so."""
    lab = network.lab
    host = lab.hosts["host-3"]
    before, (address, address_v6) = host.addresses, lab.topology.addresses(host.link, 33)
    host.kill("kubelet")
    routers = (one.partition("/")[0] for one in lab.topology.addresses(host.link, 254))
    host.namespaces.ip(
        # With the last address of a subnet goes the way out that was by it.
        *(f"addr del {one} dev eth0" for one in lab.topology.addresses(host.link, host.number)),
        f"addr add {address} dev eth0",
        f"addr add {address_v6} dev eth0 nodad",
        *(f"route replace default via {router}" for router in routers),
    )
    host.number = 33
    host.start("kubelet")
    assert before != host.addresses

    async def is_followed() -> bool:
        peers = {peer.node: peer for peer in (await network.network(lab.hosts["host-1"])).peers}
        return {way.via for way in peers[host.name].ways} <= set(host.addresses)

    await network.eventually(is_followed, "the others know the new address")
    await network.everybody_reaches(network.of(host), network.pods)

    host.kill("kubelet")
    await network.client.delete(corev1.Node, host.name)

    async def is_forgotten() -> bool:
        subnet = network.of(host)[0].addresses[0].rpartition(".")[0]
        return subnet not in lab.hosts["host-1"].namespaces.run("ip", "route")

    await network.eventually(is_forgotten, "the route is gone")
    host.kill("network")
    removal = [*module("navarch.services.network.main"), "--remove", f"--cni-conf-dir={host.cni_conf_dir}"]
    await asyncio.to_thread(host.namespaces.run, *removal)
    left = host.namespaces.run("ip", "link") + host.namespaces.run("ip", "route", "show", "proto", "118")
    left += host.namespaces.run("nft", "list", "tables") + " ".join(path.name for path in host.cni_conf_dir.iterdir())
    assert "navarch" not in left
    assert "10.244" not in left
