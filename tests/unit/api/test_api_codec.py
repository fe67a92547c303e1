"""The codec's rules, one by one: what is written, what is left out, what is refused and how that reads."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.apiextensions import v1_pb2 as extv1
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.audit import v1_pb2 as auditv1
from navarch.protos.k8s.authentication import v1_pb2 as authv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1
from navarch.services.api import codec
from navarch.services.api.codec import DecodeError, EncodeError, StrictError
from navarch.services.api.errors import ApiError, BadRequest, UnknownKind
from navarch.services.api.kinds import KINDS


def test_an_empty_pod_shows_what_go_always_writes() -> None:
    assert codec.to_json(corev1.Pod()) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {},
        "spec": {"containers": None},
        "status": {},
    }


def test_an_empty_deployment_shows_null_for_pointers_and_lists_that_are_always_written() -> None:
    assert codec.to_json(appsv1.Deployment())["spec"] == {
        "selector": None,
        "strategy": {},
        "template": {"metadata": {}, "spec": {"containers": None}},
    }


def test_an_empty_event_shows_null_times() -> None:
    event = codec.to_json(corev1.Event())
    assert (event["firstTimestamp"], event["eventTime"], event["involvedObject"]) == (None, None, {})
    assert event["reportingComponent"] == ""


def test_items_of_a_list_are_an_array_and_do_not_name_their_kind() -> None:
    assert codec.to_json(corev1.PodList())["items"] == []
    listed = codec.to_json(corev1.ConfigMapList(items=[corev1.ConfigMap(data={"b": "2", "a": "1"})]))
    assert listed == {
        "apiVersion": "v1",
        "kind": "ConfigMapList",
        "metadata": {},
        "items": [{"metadata": {}, "data": {"a": "1", "b": "2"}}],
    }
    assert list(listed["items"][0]["data"]) == ["a", "b"]


def test_zero_is_left_out_of_plain_members_and_kept_in_pointers() -> None:
    container = corev1.Container(name="c", image="", stdin=False)
    container.security_context.run_as_user = 0
    container.security_context.privileged = False
    container.env.add(name="EMPTY", value="")
    assert codec.to_json(container) == {
        "name": "c",
        "securityContext": {"runAsUser": 0, "privileged": False},
        "env": [{"name": "EMPTY"}],
        "resources": {},
    }


def test_an_empty_message_behind_a_pointer_stays() -> None:
    volume = corev1.Volume(name="v")
    volume.volume_source.empty_dir.SetInParent()
    assert codec.to_json(volume) == {"name": "v", "emptyDir": {}}
    assert codec.from_json({"name": "v", "emptyDir": {}}, corev1.Volume) == volume


def test_inline_members_are_read_into_their_message() -> None:
    probe = codec.from_json({"httpGet": {"port": "web"}, "periodSeconds": 3}, corev1.Probe)
    assert isinstance(probe, corev1.Probe)
    assert (probe.handler.http_get.port.str_val, probe.period_seconds) == ("web", 3)
    assert not codec.from_json({}, corev1.Probe).HasField("handler")


def test_a_kind_may_show_another_name() -> None:
    kind = KINDS.by_gvk("apps/v1", "Deployment")
    assert codec.to_json(corev1.Pod(), kind)["kind"] == "Deployment"


SHAPES: list[tuple[Any, str, Any, Any]] = [
    (corev1.ServicePort(), "targetPort", 80, 80),
    (corev1.ServicePort(), "targetPort", "http", "http"),
    (corev1.ServicePort(), "targetPort", -1, -1),
    (corev1.EmptyDirVolumeSource(), "sizeLimit", "1024Mi", "1Gi"),
    (corev1.EmptyDirVolumeSource(), "sizeLimit", 1.5, "1500m"),
    (corev1.EmptyDirVolumeSource(), "sizeLimit", " 5 ", "5"),
    (metav1.ObjectMeta(), "creationTimestamp", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00Z"),
    (metav1.ObjectMeta(), "creationTimestamp", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    (metav1.ObjectMeta(), "creationTimestamp", "1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
    (metav1.ObjectMeta(), "deletionTimestamp", "0001-01-01T00:00:00Z", None),
    (coordinationv1.LeaseSpec(), "renewTime", "2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00.123456Z"),
    (coordinationv1.LeaseSpec(), "renewTime", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000Z"),
    (corev1.Secret(), "data", {"k": "AP8="}, {"k": "AP8="}),
    (corev1.Secret(), "data", {"k": "A\nP8=\n"}, {"k": "AP8="}),
    (corev1.Secret(), "data", {"k": None}, {"k": ""}),
    (authv1.UserInfo(), "extra", {"k": ["a", "b"]}, {"k": ["a", "b"]}),
    (metav1.ManagedFieldsEntry(), "fieldsV1", {"f:a": {}}, {"f:a": {}}),
    (extv1.JSONSchemaProps(), "default", [1, {"a": None}], [1, {"a": None}]),
    (extv1.JSONSchemaProps(), "additionalProperties", False, False),
    (extv1.JSONSchemaProps(), "additionalProperties", {"type": "string"}, {"type": "string"}),
    (extv1.JSONSchemaProps(), "items", [{"type": "a"}, {}], [{"type": "a"}, {}]),
    (extv1.JSONSchemaProps(), "items", {"type": "a"}, {"type": "a"}),
    (extv1.JSONSchemaProps(), "dependencies", {"k": ["x"]}, {"k": ["x"]}),
    (extv1.JSONSchemaProps(), "dependencies", {"k": {"type": "a"}}, {"k": {"type": "a"}}),
    (extv1.JSONSchemaProps(), "maximum", 3, 3),
    (extv1.JSONSchemaProps(), "maximum", 2.5, 2.5),
    (corev1.PodSpec(), "activeDeadlineSeconds", 2**63 - 1, 2**63 - 1),
    (auditv1.Event(), "requestObject", {"kind": "Thing"}, {"kind": "Thing"}),
]


@pytest.mark.parametrize(("message", "key", "given", "shown"), SHAPES, ids=lambda value: str(value)[:30])
def test_special_shapes(message: Any, key: str, given: Any, shown: Any) -> None:
    read = codec.from_json({key: given}, type(message), strict=True)
    assert codec.to_json(read)[key] == shown
    again = codec.from_json(codec.to_json(read), type(message), strict=True)
    # The zero time is null behind a pointer, and null is unset.
    assert shown is None or codec.to_json(again) == codec.to_json(read)


def test_int_or_string_and_time_write_every_member_as_go_does() -> None:
    port = codec.from_json({"targetPort": 80}, corev1.ServicePort)
    meta = codec.from_json({"creationTimestamp": "2024-01-01T00:00:00Z"}, metav1.ObjectMeta)
    assert isinstance(port, corev1.ServicePort)
    assert isinstance(meta, metav1.ObjectMeta)
    assert port.target_port.SerializeToString() == b"\x08\x00\x10\x50\x1a\x00"
    assert meta.creation_timestamp.HasField("nanos")


def test_null_means_unset_and_zero_in_lists() -> None:
    assert codec.from_json({"spec": None, "metadata": {"labels": None, "name": None}}, corev1.Pod) == corev1.Pod(
        metadata=metav1.ObjectMeta()
    )
    assert codec.from_json({"command": [None, "a"]}, corev1.Container) == corev1.Container(command=["", "a"])
    assert codec.from_json({"env": [None]}, corev1.Container) == corev1.Container(env=[corev1.EnvVar()])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"spec": {"replicas": "3"}}, 'spec.replicas: found string "3", expected int32'),
    ({"spec": {"replicas": 3.0}}, "spec.replicas: found number 3.0, expected int32"),
    ({"spec": {"replicas": True}}, "spec.replicas: found boolean true, expected int32"),
    ({"spec": {"replicas": 2**31}}, "spec.replicas: found number 2147483648, expected int32"),
    ({"spec": {"replicas": 10**400}}, "spec.replicas: found number"),
    ({"spec": {"paused": 1}}, "spec.paused: found number 1, expected boolean"),
    ({"spec": []}, "spec: found array of 0, expected object"),
    ({"metadata": {"name": 5}}, "metadata.name: found number 5, expected string"),
    ({"metadata": {"name": "\ud800"}}, "metadata.name: found string"),
    ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a: found number 1, expected string"),
    ({"metadata": {"labels": {"\ud800": "x"}}}, "metadata.labels"),
    ({"metadata": {"labels": ["a"]}}, "metadata.labels: found array of 1, expected object"),
    ({"metadata": {"finalizers": "a"}}, 'metadata.finalizers: found string "a", expected array of string'),
    ({"metadata": {"finalizers": ["a", 1]}}, "metadata.finalizers[1]: found number 1, expected string"),
    ({"metadata": {"ownerReferences": {}}}, "metadata.ownerReferences: found object, expected array"),
    ({"metadata": {"ownerReferences": [{}, 1]}}, "metadata.ownerReferences[1]: found number 1, expected object"),
    ({"metadata": {"creationTimestamp": "today"}}, "metadata.creationTimestamp: found string"),
    ({"metadata": {"creationTimestamp": "2024-13-01T00:00:00Z"}}, "metadata.creationTimestamp: found string"),
    ({"metadata": {"creationTimestamp": 5}}, "metadata.creationTimestamp: found number 5"),
    (
        {"spec": {"template": {"spec": {"containers": [{}, {"ports": [{"containerPort": "x"}]}]}}}},
        'spec.template.spec.containers[1].ports[0].containerPort: found string "x", expected int32',
    ),
    (
        {"spec": {"template": {"spec": {"overhead": {"cpu": "1x"}}}}},
        'spec.template.spec.overhead.cpu: found string "1x", expected quantity',
    ),
    ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0.5}}}}, "spec.strategy.rollingUpdate.maxSurge: found"),
    ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2**40}}}}, "spec.strategy.rollingUpdate.maxSurge: found"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=lambda value: str(value)[:50])
def test_wrong_types_name_path_found_and_accepted(body: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        codec.from_json({"apiVersion": "apps/v1", "kind": "Deployment", **body})
    assert str(caught.value).startswith(message)
    assert str(caught.value).startswith(f"{caught.value.path}: found {caught.value.found}, expected ")


@pytest.mark.parametrize("value", ["A", "AP8", "AP8=A", "A P8=", "_-8=", 5])
def test_bytes_are_strict_base64(value: Any) -> None:
    with pytest.raises(DecodeError, match=r"data\.k: found .*, expected base64 string"):
        codec.from_json({"data": {"k": value}}, corev1.Secret)


def test_unknown_and_duplicate_fields() -> None:
    text = (
        b'{"apiVersion":"v1","kind":"Pod","kind":"Pod","bogus":1,"metadata":{"labels":{"a":"1","a":"2"}},'
        b'"spec":{"foo":{},"containers":[{"name":"c","image":"x","image":"y","imag":1}]}}'
    )
    problems = (
        'duplicate field "kind"',
        'unknown field "bogus"',
        'duplicate field "metadata.labels.a"',
        'unknown field "spec.foo"',
        'duplicate field "spec.containers[0].image"',
        'unknown field "spec.containers[0].imag"',
    )
    with pytest.raises(StrictError) as caught:
        codec.from_json_bytes(text, strict=True)
    assert caught.value.problems == problems
    assert str(caught.value) == "strict decoding error: " + ", ".join(problems)
    warnings: list[str] = []
    pod = codec.from_json_bytes(text, warnings=warnings)
    assert tuple(warnings) == problems
    assert isinstance(pod, corev1.Pod)
    assert pod.spec.containers[0].image == "y"
    assert codec.from_json_bytes(text) == pod


def test_apiversion_and_kind_of_embedded_objects_are_known() -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}}
    stateful = codec.from_json({"volumeClaimTemplates": [claim]}, appsv1.StatefulSetSpec, strict=True)
    assert codec.to_json(stateful)["volumeClaimTemplates"][0]["metadata"] == {"name": "a"}
    eviction = {"deleteOptions": {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}}
    assert codec.to_json(codec.from_json(eviction, policyv1.Eviction, strict=True))["deleteOptions"] == {
        "gracePeriodSeconds": 0
    }


IDENTITY: list[tuple[Any, Any, type[Exception]]] = [
    ({}, None, BadRequest),
    ({"kind": "Pod"}, None, BadRequest),
    ({"kind": 5, "apiVersion": "v1"}, None, DecodeError),
    ({"kind": "Pod", "apiVersion": []}, None, DecodeError),
    ({"kind": "Pot", "apiVersion": "v1"}, None, UnknownKind),
    ({"kind": "Service"}, corev1.Pod, DecodeError),
    ({"kind": "Pod", "apiVersion": "apps/v1"}, corev1.Pod, UnknownKind),
    ({"kind": "Event", "apiVersion": "events.k8s.io/v1"}, corev1.Event, DecodeError),
    ([], corev1.Pod, DecodeError),
    (None, None, DecodeError),
]


@pytest.mark.parametrize(("value", "target", "error"), IDENTITY, ids=str)
def test_objects_have_to_be_what_is_expected(value: Any, target: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        codec.from_json(value, target)


def test_options_belong_to_every_group() -> None:
    options = {"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    assert codec.from_json(options, metav1.DeleteOptions).HasField("grace_period_seconds")


def test_v1_list_keeps_its_items_as_they_are() -> None:
    value = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "x/v1", "kind": "Y"}]}
    assert codec.to_json(codec.from_json(value, strict=True)) == value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda schema: {"properties": {"a": schema}},
        lambda schema: {"items": schema},
        lambda schema: {"items": [schema]},
        lambda schema: {"dependencies": {"a": schema}},
        lambda schema: {"allOf": [schema]},
        lambda schema: {"not": schema},
    ],
    ids=["properties", "items", "item list", "dependencies", "allOf", "not"],
)
def test_depth_is_bounded_before_a_message_becomes_unreadable(wrap: Callable[[Any], dict[str, Any]]) -> None:
    schema: dict[str, Any] = {"maximum": 1, "default": [1], "items": {}}
    levels = 0
    while (message := _schema(schema)) is not None:
        assert extv1.JSONSchemaProps.FromString(message.SerializeToString()) == message
        schema = wrap(schema)
        levels += 1
    assert 30 <= levels < 100


def _schema(value: dict[str, Any]) -> Message | None:
    try:
        return codec.from_json(value, extv1.JSONSchemaProps)
    except DecodeError as error:
        return None if "deeper nesting" in str(error) else pytest.fail(str(error))


UNWRITABLE = [
    extv1.JSONSchemaProps(maximum=float("nan")),
    extv1.JSONSchemaProps(default=extv1.JSON(raw=b"{")),
    metav1.ObjectMeta(creation_timestamp=metav1.Time(seconds=2**60)),
    coordinationv1.LeaseSpec(renew_time=metav1.MicroTime(seconds=-(2**60))),
]


@pytest.mark.parametrize("message", UNWRITABLE, ids=lambda message: message.DESCRIPTOR.name)
def test_what_json_cannot_say_is_a_typed_error(message: Any) -> None:
    with pytest.raises(EncodeError):
        codec.to_json(message)


@pytest.mark.parametrize(
    "pod",
    [
        corev1.Pod(status=corev1.PodStatus(phase="abc")),
        corev1.Pod(metadata=metav1.ObjectMeta(finalizers=["abc"])),
        corev1.Pod(metadata=metav1.ObjectMeta(labels={"a": "abc"})),
        corev1.Pod(metadata=metav1.ObjectMeta(labels={"abc": "a"})),
    ],
    ids=["string", "list", "map value", "map key"],
)
def test_text_that_is_no_unicode_is_found_at_the_door(pod: corev1.Pod) -> None:
    codec.check_text(pod)
    damaged = corev1.Pod.FromString(pod.SerializeToString().replace(b"abc", b"a\xffc"))
    with pytest.raises(BadRequest, match="UTF-8"):
        codec.check_text(damaged)


def test_text_that_is_no_unicode_is_shown_with_replacements() -> None:
    data = corev1.Pod(status=corev1.PodStatus(phase="abc")).SerializeToString()
    damaged = corev1.Pod.FromString(data.replace(b"abc", b"a\xffc"))
    assert '"a\ufffdc"' in codec.to_json_bytes(damaged).decode()


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":1}x'])
@pytest.mark.parametrize("strict", [False, True])
def test_malformed_json_is_a_bad_request(text: bytes, strict: bool) -> None:
    with pytest.raises(ApiError) as caught:
        codec.from_json_bytes(text, corev1.Pod, strict=strict)
    assert caught.value.code == 400


def _text_of(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """A JSON text of a value, in which members may occur again."""
    if isinstance(value, dict):
        members = [(key, item) for key, item in value.items() for _ in range(draw(st.integers(1, 2)))]
        gap = draw(st.sampled_from(["", " ", "\n"]))
        return "{" + ",".join(f"{json.dumps(key)}{gap}:{_text_of(item, draw)}" for key, item in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text_of(item, draw) for item in value) + "]"
    return json.dumps(value)


@given(st.data())
def test_duplicate_members_are_seen_in_any_text(data: st.DataObject) -> None:
    leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a":\\{[,é'), max_size=5)
    keys = st.text(st.sampled_from('ab":\\'), max_size=3)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
    text = _text_of(data.draw(values), data.draw)
    seen = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.append(len(pairs) != len(dict(pairs)))
        return dict(pairs)

    expected = json.loads(text, object_pairs_hook=note)
    found = codec.parse_json(text.encode(), find_duplicates=True)
    assert found == expected

    def marked(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return bool(getattr(value, "duplicates", ())) or any(map(marked, inner))

    # What stands in a member that was written again is gone, with its duplicates.
    assert marked(found) <= any(seen)
    if isinstance(found, dict) and seen[-1]:
        assert marked(found)
