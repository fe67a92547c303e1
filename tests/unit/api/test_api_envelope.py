"""The storage envelope: refusals, storage in other versions, and the spliced resource version."""

import pytest

from navarch.protos.k8s import runtime_pb2
from navarch.protos.k8s.admissionregistration import v1_pb2 as admissionv1
from navarch.protos.k8s.apiregistration import v1_pb2 as registrationv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import envelope
from navarch.services.api.envelope import EnvelopeError
from navarch.services.api.errors import InternalError, UnknownKind
from navarch.services.api.kinds import KINDS, type_url

POD = corev1.Pod(metadata=metav1.ObjectMeta(name="a", namespace="b", labels={"k": "v"}))


def test_there_and_back() -> None:
    data = envelope.encode(POD)
    assert data.startswith(b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12")
    assert envelope.decode(data) == envelope.decode(data, corev1.Pod) == POD
    assert envelope.unwrap(data) == ("v1", "Pod", POD.SerializeToString(deterministic=True))
    assert type_url(POD) == "type.googleapis.com/k8s.io.api.core.v1.Pod"


def test_long_objects() -> None:
    pod = corev1.Pod(metadata=metav1.ObjectMeta(annotations={"k": "x" * 70_000}))
    assert envelope.decode(envelope.encode(pod)) == pod
    assert corev1.Pod.FromString(envelope.with_resource_version(pod.SerializeToString(), "1")).metadata.annotations["k"]


def _unknown(**fields: object) -> bytes:
    message = runtime_pb2.Unknown(raw=b"", type_meta=runtime_pb2.TypeMeta(api_version="v1", kind="Pod"))
    for name, value in fields.items():
        setattr(message, name, value)
    return envelope.MAGIC + message.SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"k8s",
        b"{}",
        envelope.MAGIC,
        envelope.MAGIC + b"\xff",
        _unknown(raw=b"\xff"),
        _unknown(content_encoding="gzip"),
        _unknown(content_type="application/json"),
        # A message nested deeper than the library parses.
        _unknown(raw=b"\x12\x80\x01" + b"\x0a\x7e" * 200),
    ],
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        envelope.decode(data)


def test_a_kind_that_nobody_knows() -> None:
    with pytest.raises(UnknownKind):
        envelope.decode(envelope.encode(metav1.WatchEvent()))


def test_storage_in_an_older_version_of_the_same_message() -> None:
    policy = admissionv1.MutatingAdmissionPolicy(metadata=metav1.ObjectMeta(name="p"))
    kind = KINDS.of(policy)
    data = envelope.to_stored(policy, kind)
    assert envelope.unwrap(data)[:2] == ("admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicy")
    assert envelope.from_stored(data, kind) == policy


def test_storage_as_json() -> None:
    service = registrationv1.APIService(metadata=metav1.ObjectMeta(name="p"))
    kind = KINDS.of(service)
    data = envelope.to_stored(service, kind)
    assert data.startswith(b'{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"p"}')
    assert envelope.from_stored(data, kind).SerializeToString() != b""


def test_another_message_is_never_stored_under_a_name_that_is_not_its_own() -> None:
    scaler = autoscalingv1.HorizontalPodAutoscaler()
    with pytest.raises(InternalError, match="has to be converted to autoscaling/v2"):
        envelope.to_stored(scaler, KINDS.of(scaler))


@pytest.mark.parametrize(
    "pod",
    [
        corev1.Pod(),
        corev1.Pod(metadata=metav1.ObjectMeta()),
        POD,
        corev1.Pod(metadata=metav1.ObjectMeta(name="a", resource_version="")),
        corev1.Pod(metadata=metav1.ObjectMeta(name="a", resource_version="old", generation=3)),
        corev1.Pod(metadata=metav1.ObjectMeta(generation=3), spec=corev1.PodSpec(node_name="n")),
        corev1.Pod(spec=corev1.PodSpec(node_name="n")),
    ],
)
def test_a_spliced_version_gives_the_bytes_of_a_set_one(pod: corev1.Pod) -> None:
    expected = corev1.Pod()
    expected.CopyFrom(pod)
    expected.metadata.resource_version = "123456789"
    spliced = envelope.with_resource_version(pod.SerializeToString(deterministic=True), "123456789")
    assert spliced == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("raw", [b"\x0a", b"\x0a\x05", b"\x0a\x02\x0a\x09", b"\x0a\xff", b"\x0a\x01\x0a"])
def test_a_cut_off_object_is_refused(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        envelope.with_resource_version(raw, "1")
