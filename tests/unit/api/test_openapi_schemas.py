"""Schemas made from messages, and the texts on them."""

from typing import Any

import pytest
from google.protobuf import descriptor_pool

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.kinds import KINDS
from navarch.services.api.openapi import docs, names, schemas, special

WRITTEN_BY_HAND = [
    "pods",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "services",
    "configmaps",
    "secrets",
    "persistentvolumeclaims",
    "persistentvolumes",
    "serviceaccounts",
    "namespaces",
    "resourcequotas",
    "limitranges",
    "horizontalpodautoscalers",
    "horizontalpodautoscalers.v1.autoscaling",
    "ingresses",
    "ingressclasses",
    "networkpolicies",
    "poddisruptionbudgets",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "storageclasses",
    "priorityclasses",
    "runtimeclasses",
    "leases",
    "endpointslices",
    "endpoints",
    "nodes",
    "events",
    "customresourcedefinitions",
]


def without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_texts(item) for key, item in value.items() if key != "description"}
    return [without_texts(item) for item in value] if isinstance(value, list) else value


def member(message: Any, name: str) -> Any:
    return without_texts(schemas.of_message(message.DESCRIPTOR)["properties"][name])


@pytest.mark.parametrize(
    ("message", "name", "expected"),
    [
        (corev1.Container, "name", {"type": "string", "default": ""}),
        (corev1.Container, "image", {"type": "string"}),
        (corev1.Container, "imagePullPolicy", {"type": "string", "enum": ["Always", "IfNotPresent", "Never"]}),
        (corev1.ServicePort, "port", {"type": "integer", "format": "int32", "default": 0}),
        (corev1.ServicePort, "protocol", {"type": "string", "default": "TCP", "enum": ["SCTP", "TCP", "UDP"]}),
        (corev1.PodSpec, "activeDeadlineSeconds", {"type": "integer", "format": "int64"}),
        (corev1.Secret, "data", {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}),
        (corev1.Pod, "spec", {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}], "default": {}}),
        (
            corev1.ServiceSpec,
            "ports",
            {
                "type": "array",
                "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ServicePort"}], "default": {}},
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "port",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"],
            },
        ),
        (
            corev1.ServiceSpec,
            "selector",
            {
                "type": "object",
                "additionalProperties": {"type": "string", "default": ""},
                "x-kubernetes-map-type": "atomic",
            },
        ),
        (
            metav1.ObjectMeta,
            "creationTimestamp",
            {"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Time"}]},
        ),
        # A member of an inline message stands among those of its parent.
        (
            corev1.Volume,
            "hostPath",
            {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.HostPathVolumeSource"}]},
        ),
        (metav1.APIResource, "verbs", {"type": "array", "items": {"type": "string", "default": ""}}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_member_has_the_schema_that_kubernetes_publishes(message: Any, name: str, expected: Any) -> None:
    assert member(message, name) == expected


def test_required_members_are_named() -> None:
    assert schemas.of_message(appsv1.DeploymentSpec.DESCRIPTOR)["required"] == ["selector", "template"]


def test_objects_name_their_type_and_parts_do_not() -> None:
    assert "apiVersion" in schemas.of_message(corev1.Pod.DESCRIPTOR)["properties"]
    assert "apiVersion" not in schemas.of_message(corev1.PodSpec.DESCRIPTOR)["properties"]


def test_a_message_that_is_owned_as_a_whole_says_so() -> None:
    assert schemas.of_message(metav1.LabelSelector.DESCRIPTOR)["x-kubernetes-map-type"] == "atomic"


@pytest.mark.parametrize(
    ("full_name", "expected"),
    [
        ("k8s.io.api.apps.v1.Deployment", "io.k8s.api.apps.v1.Deployment"),
        (
            "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON",
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        ),
        (
            "k8s.io.kube_aggregator.pkg.apis.apiregistration.v1.APIService",
            "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        ),
    ],
)
def test_schemas_have_the_names_of_kubernetes(full_name: str, expected: str) -> None:
    assert names.of_message(full_name) == expected


def test_every_text_is_about_something_that_exists() -> None:
    for kind in KINDS:
        assert kind.message
    pool = descriptor_pool.Default()
    for (message, field), text in docs.texts().items():
        known = {one.json_name for one in pool.FindMessageTypeByName(message).fields} | {""}
        assert field in known, f"{message} has no {field}"
        assert text, f"{message}.{field} is told nothing"


@pytest.mark.parametrize("word", WRITTEN_BY_HAND)
def test_every_member_of_a_kind_that_people_write_is_told_about(word: str) -> None:
    for descriptor in schemas.closure([KINDS.find(word).message.DESCRIPTOR]):
        schema = schemas.of_message(descriptor)
        assert schema.get("description"), descriptor.full_name
        if descriptor.full_name not in special.SCHEMAS:
            untold = [name for name, value in schema.get("properties", {}).items() if not value.get("description")]
            assert untold == [], descriptor.full_name


def test_texts_are_single_lines_that_end_like_sentences() -> None:
    odd = [place for place, text in docs.texts().items() if "\n" in text or not text.endswith((".", ",", "..."))]
    assert odd == []
