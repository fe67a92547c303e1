"""Plans carried out on a kernel that is simulated: whatever is there, nothing is left to do afterwards."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.services.network.difference import (
    Add,
    ChangeDevice,
    Delete,
    DeleteDevice,
    Entry,
    Operation,
    SetSysctl,
    difference,
)
from navarch.services.network.facts import NodeFacts
from navarch.services.network.kernel import (
    LAST_METRIC,
    PROTOCOL_KERNEL,
    Desired,
    Device,
    DeviceAddress,
    Forwarding,
    Kernel,
    Link,
    Neighbour,
    Ownership,
    Route,
    VxlanDevice,
    WireguardDevice,
    WireguardPeer,
    within,
)
from navarch.services.network.planner import Settings, barriers, plan

CLUSTER = ip_network("10.244.0.0/16")
SETTINGS = Settings("nv0", cluster_cidrs=(CLUSTER,))
OURS = SETTINGS.ownership


class SimulatedKernel:
    """Does what Linux does with operations, and refuses what it refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self.links = dict(kernel.links)
        self.addresses = set(kernel.addresses)
        self.routes = set(kernel.routes)
        self.neighbours = set(kernel.neighbours)
        self.forwardings = set(kernel.forwardings)
        self.peers = set(kernel.peers)
        self.sysctls = dict(kernel.sysctls)

    @property
    def state(self) -> Kernel:
        return Kernel(
            dict(self.links),
            frozenset(self.addresses),
            frozenset(self.routes),
            frozenset(self.neighbours),
            frozenset(self.forwardings),
            frozenset(self.peers),
            dict(self.sysctls),
        )

    def apply(self, operation: Operation) -> None:
        match operation:
            case DeleteDevice(name):
                self._drop(name)
            case ChangeDevice(name, mtu):
                link = self.links[name]
                tunnel = replace(link.tunnel, mtu=mtu) if link.tunnel else None
                self.links[name] = replace(link, mtu=mtu, up=True, tunnel=tunnel)
            case SetSysctl(path, value):
                if "/conf/nv0" in path:
                    assert path.split("/")[2] in self.links, f"no such device: {path}"
                self.sysctls[path] = value
            case Add(what):
                self._add(what)
            case Delete(what):
                for kind in (self.addresses, self.routes, self.neighbours, self.forwardings, self.peers):
                    kind.discard(what)  # type: ignore[arg-type]

    def down(self, name: str) -> None:
        """Take a link down: its routes go."""
        self.links[name] = replace(self.links[name], up=False)
        self.routes = {route for route in self.routes if route.device != name}

    def _drop(self, name: str) -> None:
        self.links.pop(name, None)
        self.sysctls = {path: value for path, value in self.sysctls.items() if f"/{name}/" not in path}
        self.addresses = {one for one in self.addresses if one.device != name}
        self.routes = {one for one in self.routes if one.device != name}
        self.neighbours = {one for one in self.neighbours if one.device != name}
        self.forwardings = {one for one in self.forwardings if one.device != name}
        self.peers = {one for one in self.peers if one.device != name}

    def _add(self, what: Device | Entry) -> None:
        if isinstance(what, VxlanDevice | WireguardDevice):
            assert what.name not in self.links, f"{what.name} exists"
            self.links[what.name] = Link(what.name, what.mtu, shared=False, tunnel=what)
            return
        if isinstance(what, Route) and not what.unicast:
            self.routes.add(what)
            return
        assert self.links[what.device].up, f"{what.device} is down"
        match what:
            case Route():
                if what.source is not None:
                    assert what.source in {one.address for one in self.addresses}, f"not ours: {what.source}"
                key = (what.destination, what.metric)
                self.routes = {one for one in self.routes if (one.destination, one.metric) != key} | {what}
            case Neighbour():
                kept = {one for one in self.neighbours if (one.device, one.address) != (what.device, what.address)}
                self.neighbours = kept | {what}
            case Forwarding():
                kept_ = {one for one in self.forwardings if (one.device, one.mac) != (what.device, what.mac)}
                self.forwardings = kept_ | {what}
            case WireguardPeer():
                # A range is of one peer: who gets it takes it from the other.
                others = {one for one in self.peers if one.public_key != what.public_key}
                self.peers = {replace(one, allowed=one.allowed - what.allowed) for one in others} | {what}
            case DeviceAddress():
                self.addresses.add(what)


