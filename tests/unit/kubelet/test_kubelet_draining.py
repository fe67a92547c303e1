"""Which Pods go on serving for a moment when they are deleted."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.draining import DRAIN_S, drain_s

from .conftest import a_pod


def a_served_pod(grace_s: int = 30, ready: str = "True") -> corev1.Pod:
    pod = a_pod("web")
    pod.metadata.labels["app"] = "web"
    pod.metadata.deletion_grace_period_seconds = grace_s
    pod.status.conditions.add(type="Ready", status=ready)
    return pod


def a_service(namespace: str = "default", **selector: str) -> corev1.Service:
    return corev1.Service(metadata={"name": "web", "namespace": namespace}, spec=corev1.ServiceSpec(selector=selector))


@pytest.mark.parametrize(
    ("pod", "services", "expected_s"),
    [
        pytest.param(a_served_pod(), [a_service(app="web")], DRAIN_S, id="behind a Service"),
        pytest.param(a_served_pod(), [a_service(app="db"), a_service(app="web")], DRAIN_S, id="behind one of them"),
        pytest.param(a_served_pod(), [], 0, id="no Service"),
        pytest.param(a_served_pod(), [a_service(app="db")], 0, id="others' Service"),
        pytest.param(a_served_pod(), [a_service(app="web", tier="front")], 0, id="one of two labels"),
        pytest.param(a_served_pod(), [a_service()], 0, id="a Service without selector"),
        pytest.param(a_served_pod(), [a_service("other", app="web")], 0, id="a Service of another namespace"),
        pytest.param(a_served_pod(ready="False"), [a_service(app="web")], 0, id="not ready, so not led to"),
        pytest.param(a_served_pod(grace_s=1), [a_service(app="web")], 0, id="deleted in a hurry"),
    ],
)
def test_a_pod_that_services_lead_to_goes_on_serving(
    pod: corev1.Pod, services: list[corev1.Service], expected_s: float
) -> None:
    assert drain_s(pod, services) == expected_s
