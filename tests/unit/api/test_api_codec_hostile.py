"""Whatever bytes or values arrive, decoding gives a message or an ApiError, and nothing else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.apiextensions import v1_pb2 as extv1
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec, envelope, manifest
from navarch.services.api.errors import ApiError

POD = corev1.Pod()
POD.metadata.name = "web"
POD.metadata.labels["app"] = "web"
POD.spec.containers.add(name="c", image="busybox").resources.limits["cpu"].string = "1"
POD.spec.volumes.add(name="v").volume_source.empty_dir.SetInParent()
ENVELOPE = envelope.encode(POD)

WORDS = """apiVersion kind metadata spec status labels name containers ports env template limits resources
targetPort creationTimestamp data items default properties replicas"""
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(["v1", "Pod", "Deployment", "apps/v1", "1Gi", "2024-01-01T00:00:00Z", "AA==", 2**63, 10**400])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
CLASSES = st.sampled_from(
    [None, corev1.Pod, corev1.Secret, appsv1.Deployment, extv1.JSONSchemaProps, corev1.ServicePort]
)


def refused(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result, or None where an ApiError that blames the caller says no."""
    try:
        return function(*arguments, **options)
    except ApiError as error:
        return None if error.code in (400, 404) else pytest.fail(f"the caller is to blame: {error!r}")


@given(value=OBJECTS, cls=CLASSES, strict=st.booleans())
def test_any_value(value: dict[str, Any], cls: Any, strict: bool) -> None:
    message = refused(codec.from_json, value, cls, strict=strict)
    if message is None:
        return
    # What was accepted can be written, stored and read again.
    assert codec.from_json(codec.to_json(message), type(message), strict=True) is not None
    assert type(message).FromString(message.SerializeToString()) == message


@given(data=st.binary(max_size=200))
def test_any_bytes_as_json(data: bytes) -> None:
    for strict in (False, True):
        with pytest.raises(ApiError):
            codec.from_json_bytes(data, strict=strict)


@given(data=st.binary(max_size=300), tail=st.integers(0, len(ENVELOPE)))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_as_envelope(data: bytes, tail: int) -> None:
    for candidate in (data, envelope.MAGIC + data, ENVELOPE[:tail] + data):
        message = refused(envelope.decode, candidate)
        if message is not None:
            refused(codec.check_text, message)


@given(at=st.integers(4, len(ENVELOPE) - 1), byte=st.integers(0, 255))
def test_any_flipped_byte(at: int, byte: int) -> None:
    damaged = ENVELOPE[:at] + bytes([byte]) + ENVELOPE[at + 1 :]
    message = refused(envelope.decode, damaged)
    if message is not None:
        refused(codec.check_text, message)
        refused(envelope.with_resource_version, envelope.unwrap(damaged)[2], "7")


@pytest.mark.parametrize("size", range(len(ENVELOPE)))
def test_a_truncated_envelope_never_becomes_another_pod(size: int) -> None:
    # What is cut off behind the object are empty members that carry nothing.
    assert refused(envelope.decode, ENVELOPE[:size]) in (None, POD)


@given(raw=st.binary(max_size=60))
def test_splicing_into_garbage_is_refused_or_harmless(raw: bytes) -> None:
    refused(envelope.with_resource_version, raw, "7")


@given(text=st.text(max_size=200) | st.binary(max_size=100))
def test_any_text_as_manifest(text: str | bytes) -> None:
    for document in manifest.load(text):
        assert document.error is not None


@given(value=OBJECTS)
def test_any_object_as_manifest(value: dict[str, Any]) -> None:
    for document in manifest.load(json.dumps(value)):
        assert (document.error is None) != (document.message is None)
