"""Trigger times: since when a change of endpoints is due."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.controller_manager.trigger_times import ANNOTATION, TriggerTimes, annotate


def a_service(created: int = 100) -> corev1.Service:
    result = corev1.Service()
    result.metadata.name, result.metadata.namespace = "web", "default"
    result.metadata.creation_timestamp.seconds = created
    return result


def a_pod(name: str, at: int) -> corev1.Pod:
    result = corev1.Pod()
    result.metadata.name = name
    result.status.conditions.add(type="Ready", status="True").last_transition_time.seconds = at
    return result


def test_the_earliest_change_since_the_last_look() -> None:
    times = TriggerTimes()
    assert times.look(a_service(), [a_pod("a", 50)]) == 100, "a new Service: since its creation"
    assert times.look(a_service(), [a_pod("a", 50)]) is None
    assert times.look(a_service(), [a_pod("a", 130), a_pod("b", 120)]) == 120
    assert times.look(a_service(), [a_pod("b", 120)]) is None, "a Pod that went tells no time"
    assert times.look(a_service(created=140), [a_pod("b", 150)]) == 140, "another Service of that name"
    times.forget("default/web")
    assert times.look(a_service(), [a_pod("a", 130)]) == 100


def test_the_annotation() -> None:
    metadata = metav1.ObjectMeta()
    annotate(metadata, 1_700_000_000.0)
    assert metadata.annotations[ANNOTATION] == "2023-11-14T22:13:20Z"
    annotate(metadata, None)
    assert ANNOTATION not in metadata.annotations
