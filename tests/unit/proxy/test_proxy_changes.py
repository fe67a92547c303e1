"""Changes only: what incremental transactions build is what a build from nothing has, and small."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.services.proxy.elements import Place
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.slots import keep_slots
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.transaction import Transaction
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder, a_node

SETTINGS = Settings(cluster_cidrs=("10.244.0.0/16",))


class Table:
    """What the kernel would hold, and its refusals."""

    def __init__(self) -> None:
        self.chains: set[str] = set()
        self.elements: dict[Place, str] = {}

    def apply(self, transaction: Transaction) -> None:
        for name in transaction.new_chains:
            assert name not in self.chains
            self.chains.add(name)
        for place, value in transaction.removed.items():
            assert self.elements.pop(place) == value
        for place, value in transaction.added.items():
            assert place not in self.elements
            self.elements[place] = value
        for name in transaction.old_chains:
            self.chains.remove(name)


services = st.builds(
    lambda name, port, flags, timeout: (name, port, flags, timeout),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([80, 443]),
    st.sets(st.sampled_from(["node port", "external", "local", "internal local", "balancer", "six", "gone"])),
    st.sampled_from([0, 0, 60, 120]),
)
slices = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y"]),
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([NODE, "node-2"]), st.sampled_from(["ready", "ending", "not"])),
        max_size=6,
        unique_by=lambda endpoint: endpoint[0],
    ),
)


def build_service(name: str, port: int, flags: set[str], timeout: int) -> ServiceBuilder:
    number = "abc".index(name) + 1
    ips = [f"10.96.0.{number}", *([f"fd00::{number}"] if "six" in flags else [])]
    built = ServiceBuilder(name, *ips).port(port, node_port=30000 + number if "node port" in flags else 0)
    if "external" in flags:
        # The same for all: whoever comes first has it.
        built.external("198.51.100.1")
    if "balancer" in flags:
        built.load_balancer(f"198.51.100.{10 + number}", ranges=["203.0.113.0/24"])
    if "local" in flags:
        built.external_local()
    if "internal local" in flags:
        built.internal_local()
    return built.affinity(timeout) if timeout else built


def build_slice(name: str, suffix: str, endpoints: list[tuple[int, str, str]]) -> SliceBuilder:
    built = SliceBuilder(name, suffix=suffix).port(8080)
    for number, node, condition in endpoints:
        built.endpoint(
            f"10.244.0.{number}",
            node=node,
            ready=condition == "ready",
            serving=condition != "not",
            terminating=condition == "ending",
        )
    return built


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(services, slices, st.just("zone")), max_size=30), st.integers(1, 4))
def test_changes_lead_to_what_a_build_from_nothing_has(events: list[object], batch: int) -> None:
    state, table = ProxyState(SETTINGS, NODE), Table()
    for number, event in enumerate(events):
        match event:
            case (str(name), int(port), set(flags), int(timeout)):
                if "gone" in flags:
                    state.remove_service(f"default/{name}")
                else:
                    state.set_service(build_service(name, port, flags, timeout).object)
            case (str(name), str(suffix), list(endpoints)):
                built = build_slice(name, suffix, endpoints).object
                if endpoints:
                    state.set_slice(built)
                else:
                    state.remove_slice(built)
            case _:
                state.set_node(a_node("192.0.2.1", zone=f"zone-{number}"))
        if number % batch == 0:
            table.apply(state.changes()[0])
    table.apply(state.changes()[0])
    assert table.elements == dict(state.elements())
    assert table.chains == set(state.chains)
    assert not state.changes()[0]
    again = ProxyState(SETTINGS, NODE)
    for key in state.rules:
        again.set_service(state._services[key])
        for slice in state._slices.get(key, {}).values():
            again.set_slice(slice)
    again.set_node(a_node("192.0.2.1"))
    again.changes()
    assert set(again.chains) <= set(state.chains)
    if not any(isinstance(event, tuple) and len(event) == 4 and "external" in event[2] for event in events):
        assert {place for place, _ in again.elements()} == set(table.elements)


targets = st.lists(st.integers(1, 12), unique=True).map(lambda numbers: [Target(f"10.0.0.{n}", 80) for n in numbers])


@given(targets, targets)
def test_slots_stay_with_those_who_stay(old: list[Target], new: list[Target]) -> None:
    kept = keep_slots(old, new)
    assert sorted(kept) == sorted(new)
    moved = [target for target in set(old) & set(new) if kept.index(target) != old.index(target)]
    gone = len(set(old) - set(new))
    assert len(moved) <= gone
    assert all(kept.index(target) < old.index(target) for target in moved)


@pytest.mark.parametrize("services", [1, 1000])
def test_a_change_costs_what_changed_not_what_there_is(services: int) -> None:
    state = ProxyState(SETTINGS, NODE)
    for number in range(services):
        name = f"s{number}"
        state.set_service(ServiceBuilder(name, f"10.96.{number // 250}.{number % 250 + 1}").port(80).object)
        slice = SliceBuilder(name).port(8080)
        for endpoint in range(5):
            slice.endpoint(f"10.244.{number % 250}.{endpoint + 1}")
        state.set_slice(slice.object)
    state.whole()
    assert not state.is_dirty
    changed = SliceBuilder("s0").port(8080)
    for endpoint in (1, 2, 3, 4, 6):
        changed.endpoint(f"10.244.0.{endpoint}")
    state.set_slice(changed.object)
    transaction, _ = state.changes()
    place = Place("endpoints4-tcp", "10.96.0.1 . 80 . 4")
    assert transaction.removed == {place: "10.244.0.5 . 8080"}
    assert transaction.added == {place: "10.244.0.6 . 8080"}
    assert not transaction.new_chains
    assert transaction.render(state.settings) == (
        "delete element inet navarch-proxy endpoints4-tcp { 10.96.0.1 . 80 . 4 }\n"
        "add element inet navarch-proxy endpoints4-tcp { 10.96.0.1 . 80 . 4 : 10.244.0.6 . 8080 }\n"
    )


def test_a_change_of_number_brings_chains_before() -> None:
    state = ProxyState(SETTINGS, NODE)
    state.set_service(ServiceBuilder("web", "10.96.0.1").port(80).object)
    state.set_slice(SliceBuilder("web").port(8080).endpoint("10.244.0.1").object)
    state.whole()
    state.set_slice(SliceBuilder("web").port(8080).endpoint("10.244.0.1").endpoint("10.244.0.2").object)
    lines = state.changes()[0].render(state.settings).splitlines()
    assert [line for line in lines if "chain" in line] == [
        " chain balance4-tcp-2 {",
        " chain cluster4-tcp-2 {",
    ]
    # Back again: the old ones are still there.
    state.set_slice(SliceBuilder("web").port(8080).endpoint("10.244.0.1").object)
    assert "chain" not in state.changes()[0].render(state.settings)


def test_unused_chains_go_when_they_are_many_each_before_those_it_leads_to() -> None:
    state = ProxyState(SETTINGS, NODE)
    table = Table()
    state.set_service(ServiceBuilder("web", "10.96.0.1").port(80).object)
    removed: list[str] = []
    for count in range(1, 40):
        slice = SliceBuilder("web").port(8080)
        for number in range(count):
            slice.endpoint(f"10.244.0.{number + 1}")
        state.set_slice(slice.object)
        transaction, _ = state.changes()
        table.apply(transaction)
        if transaction.old_chains:
            removed = [line.split()[-1] for line in transaction.render(SETTINGS).splitlines() if "delete chain" in line]
    assert len(table.chains) < 70
    assert removed.index("cluster4-tcp-1") < removed.index("balance4-tcp-1")


def test_what_did_not_change_changes_nothing() -> None:
    state = ProxyState(SETTINGS, NODE)
    service, slice = ServiceBuilder("web", "10.96.0.1").port(80), SliceBuilder("web").port(8080).endpoint("10.244.0.1")
    state.set_service(service.object)
    state.set_slice(slice.object)
    state.whole()
    state.set_service(service.object)
    state.set_slice(slice.object)
    transaction, changes = state.changes()
    assert not transaction
    assert changes == []


def test_a_service_of_a_thousand_ports() -> None:
    state = ProxyState(SETTINGS, NODE)
    service, slice = ServiceBuilder("wide", "10.96.0.1"), SliceBuilder("wide").endpoint("10.244.0.1")
    for number in range(1, 1001):
        service.port(number, name=f"p{number}")
        slice.port(number + 1000, name=f"p{number}")
    state.set_service(service.object)
    state.set_slice(slice.object)
    state.whole()
    elements = dict(state.elements())
    assert elements[Place("endpoints4-tcp", "10.96.0.1 . 777 . 0")] == "10.244.0.1 . 1777"
    assert len(state.rules["default/wide"].frontends) == 1000
    # All are alike.
    assert set(state.chains) == {"cluster4-tcp-1", "balance4-tcp-1"}
