"""The zone: whatever the order of events, it is the same as one made of the last state, and answers follow it."""

import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.services.dns.facts import Endpoint, Port, ServiceFacts, SliceFacts
from navarch.services.dns.zone import Zone

ADDRESSES = [f"10.244.0.{number}" for number in range(4)]
HTTP = (Port("http", "tcp", 80),)
SERVICES = st.sampled_from(
    [
        None,
        ServiceFacts(("10.96.0.1",), ports=HTTP),
        ServiceFacts(("10.96.0.2", "fd00::2"), ports=HTTP),
        ServiceFacts(headless=True),
        ServiceFacts(headless=True, publishes_not_ready=True),
        ServiceFacts(external_name=("example", "com")),
    ]
)
ENDPOINTS = st.builds(Endpoint, st.sampled_from(["a", "b"]), st.sampled_from(ADDRESSES), st.booleans())
SLICES = st.none() | st.builds(
    SliceFacts, st.sampled_from(["s", "t"]), st.lists(ENDPOINTS, max_size=3).map(tuple), st.just(HTTP)
)
EVENTS = st.lists(
    st.tuples(st.just("service"), st.sampled_from(["s", "t"]), SERVICES)
    | st.tuples(st.just("slice"), st.sampled_from(["x", "y"]), SLICES),
    max_size=15,
)


def feed(zone: Zone, events) -> list[frozenset[str]]:
    return [
        (zone.put_service if kind == "service" else zone.put_slice)("ns", name, facts) for kind, name, facts in events
    ]


def state(zone: Zone) -> dict[str, object]:
    """All that answers are made of, by the topic that says when it changes."""
    found: dict[str, object] = {}
    for name in ("s", "t"):
        view = zone.service("ns", name)
        found[f"service ns/{name}"] = view and (view.facts, view.by_hostname, view.addresses, view.ports, view.exists)
    for address in (*ADDRESSES, "10.96.0.1", "10.96.0.2", "fd00::2"):
        found[f"address {address}"] = (sorted(zone.services_at(address)), zone.hostnames_at(address))
    return found


@settings(max_examples=300)
@given(events=EVENTS)
def test_events_lead_to_the_same_as_the_last_state(events) -> None:
    zone, rebuilt = Zone(), Zone()
    for event in events:
        before = state(zone)
        (topics,) = feed(zone, [event])
        zone.check_invariants()
        after = state(zone)
        # What changed was said to have.
        assert {topic for topic in before if before[topic] != after[topic]} <= topics
    last = {(kind, name): facts for kind, name, facts in events}
    feed(rebuilt, [(kind, name, facts) for (kind, name), facts in sorted(last.items(), key=lambda item: item[0])])
    assert state(zone) == state(rebuilt)


def test_instances_that_know_the_same_have_the_same_serial() -> None:
    """However often, and in whatever order, they heard of it."""
    one, other = Zone(), Zone()
    for version in ("7", "42", "41"):
        one.seen(version)
    for version in ("42", "42", "7"):
        other.seen(version)
    assert one.serial == other.serial == 42
    one.seen("")
    assert one.serial == 42


def test_what_changes_nothing_touches_nothing() -> None:
    zone = Zone()
    facts = ServiceFacts(("10.96.0.1",))
    assert zone.put_service("ns", "s", facts)
    assert not zone.put_service("ns", "s", facts)
    assert not zone.put_slice("ns", "x", None)
    assert not zone.put_namespace("ns", False)


def test_an_answer_is_forgotten_when_its_service_changes(empty, a_service, a_slice) -> None:
    asked = dns.message.make_query("db.default.svc.cluster.local.", "A").to_wire()
    other = dns.message.make_query("web.default.svc.cluster.local.", "A").to_wire()

    def answers(wire: bytes) -> list[str]:
        message = dns.message.from_wire(empty.responder.respond(wire))
        return [str(rdata) for rrset in message.answer for rdata in rrset]

    assert answers(asked) == []
    empty.put(a_service("db"), a_slice("db", ("10.244.0.1", "", True)), a_service("web", "10.96.0.5"))
    assert (answers(asked), answers(other), len(empty.responder)) == (["10.244.0.1"], ["10.96.0.5"], 2)
    empty.put(a_slice("db", ("10.244.0.2", "", True)))
    assert len(empty.responder) == 1
    assert answers(asked) == ["10.244.0.2"]
    empty.remove(a_service("db"))
    assert answers(asked) == []
