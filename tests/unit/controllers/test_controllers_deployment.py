"""Deployments: limits, proportional scaling, revisions, conditions. Tables over the pure plan."""

import pytest

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager.deployment import status
from navarch.services.controller_manager.deployment.limits import Limits
from navarch.services.controller_manager.deployment.plan import Observed, Plan, plan
from navarch.services.controller_manager.deployment.rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
)
from navarch.services.controller_manager.deployment.template import HASH_LABEL, same, template_hash

NOW = 1_700_000_000.0


def a_deployment(replicas: int = 3, image: str = "v2", surge: int | str = 1, unavailable: int | str = 0):
    deployment = appsv1.Deployment()
    deployment.metadata.name, deployment.metadata.namespace, deployment.metadata.uid = "web", "default", "uid-web"
    deployment.metadata.generation = 1
    deployment.spec.replicas = replicas
    deployment.spec.strategy.type = "RollingUpdate"
    deployment.spec.strategy.rolling_update.max_surge.CopyFrom(amount(surge))
    deployment.spec.strategy.rolling_update.max_unavailable.CopyFrom(amount(unavailable))
    deployment.spec.selector.match_labels["app"] = "web"
    deployment.spec.template.metadata.labels["app"] = "web"
    deployment.spec.template.spec.containers.add(name="main", image=image)
    deployment.spec.progress_deadline_seconds = 600
    deployment.spec.revision_history_limit = 10
    return deployment


def amount(value: int | str) -> intstr_pb2.IntOrString:
    if isinstance(value, int):
        return intstr_pb2.IntOrString(type=0, int_val=value)
    return intstr_pb2.IntOrString(type=1, str_val=value)


def a_replica_set(
    image: str,
    replicas: int,
    available: int | None = None,
    *,
    age_s: int = 100,
    revision: int = 1,
    desired: int | None = None,
    most: int | None = None,
) -> appsv1.ReplicaSet:
    deployment = a_deployment(image=image)
    result = appsv1.ReplicaSet()
    result.metadata.name, result.metadata.namespace, result.metadata.uid = f"web-{image}", "default", f"uid-{image}"
    result.metadata.resource_version = "1"
    result.metadata.creation_timestamp.seconds = int(NOW) - age_s
    result.metadata.owner_references.append(owner_reference(deployment))
    result.metadata.annotations[REVISION] = str(revision)
    if desired is not None:
        result.metadata.annotations[DESIRED_REPLICAS] = str(desired)
        result.metadata.annotations[MAX_REPLICAS] = str(most if most is not None else desired)
    result.spec.replicas = replicas
    result.spec.template.CopyFrom(deployment.spec.template)
    result.spec.template.metadata.labels[HASH_LABEL] = image
    available = replicas if available is None else available
    result.status.replicas = replicas
    result.status.ready_replicas = result.status.available_replicas = available
    return result


def sizes(step: Plan) -> dict[str, int]:
    pairs = ((each.before, each.replica_set) for each in step.resize)
    return {each.metadata.name: each.spec.replicas for before, each in pairs if each.spec.replicas != before}


def progressing(step: Plan) -> appsv1.DeploymentCondition:
    assert step.status is not None
    found = status.find(step.status, status.PROGRESSING)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        pytest.param(10, "25%", "25%", (3, 2), id="surge rounds up, unavailable down"),
        pytest.param(3, "25%", "25%", (1, 0), id="small"),
        pytest.param(1, "0%", "25%", (0, 1), id="both zero: one may be unavailable"),
        pytest.param(0, "25%", "25%", (0, 0), id="none wanted"),
        pytest.param(2, 0, 5, (0, 2), id="unavailable capped at all"),
        pytest.param(4, 2, 1, (2, 1), id="numbers"),
        pytest.param(3, "100%", "100%", (3, 3), id="all"),
    ],
)
def test_limits(replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]) -> None:
    limits = Limits.of(a_deployment(replicas, surge=surge, unavailable=unavailable).spec)
    assert (limits.max_surge, limits.max_unavailable) == expected


def test_limits_default_to_a_quarter() -> None:
    spec = appsv1.DeploymentSpec(replicas=8)
    assert Limits.of(spec) == Limits(8, 2, 2)