def a_host(address: str) -> Kernel:
    def connected(cidr: str, device: str) -> Route:
        return Route(ip_network(cidr), device, metric=0, protocol=PROTOCOL_KERNEL)

    default = Route(ip_network("0.0.0.0/0"), "eth0", ip_address("192.168.0.254"), metric=0, protocol=3)
    return Kernel(
        {"eth0": Link("eth0", 1500), "nv0": Link("nv0", 1450), "lo": Link("lo", 65536)},
        frozenset({DeviceAddress("eth0", ip_address(address), 24)}),
        frozenset({connected("192.168.0.0/24", "eth0"), connected("10.244.0.0/24", "nv0"), default}),
    )


OWN = NodeFacts("own", (ip_address("192.168.0.1"),), (ip_network("10.244.0.0/24"),))
octets = st.integers(0, 9)
peers = st.builds(
    lambda number, link, host, cidr, key: NodeFacts(
        f"n{number}", (ip_address(f"192.168.{link}.{host + 2}"),), (ip_network(f"10.244.{cidr}.0/24"),), (), number, key
    ),
    st.integers(1, 6),
    st.integers(0, 2),
    octets,
    octets,
    # As it is told: none, another's, ours.
    st.sampled_from(["", "K1", "K2", "K3", "OURS"]),
)
clusters = st.lists(peers, max_size=6, unique_by=lambda node: node.name)
owns = st.sampled_from(["192.168.0.1", "192.168.0.77"])


def bring_about(
    simulated: SimulatedKernel, cluster: list[NodeFacts], address: str, settings_: Settings = SETTINGS
) -> Desired:
    own = replace(OWN, addresses=(ip_address(address),))
    desired = plan(own, cluster, simulated.state, settings_).desired
    for operation in difference(desired, simulated.state, OURS):
        simulated.apply(operation)
    return desired


KINDS = ("delete routes", "delete devices", "down", "neighbours", "forwardings", "peers", "mtu", "addresses")
damages = st.lists(st.sampled_from(KINDS), max_size=3)


def damage(simulated: SimulatedKernel, kinds: list[str]) -> None:
    """What other programs do."""
    for kind in kinds:
        match kind:
            case "delete routes":
                simulated.routes = {route for route in simulated.routes if not OURS.owns(route)}
            case "delete devices":
                for name in OURS.devices:
                    simulated.apply(DeleteDevice(name))
            case "down":
                for name in OURS.devices:
                    if name in simulated.links:
                        simulated.down(name)
            case "neighbours":
                simulated.neighbours.clear()
            case "forwardings":
                simulated.forwardings = {replace(one, remote=ip_address("192.0.2.1")) for one in simulated.forwardings}
            case "peers":
                simulated.peers = {replace(one, host=ip_address("192.0.2.1")) for one in simulated.peers}
            case "mtu":
                simulated.links = {name: replace(link, mtu=1300) for name, link in simulated.links.items()}
            case "addresses":
                mine = {one for one in simulated.addresses if one.device in OURS.devices}
                simulated.addresses -= mine


@settings(deadline=None)
@given(st.lists(st.tuples(clusters, owns, damages, st.sampled_from(["", "", "OURS", "ANEW"])), min_size=1, max_size=4))
def test_every_plan_converges_in_one_step(history: list[tuple[list[NodeFacts], str, list[str], str]]) -> None:
    simulated = SimulatedKernel(a_host("192.168.0.1"))
    foreign = {route for route in simulated.routes if not OURS.owns(route)}
    for cluster, address, kinds, key in history:
        chosen = replace(SETTINGS, public_key=key)
        desired = bring_about(simulated, cluster, address, chosen)
        own = replace(OWN, addresses=(ip_address(address),))
        again = plan(own, cluster, simulated.state, chosen).desired
        assert again.peers == simulated.peers
        assert again == desired, "what we have done changes what we want"
        assert difference(again, simulated.state, OURS) == []
        assert desired.routes == {route for route in simulated.routes if OURS.owns(route)}
        assert foreign <= simulated.routes, "a route of others is gone"
        damage(simulated, kinds)
    bring_about(simulated, [], "192.168.0.1")
    assert not [name for name in OURS.devices if name in simulated.links]
    assert {route for route in simulated.routes if route.device in simulated.links} == foreign


@settings(deadline=None)
@given(st.lists(st.tuples(clusters, owns, damages, st.sampled_from(["OURS", "ANEW"])), min_size=1, max_size=4))
def test_with_encryption_nothing_leaves_in_the_clear_at_any_moment(
    history: list[tuple[list[NodeFacts], str, list[str], str]],
) -> None:
    """Whatever else is wrong: keys, nodes, addresses, what others delete, the moment between two operations."""
    simulated = SimulatedKernel(a_host("192.168.0.1"))
    assert leaves_by(simulated, "10.244.1.7") == "eth0"
    for cluster, address, kinds, key in history:
        own, chosen = replace(OWN, addresses=(ip_address(address),)), replace(SETTINGS, public_key=key)
        desired = plan(own, cluster, simulated.state, chosen).desired
        for operation in difference(desired, simulated.state, OURS):
            simulated.apply(operation)
            assert {leaves_by(simulated, f"10.244.{number}.7") for number in range(1, 12)} <= {"", "nv0-wg"}
        # Who takes the barrier itself away lets out what has no way, until the next look.
        damage(simulated, [kind for kind in kinds if kind != "delete routes"])
        assert {leaves_by(simulated, f"10.244.{number}.7") for number in range(1, 12)} <= {"", "nv0-wg"}


