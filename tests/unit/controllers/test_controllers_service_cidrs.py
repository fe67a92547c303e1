"""What a ServiceCIDR needs."""

import pytest

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.controller_manager.service_cidrs.plan import FINALIZER, Finalize, Report, Wait, plan

NOW = 1_700_000_000.0


def cidr(
    *blocks: str, name: str = "a", held: bool = True, ready: str = "True", deleted_s: float | None = None
) -> networkingv1.ServiceCIDR:
    made = networkingv1.ServiceCIDR()
    made.metadata.name, made.spec.cidrs[:] = name, blocks
    if held:
        made.metadata.finalizers.append(FINALIZER)
    if ready:
        made.status.conditions.add(type="Ready", status=ready)
    if deleted_s is not None:
        made.metadata.deletion_timestamp.seconds = int(NOW - deleted_s)
    return made


def test_the_life_of_one() -> None:
    assert plan(cidr("10.0.0.0/24", held=False, ready=""), [], [], NOW) == Finalize(present=True)
    report = plan(cidr("10.0.0.0/24", ready=""), [], [], NOW)
    assert isinstance(report, Report)
    (said,) = report.service_cidr.status.conditions
    assert (said.type, said.status, said.last_transition_time.seconds) == ("Ready", "True", int(NOW))
    assert plan(report.service_cidr, [], ["10.0.0.1"], NOW) is None


def test_one_that_somebody_is_left_in_says_so_once() -> None:
    going = cidr("10.0.0.0/24", deleted_s=60)
    report = plan(going, [], ["10.0.0.1"], NOW)
    assert isinstance(report, Report)
    (said,) = report.service_cidr.status.conditions
    assert (said.status, said.reason) == ("False", "Terminating")
    assert plan(report.service_cidr, [], ["10.0.0.1"], NOW + 5) is None
    assert plan(report.service_cidr, [], [], NOW + 5) == Finalize(present=False)


@pytest.mark.parametrize(
    ("others", "addresses", "goes"),
    [
        pytest.param([], [], True, id="empty"),
        pytest.param([], ["10.1.0.1", "fd00::1"], True, id="elsewhere"),
        pytest.param([], ["10.0.0.1"], False, id="inside"),
        pytest.param([cidr("10.0.0.0/16")], ["10.0.0.1"], True, id="within a larger one"),
        pytest.param([cidr("10.0.0.0/24")], ["10.0.0.1"], True, id="the same again"),
        pytest.param([cidr("10.0.0.0/16", deleted_s=1)], ["10.0.0.1"], False, id="within one that goes, too"),
        pytest.param([cidr("10.0.0.0/25")], ["10.0.0.1"], True, id="all in the half that stays"),
        pytest.param([cidr("10.0.0.0/25")], ["10.0.0.1", "10.0.0.200"], False, id="some in the half that does not"),
        pytest.param([cidr("fd00::/64")], ["10.0.0.1"], False, id="another family"),
    ],
)
def test_when_one_may_go(others: list[networkingv1.ServiceCIDR], addresses: list[str], goes: bool) -> None:
    action = plan(cidr("10.0.0.0/24", deleted_s=60), others, addresses, NOW)
    assert (action == Finalize(present=False)) is goes
    assert isinstance(action, Report) is not goes


def test_all_servers_are_given_the_time_to_see_it() -> None:
    assert plan(cidr("10.0.0.0/24", deleted_s=4), [], [], NOW) == Wait(6.0)
    assert plan(cidr("10.0.0.0/24", deleted_s=4, held=False), [], [], NOW) is None