def test_recreate_has_neither_surge_nor_spare() -> None:
    deployment = a_deployment(5, surge=2, unavailable=2)
    deployment.spec.strategy.type = "Recreate"
    assert Limits.of(deployment.spec) == Limits(5, 0, 0)


@pytest.mark.parametrize(
    ("deployment", "replica_sets", "expected"),
    [
        pytest.param(
            a_deployment(4),
            [a_replica_set("v1", 4), a_replica_set("v2", 1, 0, age_s=1)],
            {},
            id="new not available yet: wait",
        ),
        pytest.param(
            a_deployment(4),
            [a_replica_set("v1", 4), a_replica_set("v2", 1, 1, age_s=1)],
            {"web-v1": 3},
            id="new available: one old may go",
        ),
        pytest.param(
            a_deployment(4),
            [a_replica_set("v1", 3), a_replica_set("v2", 1, 1, age_s=1)],
            {"web-v2": 2},
            id="room in the surge",
        ),
        pytest.param(
            a_deployment(4),
            [a_replica_set("v0", 2, 0, age_s=200), a_replica_set("v1", 3, 3), a_replica_set("v2", 0, 0, age_s=1)],
            {"web-v0": 1},
            id="unhealthy old ones go first",
        ),
        pytest.param(
            a_deployment(4, surge=0, unavailable=1),
            [a_replica_set("v1", 4), a_replica_set("v2", 0, 0, age_s=1)],
            {"web-v1": 3},
            id="no surge: make room first",
        ),
        pytest.param(
            a_deployment(2),
            [a_replica_set("v2", 5, 5)],
            {"web-v2": 2},
            id="new one too large",
        ),
        pytest.param(
            a_deployment(10, surge="30%", unavailable="30%"),
            [a_replica_set("v1", 10), a_replica_set("v2", 0, 0, age_s=1)],
            {"web-v2": 3, "web-v1": 7},
            id="both at once",
        ),
    ],
)
def test_rolling_update_step(deployment, replica_sets, expected: dict[str, int]) -> None:
    assert sizes(plan(Observed(deployment, replica_sets), NOW)) == expected


@pytest.mark.parametrize(
    ("deployment", "replica_sets", "expected"),
    [
        pytest.param(a_deployment(12), [a_replica_set("v2", 10, desired=10)], {"web-v2": 12}, id="single, up"),
        pytest.param(a_deployment(6), [a_replica_set("v2", 10, desired=10)], {"web-v2": 6}, id="single, down"),
        pytest.param(
            a_deployment(20, surge=0),
            [a_replica_set("v1", 5, desired=10, age_s=9), a_replica_set("v2", 5, desired=10, age_s=1)],
            {"web-v1": 10, "web-v2": 10},
            id="halves",
        ),
        pytest.param(
            a_deployment(4, surge=0),
            [a_replica_set("v1", 8, desired=10, age_s=9), a_replica_set("v2", 2, desired=10, age_s=1)],
            {"web-v1": 3, "web-v2": 1},
            id="down in proportion",
        ),
        pytest.param(
            a_deployment(5, surge=0),
            [a_replica_set(f"v{number}", 4, desired=12, age_s=9 - number) for number in range(3)],
            {"web-v0": 1, "web-v1": 2, "web-v2": 2},
            id="leftover comes off the oldest",
        ),
        pytest.param(
            a_deployment(0),
            [a_replica_set("v1", 5, desired=10, age_s=9), a_replica_set("v2", 5, desired=10, age_s=1)],
            {"web-v1": 0, "web-v2": 0},
            id="to nothing",
        ),
    ],
)
def test_scaling_in_proportion(deployment, replica_sets, expected: dict[str, int]) -> None:
    assert sizes(plan(Observed(deployment, replica_sets), NOW)) == expected


def test_a_fitting_size_ends_the_scaling() -> None:
    """Else the Deployment would take itself for one being scaled for ever, and never roll out."""
    step = plan(Observed(a_deployment(4), [a_replica_set("v1", 4, desired=5), a_replica_set("v2", 0, age_s=1)]), NOW)
    noted = [each.replica_set.metadata.annotations[DESIRED_REPLICAS] for each in step.resize]
    assert "4" in noted


