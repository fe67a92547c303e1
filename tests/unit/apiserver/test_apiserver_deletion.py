"""What a request to delete means, as a table; nothing is stored."""

from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.apiserver.registry.delete import MAX_GRACE_S, plan
from navarch.services.apiserver.registry.modify import Keep, Remove, Write

NOW = 1000.0


def pod(*, node: str = "n1", phase: str = "Running", grace: int | None = None, finalizers: tuple[str, ...] = ()) -> Any:
    made = corev1.Pod()
    made.metadata.finalizers.extend(finalizers)
    made.spec.node_name, made.status.phase = node, phase
    if grace is not None:
        made.spec.termination_grace_period_seconds = grace
    return made


def deleted(obj: Any, at: int, grace: int) -> Any:
    obj.metadata.deletion_timestamp.seconds = at
    obj.metadata.deletion_grace_period_seconds = grace
    return obj


def options(grace: int | None = None, policy: str = "") -> metav1.DeleteOptions:
    made = metav1.DeleteOptions()
    if grace is not None:
        made.grace_period_seconds = grace
    if policy:
        made.propagation_policy = policy
    return made


def config_map(*finalizers: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap()
    made.metadata.finalizers.extend(finalizers)
    return made


def namespace(*held_by: str) -> corev1.Namespace:
    made = corev1.Namespace()
    made.spec.finalizers.extend(held_by)
    return made


@pytest.mark.parametrize(
    ("obj", "how", "order", "timestamp", "grace"),
    [
        pytest.param(config_map(), options(), Remove, 1000, 0, id="nothing holds it"),
        pytest.param(config_map("f"), options(), Write, 1000, 0, id="held by a finalizer"),
        pytest.param(deleted(config_map("f"), 900, 0), options(), Keep, 900, 0, id="asked again"),
        pytest.param(deleted(config_map(), 900, 0), options(), Remove, 900, 0, id="nothing holds it any more"),
        pytest.param(config_map("orphan"), options(policy="Background"), Remove, 1000, 0, id="policy frees it"),
        pytest.param(config_map(), options(policy="Orphan"), Write, 1000, 0, id="policy holds it"),
        pytest.param(pod(), options(), Write, 1030, 30, id="pod, default grace"),
        pytest.param(pod(grace=5), options(), Write, 1005, 5, id="pod, its own grace"),
        pytest.param(pod(grace=5), options(7), Write, 1007, 7, id="pod, the caller's grace"),
        pytest.param(pod(), options(0), Remove, 1000, 0, id="pod, by force"),
        pytest.param(pod(grace=0), options(), Remove, 1000, 0, id="pod that wants no grace"),
        pytest.param(pod(), options(-9), Write, 1001, 1, id="pod, less than nothing"),
        pytest.param(pod(grace=1 << 62), options(), Write, 1000 + MAX_GRACE_S, MAX_GRACE_S, id="pod, for ever"),
        pytest.param(deleted(pod(), 1030, 30), options(-9), Write, 1001, 1, id="pod on its way, less than nothing"),
        pytest.param(pod(node=""), options(), Remove, 1000, 0, id="pod without node"),
        pytest.param(pod(phase="Succeeded"), options(9), Remove, 1000, 0, id="pod that has ended"),
        pytest.param(pod(finalizers=("f",)), options(0), Write, 1000, 0, id="forced, but held"),
        pytest.param(deleted(pod(), 1030, 30), options(), Keep, 1030, 30, id="pod on its way"),
        pytest.param(deleted(pod(), 1030, 30), options(60), Keep, 1030, 30, id="pod, longer is ignored"),
        pytest.param(deleted(pod(), 1030, 30), options(10), Write, 1010, 10, id="pod, shorter"),
        pytest.param(deleted(pod(), 1030, 30), options(0), Remove, 1000, 0, id="pod, done"),
        pytest.param(namespace("kubernetes"), options(), Write, 1000, 0, id="namespace with contents"),
        pytest.param(namespace(), options(), Remove, 1000, 0, id="empty namespace"),
    ],
)
def test_plan(obj: Any, how: metav1.DeleteOptions, order: type[object], timestamp: int, grace: int) -> None:
    assert isinstance(plan(obj, how, NOW), order)
    metadata = obj.metadata
    assert (metadata.deletion_timestamp.seconds, metadata.deletion_grace_period_seconds) == (timestamp, grace)
