"""The table of kinds: lookups, keys, and what it says of well-known kinds."""

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import UnknownKind
from navarch.services.api.kinds import KINDS, message_class, type_of

WORDS = {
    "pod": ("v1", "Pod"),
    "pods": ("v1", "Pod"),
    "Pod": ("v1", "Pod"),
    "po": ("v1", "Pod"),
    "pods.v1.": ("v1", "Pod"),
    "deploy": ("apps/v1", "Deployment"),
    "deployments.apps": ("apps/v1", "Deployment"),
    "deployment.v1.apps": ("apps/v1", "Deployment"),
    "deploy.apps": ("apps/v1", "Deployment"),
    "ev": ("v1", "Event"),
    "events.events.k8s.io": ("events.k8s.io/v1", "Event"),
    "hpa": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "hpa.v1.autoscaling": ("autoscaling/v1", "HorizontalPodAutoscaler"),
    "crd": ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    "ep": ("v1", "Endpoints"),
    "endpoints": ("v1", "Endpoints"),
}


@pytest.mark.parametrize(("word", "gvk"), WORDS.items())
def test_what_a_user_types(word: str, gvk: tuple[str, str]) -> None:
    assert KINDS.find(word).gvk == gvk


def test_every_lookup_finds_every_kind() -> None:
    for kind in KINDS:
        assert KINDS.of(kind.message) is KINDS.of(kind.message()) is kind
        assert KINDS.of(kind.full_name) is KINDS.of(f"type.googleapis.com/{kind.full_name}") is kind
        assert KINDS.by_gvk(kind.api_version, kind.kind) is kind
        assert KINDS.by_resource(kind.group, kind.version, kind.resource) is kind
        assert KINDS.find(f"{kind.resource}.{kind.version}.{kind.group}") is kind
        assert kind.message.DESCRIPTOR.full_name == kind.full_name
        assert type_of(kind.full_name) == kind.gvk
        assert message_class(*kind.gvk) is kind.message
        if kind.list_message:
            assert message_class(kind.api_version, f"{kind.kind}List") is kind.list_message
    assert len({kind.full_name for kind in KINDS}) == len(KINDS)


def test_unknown_kinds() -> None:
    with pytest.raises(UnknownKind, match='the server doesn\'t have a resource type "pot"'):
        KINDS.find("pot")
    with pytest.raises(UnknownKind, match='no matches for kind "Pot" in version "v1"'):
        KINDS.by_gvk("v1", "Pot")
    with pytest.raises(UnknownKind, match="could not find the requested resource"):
        KINDS.by_resource("", "v2", "pods")
    with pytest.raises(UnknownKind):
        KINDS.of(corev1.PodSpec)
    with pytest.raises(UnknownKind):
        message_class("v1", "Pot")
    assert type_of("k8s.io.api.core.v1.PodSpec") is None


KEYS = {
    "pods": "/registry/pods/ns/x",
    "services": "/registry/services/specs/ns/x",
    "endpoints": "/registry/services/endpoints/ns/x",
    "nodes": "/registry/minions/x",
    "rc": "/registry/controllers/ns/x",
    "ingresses": "/registry/ingress/ns/x",
    "leases": "/registry/leases/ns/x",
    "crd": "/registry/apiextensions.k8s.io/customresourcedefinitions/x",
}


@pytest.mark.parametrize(("word", "key"), KEYS.items())
def test_storage_keys(word: str, key: str) -> None:
    kind = KINDS.find(word)
    assert kind.key("ns" if kind.namespaced else "", "x") == key


def test_the_prefix_of_a_namespace() -> None:
    pods = KINDS.find("pods")
    assert pods.key("ns", "") == "/registry/pods/ns/"
    assert pods.key("", "") == pods.key_prefix == "/registry/pods/"


def test_subresources_and_categories() -> None:
    pods = KINDS.find("pods")
    eviction = pods.subresource("eviction")
    assert eviction is not None
    assert (eviction.kind, eviction.api_version, eviction.verbs) == ("Eviction", "policy/v1", ("create",))
    assert pods.subresource("nothing") is None
    assert {kind.resource for kind in KINDS.of_category("all")} >= {"pods", "services", "deployments", "jobs"}
    assert "deletecollection" not in KINDS.find("ns").verbs
    assert KINDS.find("binding").list_message is None


def test_what_is_no_resource_names_itself_too() -> None:
    assert type_of("k8s.io.api.core.v1.PodLogOptions") == ("v1", "PodLogOptions")
    assert message_class("v1", "Status") is metav1.Status
    assert message_class("apps/v1", "DeploymentList") is appsv1.DeploymentList