def test_a_new_deployment_gets_its_replica_set() -> None:
    deployment = a_deployment(3)
    deployment.metadata.annotations["team"] = "a"
    deployment.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    step = plan(Observed(deployment, []), NOW)
    new = step.create
    assert new is not None
    suffix = template_hash(deployment.spec.template, 0)
    assert new.metadata.name == f"web-{suffix}"
    assert new.spec.replicas == 3
    assert new.spec.selector.match_labels == {"app": "web", HASH_LABEL: suffix}
    assert new.spec.template.metadata.labels == new.metadata.labels == {"app": "web", HASH_LABEL: suffix}
    assert new.metadata.annotations == {REVISION: "1", DESIRED_REPLICAS: "3", MAX_REPLICAS: "4", "team": "a"}
    assert new.metadata.owner_references[0].controller
    assert step.revision == "1"
    assert progressing(step).reason == "NewReplicaSetCreated"
    assert step.check_after_s == pytest.approx(601)


def test_a_finished_deployment_needs_nothing() -> None:
    deployment = a_deployment(3)
    step = plan(Observed(deployment, [a_replica_set("v2", 3, desired=3, most=4)]), NOW)
    assert progressing(step).reason == "NewReplicaSetAvailable"
    deployment.status.CopyFrom(step.status)
    deployment.metadata.annotations[REVISION] = "1"
    assert plan(Observed(deployment, [a_replica_set("v2", 3, desired=3, most=4)]), NOW + 5) == Plan(
        resize=[], delete=[]
    )


def test_going_back_to_a_template_renumbers_it() -> None:
    old, newer = a_replica_set("v2", 0, revision=1, age_s=50), a_replica_set("v3", 3, revision=2, age_s=10)
    step = plan(Observed(a_deployment(3, "v2"), [old, newer]), NOW)
    (reused,) = [each.replica_set for each in step.resize if each.replica_set.metadata.name == "web-v2"]
    assert reused.metadata.annotations[REVISION] == "3"
    assert reused.metadata.annotations[REVISION_HISTORY] == "1"
    assert step.revision == "3"
    assert step.create is None


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0, ["web-a", "web-b", "web-c"]), (1, ["web-a", "web-b"]), (2, ["web-a"]), (3, []), (9, [])],
)
def test_history_limit(limit: int, expected: list[str]) -> None:
    deployment = a_deployment(1)
    deployment.spec.revision_history_limit = limit
    olds = [a_replica_set(image, 0, revision=number, age_s=1) for number, image in enumerate("abc", 1)]
    current = a_replica_set("v2", 1, revision=4)
    deployment.status.CopyFrom(plan(Observed(deployment, [current]), NOW).status)
    step = plan(Observed(deployment, [*olds, current]), NOW)
    assert [each.metadata.name for each in step.delete] == expected


def test_history_keeps_what_still_has_pods() -> None:
    deployment = a_deployment(1)
    deployment.spec.revision_history_limit = 0
    lingering = a_replica_set("a", 0, revision=1)
    lingering.status.replicas = 1
    current = a_replica_set("v2", 1, revision=2)
    deployment.status.CopyFrom(plan(Observed(deployment, [current]), NOW).status)
    assert plan(Observed(deployment, [lingering, current]), NOW).delete == []


def test_a_paused_deployment_makes_no_replica_set() -> None:
    deployment = a_deployment(3, "v2")
    deployment.spec.paused = True
    step = plan(Observed(deployment, [a_replica_set("v1", 3, desired=3, most=4)]), NOW)
    assert step.create is None
    assert not step.resize
    assert (progressing(step).status, progressing(step).reason) == ("Unknown", "DeploymentPaused")
    assert step.check_after_s is None
    deployment.status.CopyFrom(step.status)
    deployment.spec.paused = False
    assert plan(Observed(deployment, [a_replica_set("v1", 3, desired=3, most=4)]), NOW).create is not None