def leaves_by(simulated: SimulatedKernel, address: str) -> str:
    """The device by which packets leave: the longest prefix, of those the smallest metric; "" where none."""
    matching = [one for one in simulated.routes if ip_address(address) in one.destination]
    best = max(matching, key=lambda one: (one.destination.prefixlen, -one.metric))
    return best.device


def test_a_barrier_stays_behind_and_goes_with_encryption() -> None:
    simulated = SimulatedKernel(a_host("192.168.0.1"))
    barrier = Route(CLUSTER, "", metric=LAST_METRIC, unicast=False)
    bring_about(simulated, [], "192.168.0.1", replace(SETTINGS, public_key="OURS"))
    assert barrier in simulated.routes
    assert leaves_by(simulated, "10.244.0.7") == "nv0", "what is ours comes first"
    # Another Node has our addresses: there are no ways any more, and still nothing gets out.
    older = NodeFacts("a", (ip_address("192.168.0.2"),), OWN.cidrs, (), -1)
    bring_about(simulated, [older], "192.168.0.1", replace(SETTINGS, public_key="OURS"))
    assert barrier in simulated.routes
    bring_about(simulated, [], "192.168.0.1")
    assert barrier not in simulated.routes


def test_there_is_no_barrier_before_a_network_of_the_host() -> None:
    kernel = a_host("192.168.0.1")
    lan = Route(ip_network("10.0.0.0/8"), "eth0", metric=0, protocol=PROTOCOL_KERNEL)
    assert barriers(SETTINGS, kernel.routes) == {Route(CLUSTER, "", metric=LAST_METRIC, unicast=False)}
    assert barriers(SETTINGS, kernel.routes | {lan}) == set()


def test_two_clusters_on_one_host_leave_each_other_alone() -> None:
    theirs = Route(ip_network("10.200.1.0/24"), "eth0", ip_address("192.168.0.9"))
    stale = Route(ip_network("10.244.9.0/24"), "eth0", ip_address("192.168.0.9"))
    kernel = replace(a_host("192.168.0.1"), routes=frozenset({theirs, stale}))
    assert difference(Desired(), kernel, OURS) == [Delete(stale)]


def test_what_goes_goes_after_what_comes() -> None:
    """From VXLAN to a route and back no moment is without a route."""
    simulated = SimulatedKernel(a_host("192.168.0.1"))
    far = NodeFacts("b", (ip_address("192.168.1.2"),), (ip_network("10.244.2.0/24"),))
    near = replace(far, addresses=(ip_address("192.168.0.2"),))
    for node in (far, near, far):
        desired = plan(OWN, [node], simulated.state, SETTINGS).desired
        had = any(OURS.owns(route) for route in simulated.routes)
        for operation in difference(desired, simulated.state, OURS):
            simulated.apply(operation)
            assert not had or any(OURS.owns(route) for route in simulated.routes), operation


def test_a_device_of_other_parameters_is_made_anew_with_all_on_it() -> None:
    simulated = SimulatedKernel(a_host("192.168.0.1"))
    far = NodeFacts("b", (ip_address("192.168.1.2"),), (ip_network("10.244.2.0/24"),))
    bring_about(simulated, [far], "192.168.0.1")
    own = replace(OWN, addresses=(ip_address("192.168.0.77"),))
    operations = difference(plan(own, [far], simulated.state, SETTINGS).desired, simulated.state, OURS)
    assert operations[0] == DeleteDevice("nv0-x4")
    assert [type(one.what) for one in operations if isinstance(one, Add)] == [
        VxlanDevice,
        DeviceAddress,
        Forwarding,
        Neighbour,
        Route,
    ]


def test_ownership() -> None:
    route = Route(IPv4Network("10.244.1.0/24"), "eth0")
    assert OURS.owns(route)
    assert not OURS.owns(replace(route, protocol=PROTOCOL_KERNEL))
    assert not OURS.owns(replace(route, destination=IPv4Network("10.0.0.0/8")))
    assert Ownership(()).owns(replace(route, destination=IPv4Network("10.0.0.0/8")))
    assert not within(ip_network("fd00::/64"), CLUSTER)
