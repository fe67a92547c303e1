"""ReplicaSets: how many Pods to make, which to delete, what to report."""

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.replicaset.plan import (
    BURST,
    Failure,
    batches,
    new_pod,
    next_available_s,
    plan,
    status,
)
from navarch.services.controller_manager.replicaset.ranking import DELETION_COST, cheapest, crowding

NOW = 1_700_000_000.0


def a_replica_set(replicas: int, min_ready_s: int = 0) -> appsv1.ReplicaSet:
    result = appsv1.ReplicaSet()
    result.metadata.name, result.metadata.namespace, result.metadata.uid = "web", "default", "uid-web"
    result.metadata.generation = 3
    result.spec.replicas, result.spec.min_ready_seconds = replicas, min_ready_s
    result.spec.template.metadata.labels["app"] = "web"
    result.spec.template.metadata.annotations["note"] = "x"
    result.spec.template.spec.containers.add(name="main", image="v1")
    return result


def a_pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready_s: float | None = 100.0,
    age_s: float = 1000.0,
    restarts: int = 0,
    cost: str = "",
    leaving: bool = False,
) -> corev1.Pod:
    """ready_s: how long it has been ready; None: not ready."""
    pod = corev1.Pod()
    pod.metadata.name = pod.metadata.uid = name
    pod.metadata.labels["app"] = "web"
    pod.metadata.creation_timestamp.seconds = int(NOW - age_s)
    pod.spec.node_name = node
    pod.status.phase = phase
    if ready_s is not None:
        pod.status.conditions.add(type="Ready", status="True").last_transition_time.seconds = int(NOW - ready_s)
    pod.status.container_statuses.add(name="main", restart_count=restarts)
    if cost:
        pod.metadata.annotations[DELETION_COST] = cost
    if leaving:
        pod.metadata.deletion_timestamp.seconds = int(NOW)
    return pod


@pytest.mark.parametrize(
    ("replicas", "pods", "create", "delete"),
    [
        pytest.param(3, [], 3, 0, id="none yet"),
        pytest.param(2, [a_pod("a"), a_pod("b")], 0, 0, id="enough"),
        pytest.param(1, [a_pod("a"), a_pod("b"), a_pod("c")], 0, 2, id="too many"),
        pytest.param(2, [a_pod("a"), a_pod("b", phase="Failed")], 1, 0, id="ended ones do not count"),
        pytest.param(2, [a_pod("a"), a_pod("b", leaving=True)], 1, 0, id="leaving ones do not count"),
        pytest.param(10_000, [], BURST, 0, id="in bursts"),
        pytest.param(0, [], 0, 0, id="none wanted"),
    ],
)
def test_difference(replicas: int, pods: list[corev1.Pod], create: int, delete: int) -> None:
    step = plan(a_replica_set(replicas), pods, pods, NOW)
    assert (step.create, len(step.delete)) == (create, delete)


def test_a_leaving_replica_set_touches_nothing() -> None:
    leaving = a_replica_set(3)
    leaving.metadata.deletion_timestamp.seconds = int(NOW)
    step = plan(leaving, [a_pod("a")], [], NOW)
    assert (step.create, list(step.delete)) == (0, [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(a_pod("z", node=""), a_pod("a"), id="unassigned"),
        pytest.param(a_pod("z", phase="Pending"), a_pod("a", phase="Unknown"), id="pending before unknown"),
        pytest.param(a_pod("z", phase="Unknown"), a_pod("a"), id="unknown before running"),
        pytest.param(a_pod("z", ready_s=None), a_pod("a"), id="not ready"),
        pytest.param(a_pod("z", cost="-1"), a_pod("a"), id="cheaper"),
        pytest.param(a_pod("z"), a_pod("a", cost="5"), id="other is dear"),
        pytest.param(a_pod("z", node="crowded"), a_pod("a"), id="crowded node"),
        pytest.param(a_pod("z", ready_s=5), a_pod("a", ready_s=500), id="ready for a shorter time"),
        pytest.param(a_pod("z", restarts=4), a_pod("a"), id="restarted more often"),
        pytest.param(a_pod("z", age_s=200), a_pod("a", age_s=9000), id="younger"),
        pytest.param(a_pod("a", age_s=1000), a_pod("z", age_s=1001), id="as good: by uid"),
        pytest.param(a_pod("z", node="", cost="9"), a_pod("a", cost="-9"), id="assignment outweighs cost"),
        pytest.param(a_pod("z", cost="x", ready_s=None), a_pod("a"), id="senseless cost is none"),
    ],
)
def test_ranking(first: corev1.Pod, second: corev1.Pod) -> None:
    crowds = {"crowded": 3, "n1": 1}
    for candidates in ([first, second], [second, first]):
        assert cheapest(candidates, 1, crowds, NOW) == [first]


def test_crowding_counts_active_pods_of_all_relatives() -> None:
    pods = [a_pod("a"), a_pod("b"), a_pod("c", node="n2"), a_pod("d", phase="Failed"), a_pod("e", node="")]
    assert crowding(pods) == {"n1": 2, "n2": 1}


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (3, [3]), (30, [8, 16, 6]), (8, [8])])
def test_slow_start(count: int, expected: list[int]) -> None:
    assert list(batches(count)) == expected


def test_a_pod_is_made_from_the_template() -> None:
    pod = new_pod(a_replica_set(1))
    assert pod.metadata.generate_name == "web-"
    assert pod.metadata.labels == {"app": "web"}
    assert pod.metadata.annotations == {"note": "x"}
    owner = pod.metadata.owner_references[0]
    assert (owner.kind, owner.uid, owner.controller, owner.block_owner_deletion) == (
        "ReplicaSet",
        "uid-web",
        True,
        True,
    )
    assert pod.spec.containers[0].image == "v1"


class TestStatus:
    """What a ReplicaSet reports."""

    def test_counts(self) -> None:
        odd = a_pod("odd", ready_s=None)
        odd.metadata.labels["app"] = "other"
        pods = [
            a_pod("old"),
            a_pod("fresh", ready_s=5),
            odd,
            a_pod("going", leaving=True),
            a_pod("gone", phase="Failed"),
        ]
        after = status(a_replica_set(4, min_ready_s=10), pods, None, NOW)
        assert after is not None
        assert (after.replicas, after.fully_labeled_replicas, after.ready_replicas) == (3, 2, 2)
        assert (after.available_replicas, after.terminating_replicas, after.observed_generation) == (1, 1, 3)

    def test_nothing_new_is_not_written(self) -> None:
        replica_set = a_replica_set(1)
        replica_set.status.CopyFrom(status(replica_set, [a_pod("a")], None, NOW))
        assert status(replica_set, [a_pod("a")], None, NOW + 5) is None

    def test_failure_comes_stays_as_it_was_and_goes(self) -> None:
        replica_set = a_replica_set(1)
        replica_set.status.CopyFrom(status(replica_set, [], Failure("FailedCreate", "quota"), NOW))
        assert [(each.reason, each.message) for each in replica_set.status.conditions] == [("FailedCreate", "quota")]
        assert status(replica_set, [], Failure("FailedCreate", "other"), NOW + 5) is None
        assert not status(replica_set, [a_pod("a")], None, NOW + 9).conditions

    def test_the_next_pod_to_become_available(self) -> None:
        replica_set = a_replica_set(3, min_ready_s=10)
        assert next_available_s(replica_set, [a_pod("a"), a_pod("b", ready_s=4), a_pod("c", ready_s=1)], NOW) == 6
        assert next_available_s(replica_set, [a_pod("a"), a_pod("b", ready_s=None)], NOW) is None
