"""Keys, times, owners, conditions and ages."""

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta


def test_keys() -> None:
    pod = corev1.Pod(metadata=metav1.ObjectMeta(name="a", namespace="n"))
    assert meta.key_of(pod) == "n/a"
    assert meta.key_of(corev1.Node(metadata=metav1.ObjectMeta(name="a"))) == "a"
    assert meta.split_key("n/a") == ("n", "a")
    assert meta.split_key("a") == ("", "a")
    assert meta.metadata_of(pod).name == "a"


def test_times() -> None:
    assert meta.time_from(12.9) == metav1.Time(seconds=12, nanos=0)
    assert meta.time_from(-0.5) == metav1.Time(seconds=-1, nanos=0)
    assert meta.micro_time_from(1.25) == metav1.MicroTime(seconds=1, nanos=250_000_000)
    assert meta.micro_time_from(1.9999999) == metav1.MicroTime(seconds=2, nanos=0)
    assert meta.unix(metav1.MicroTime(seconds=1, nanos=500_000_000)) == 1.5
    assert meta.unix(metav1.Time()) == 0.0


def test_owners() -> None:
    owner = appsv1.ReplicaSet(metadata=metav1.ObjectMeta(name="rs", uid="u1"))
    pod = corev1.Pod()
    assert meta.controller_of(pod) is None
    pod.metadata.owner_references.append(meta.owner_reference(owner, controller=False))
    assert meta.controller_of(pod) is None
    pod.metadata.owner_references.append(meta.owner_reference(owner))
    reference = meta.controller_of(pod)
    assert reference is not None
    assert (reference.api_version, reference.kind, reference.name) == ("apps/v1", "ReplicaSet", "rs")
    assert reference.block_owner_deletion
    assert meta.is_controlled_by(pod, owner)
    assert not meta.is_controlled_by(pod, appsv1.ReplicaSet())


def test_deletion() -> None:
    pod = corev1.Pod()
    assert not meta.is_being_deleted(pod)
    pod.metadata.deletion_timestamp.CopyFrom(meta.time_from(0))
    assert meta.is_being_deleted(pod)


def _ready(status: str, at: float, message: str = "") -> corev1.PodCondition:
    return corev1.PodCondition(type="Ready", status=status, message=message, last_transition_time=meta.time_from(at))


def test_a_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    conditions = corev1.PodStatus().conditions
    assert meta.set_condition(conditions, _ready("False", 1))
    assert not meta.set_condition(conditions, _ready("False", 2))
    assert meta.set_condition(conditions, _ready("False", 3, "why"))
    assert meta.unix(conditions[0].last_transition_time) == 1
    new = _ready("True", 4)
    assert meta.set_condition(conditions, new)
    assert meta.unix(conditions[0].last_transition_time) == 4
    assert new == _ready("True", 4)
    assert len(conditions) == 1
    assert meta.condition_is(conditions, "Ready")
    assert meta.find_condition(conditions, "Other") is None


AGES = {
    -5: "<invalid>",
    -1: "0s",
    0: "0s",
    59.9: "59s",
    119: "119s",
    120: "2m",
    130: "2m10s",
    599: "9m59s",
    601: "10m",
    3 * 3600 - 1: "179m",
    3 * 3600: "3h",
    3 * 3600 + 60: "3h1m",
    8 * 3600 + 60: "8h",
    47 * 3600: "47h",
    2 * 86400: "2d",
    2 * 86400 + 3600: "2d1h",
    8 * 86400 + 3600: "8d",
    729 * 86400: "729d",
    730 * 86400: "2y",
    735 * 86400: "2y5d",
    9 * 365 * 86400: "9y",
}


@pytest.mark.parametrize(("seconds", "text"), AGES.items())
def test_ages(seconds: float, text: str) -> None:
    assert meta.human_duration(seconds) == text
    assert meta.age(meta.time_from(1000), 1000 + seconds) == text


def test_no_age() -> None:
    assert meta.age(metav1.Time(), 5) == "<unknown>"