def test_no_progress_for_too_long_is_a_failure() -> None:
    deployment = a_deployment(3)
    stuck = [a_replica_set("v1", 3), a_replica_set("v2", 1, 0, age_s=1, revision=2)]
    deployment.status.CopyFrom(plan(Observed(deployment, stuck), NOW).status)
    step = plan(Observed(deployment, stuck), NOW + 601)
    assert (progressing(step).status, progressing(step).reason) == ("False", "ProgressDeadlineExceeded")
    deployment.status.CopyFrom(step.status)
    late = [a_replica_set("v1", 3), a_replica_set("v2", 1, 1, age_s=1, revision=2)]
    assert progressing(plan(Observed(deployment, late), NOW + 700)).reason == "ReplicaSetUpdated"


def test_progress_restarts_the_deadline() -> None:
    deployment = a_deployment(3)
    deployment.status.CopyFrom(plan(Observed(deployment, [a_replica_set("v2", 3, 0)]), NOW).status)
    step = plan(Observed(deployment, [a_replica_set("v2", 3, 1)]), NOW + 500)
    assert progressing(step).last_update_time.seconds == int(NOW) + 500
    assert progressing(step).last_transition_time.seconds == int(NOW)
    assert step.check_after_s == pytest.approx(601)


def test_a_replica_set_that_fails_shows_on_its_deployment() -> None:
    failing = a_replica_set("v2", 3, 0)
    failing.status.conditions.add(type="ReplicaFailure", status="True", reason="FailedCreate", message="quota")
    step = plan(Observed(a_deployment(3), [failing]), NOW)
    found = status.find(step.status, "ReplicaFailure")
    assert found is not None
    assert (found.reason, found.message) == ("FailedCreate", "quota")


def test_status_counts() -> None:
    replica_sets = [a_replica_set("v1", 2, 2), a_replica_set("v2", 2, 1, age_s=1)]
    after = plan(Observed(a_deployment(3), replica_sets), NOW).status
    counts = (after.replicas, after.updated_replicas, after.ready_replicas, after.available_replicas)
    assert counts == (4, 2, 3, 3)
    assert after.observed_generation == 1
    assert status.find(after, "Available").status == "True"


def test_recreate_waits_for_the_last_old_pod() -> None:
    deployment = a_deployment(2)
    deployment.spec.strategy.type = "Recreate"
    assert sizes(plan(Observed(deployment, [a_replica_set("v1", 2)], old_pods_exist=True), NOW)) == {"web-v1": 0}
    assert plan(Observed(deployment, [a_replica_set("v1", 0)], old_pods_exist=True), NOW).create is None
    assert plan(Observed(deployment, [a_replica_set("v1", 0)]), NOW).create.spec.replicas == 2


def test_a_leaving_deployment_only_reports() -> None:
    deployment = a_deployment(3)
    deployment.metadata.deletion_timestamp.seconds = int(NOW)
    step = plan(Observed(deployment, [a_replica_set("v1", 3)]), NOW)
    assert step.create is None
    assert not step.resize
    assert step.status is not None


class TestTemplates:
    """Equality and hash of templates."""

    def test_the_hash_is_stable(self) -> None:
        template = a_deployment(image="busybox:1").spec.template
        # Written down, so that an upgrade that would roll out every Deployment is noticed.
        assert template_hash(template, 0) == template_hash(template, 0)
        assert template_hash(template, 0) != template_hash(template, 1)
        assert set(template_hash(template, 0)) <= set("bcdfghjklmnpqrstvwxz2456789")

    def test_explicit_zeros_do_not_matter(self) -> None:
        plain, chatty = a_deployment().spec.template, a_deployment().spec.template
        chatty.spec.host_network = False
        chatty.spec.hostname = ""
        chatty.spec.containers[0].working_dir = ""
        assert plain != chatty
        assert same(plain, chatty)
        assert template_hash(plain, 0) == template_hash(chatty, 0)

    def test_the_hash_label_does_not_matter(self) -> None:
        plain, labelled = a_deployment().spec.template, a_deployment().spec.template
        labelled.metadata.labels[HASH_LABEL] = "abc"
        assert same(plain, labelled)

    def test_content_matters(self) -> None:
        assert not same(a_deployment(image="a").spec.template, a_deployment(image="b").spec.template)
