"""Field selectors."""

from typing import Any

import pytest

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.events import v1_pb2 as eventsv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import BadRequest
from navarch.services.api.fields import FieldSelector, supported_fields
from navarch.services.api.kinds import KINDS

META = metav1.ObjectMeta(name="web", namespace="default")
POD = corev1.Pod(metadata=META, spec=corev1.PodSpec(node_name="n1", host_network=True))
POD.status.phase = "Running"
POD.status.pod_ips.add(ip="10.0.0.1")
EVENT = corev1.Event(reason="Killing", type="Normal", source=corev1.EventSource(component="kubelet"))
EVENT.involved_object.name = "web"
NEW_EVENT = eventsv1.Event(reason="Killing", reporting_controller="kubelet")
NEW_EVENT.regarding.kind = "Pod"

MATCHES: list[tuple[Any, str, bool]] = [
    (POD, "", True),
    (POD, "metadata.name=web", True),
    (POD, "metadata.name==web,metadata.namespace=default", True),
    (POD, "metadata.name!=web", False),
    (POD, "spec.nodeName=n1,status.phase!=Failed", True),
    (POD, "spec.nodeName=", False),
    (POD, "spec.hostNetwork=true", True),
    (POD, "status.podIP=10.0.0.1", True),
    (EVENT, "involvedObject.name=web,reason=Killing,type=Normal,source=kubelet", True),
    (EVENT, "reportingComponent=", True),
    (NEW_EVENT, "regarding.kind=Pod,reportingController=kubelet", True),
    (corev1.Node(spec=corev1.NodeSpec(unschedulable=True)), "spec.unschedulable=true", True),
    (corev1.Node(), "spec.unschedulable=false", True),
    (corev1.Secret(type="Opaque"), "type=Opaque", True),
    (corev1.Service(spec=corev1.ServiceSpec(cluster_ip="None")), "spec.clusterIP=None", True),
    (corev1.Namespace(status=corev1.NamespaceStatus(phase="Active")), "status.phase=Active", True),
    (batchv1.Job(status=batchv1.JobStatus(succeeded=2)), "status.successful=2", True),
    (corev1.ConfigMap(metadata=META), "metadata.name=other", False),
    (corev1.ConfigMap(metadata=metav1.ObjectMeta(name="a,b=c\\")), r"metadata.name=a\,b\=c\\", True),
]


@pytest.mark.parametrize(("message", "text", "expected"), MATCHES, ids=lambda value: str(value)[:40])
def test_matches(message: Any, text: str, expected: bool) -> None:
    selector = FieldSelector.parse(text)
    assert selector.matches(message, KINDS.of(message)) is expected
    assert FieldSelector.parse(str(selector)) == selector


@pytest.mark.parametrize("text", ["a", "=", "a=b=c", r"a=\x", "a=b\\", "a>1", "a in (b)"])
def test_malformed(text: str) -> None:
    with pytest.raises(BadRequest):
        FieldSelector.parse(text).check(KINDS.of(POD))


def test_a_field_that_the_kind_does_not_offer_is_a_bad_request() -> None:
    selector = FieldSelector.parse("spec.nodeName=n1")
    selector.check(KINDS.of(POD))
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.nodeName"):
        selector.check(KINDS.of(corev1.Service))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "list" in kind.verbs], ids=lambda kind: kind.full_name)
def test_every_offered_field_can_be_read_from_an_empty_object(kind: Any) -> None:
    for field in supported_fields(kind):
        FieldSelector.parse(f"{field}=x").matches(kind.message(), kind)


def test_a_demanded_value_is_known_to_lookups() -> None:
    selector = FieldSelector.parse("spec.nodeName=n1,metadata.name!=x")
    assert selector.value_of("spec.nodeName") == "n1"
    assert selector.value_of("metadata.name") is None
    assert selector
    assert not FieldSelector()
