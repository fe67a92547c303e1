"""Which flows of UDP are deleted when a frontend changes."""

import pytest

from navarch.services.proxy.conntrack import CleanUp, Flow
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import Frontend, FrontendId, Kind
from navarch.services.proxy.state import FrontendChange

VIP = Target("10.96.0.10", 53)
NODE = Target("192.0.2.1", 30053)
A, B = Target("10.244.0.1", 5353), Target("10.244.0.2", 5353)


def frontend(*targets: Target, protocol: str = "udp", address: str = VIP.address, port: int = VIP.port) -> Frontend:
    return Frontend(FrontendId(Family.V4, protocol, address, port), Kind.CLUSTER, "dns", targets)


def node_port(*targets: Target) -> Frontend:
    return frontend(*targets, address="", port=NODE.port)


def clean_up(old: Frontend | None, new: Frontend | None) -> CleanUp:
    return CleanUp.of([FrontendChange(old, new)], frozenset({NODE.address}))


@pytest.mark.parametrize(
    ("old", "new", "looks"),
    [
        pytest.param(frontend(A), frontend(B), True, id="replaced"),
        pytest.param(frontend(A, B), frontend(B), True, id="one is gone"),
        pytest.param(frontend(), frontend(A), True, id="the first"),
        pytest.param(None, frontend(A), True, id="a new Service"),
        pytest.param(frontend(A), None, True, id="the Service is gone"),
        pytest.param(frontend(A), frontend(A, B), False, id="one more"),
        pytest.param(frontend(A, B), frontend(B, A), False, id="other slots"),
        pytest.param(None, frontend(), False, id="still none"),
        pytest.param(frontend(A, protocol="tcp"), frontend(B, protocol="tcp"), False, id="TCP ends by itself"),
    ],
)
def test_only_changes_that_can_strand_flows_are_looked_at(
    old: Frontend | None, new: Frontend | None, looks: bool
) -> None:
    assert bool(clean_up(old, new).changes) is looks


@pytest.mark.parametrize(
    ("old", "new", "sent_to", "answered_by", "stale"),
    [
        pytest.param(frontend(A), frontend(B), VIP, A, True, id="the target is gone"),
        pytest.param(frontend(A), frontend(B), VIP, B, False, id="the target is there"),
        pytest.param(frontend(), frontend(A), VIP, VIP, True, id="went nowhere, and now there is one"),
        pytest.param(frontend(A), None, VIP, VIP, False, id="goes nowhere, and there is none"),
        pytest.param(frontend(A), None, VIP, A, True, id="the Service is gone"),
        pytest.param(None, frontend(A), VIP, B, True, id="of a Service before ours"),
        pytest.param(frontend(A), frontend(B), Target("10.96.0.11", 53), A, False, id="another address"),
        pytest.param(frontend(A), frontend(B), Target(VIP.address, 54), A, False, id="another port"),
        pytest.param(node_port(A), node_port(B), NODE, A, True, id="node port, the target is gone"),
        pytest.param(node_port(A), node_port(B), NODE, B, False, id="node port, the target is there"),
        pytest.param(node_port(), node_port(A), NODE, NODE, True, id="node port, went nowhere"),
        pytest.param(
            node_port(A), node_port(B), Target("198.51.100.1", NODE.port), A, False, id="that port of another host"
        ),
        pytest.param(
            node_port(A), node_port(B), NODE, Target("10.1.1.1", 1), False, id="led there by somebody else's rule"
        ),
    ],
)
def test_a_flow_is_stale_when_its_frontend_leads_elsewhere(
    old: Frontend | None, new: Frontend | None, sent_to: Target, answered_by: Target, stale: bool
) -> None:
    assert clean_up(old, new).is_stale(Flow(Family.V4, sent_to, answered_by)) is stale


def test_targets_of_this_node_count() -> None:
    local = Frontend(
        FrontendId(Family.V4, "udp", "", NODE.port), Kind.EXTERNAL, "", (A,), local_only=True, local_targets=(B,)
    )
    work = clean_up(node_port(A, B, VIP), local)
    assert not work.is_stale(Flow(Family.V4, NODE, B))
    assert work.is_stale(Flow(Family.V4, NODE, VIP))


def test_changes_of_one_frontend_are_one_change() -> None:
    node_ips = frozenset({NODE.address})
    changes = [FrontendChange(frontend(A), frontend(A, B)), FrontendChange(frontend(A, B), frontend(B))]
    assert CleanUp.of(changes, node_ips).is_stale(Flow(Family.V4, VIP, A))
    back = [FrontendChange(frontend(A), frontend(B)), FrontendChange(frontend(B), frontend(A))]
    assert not CleanUp.of(back, node_ips).changes
