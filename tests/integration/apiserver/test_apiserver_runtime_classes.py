"""What a Pod gets from the RuntimeClass that it names, and when it is refused."""

import re
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec, errors
from navarch.services.api.pod_resources import amounts
from navarch.services.client.client import Client

TAINTED = {"key": "sandbox", "operator": "Exists"}


def a_pod(**spec: Any) -> corev1.Pod:
    spec = {"containers": [{"name": "main", "image": "i"}], **spec}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    pod: corev1.Pod = codec.from_json(document)
    return pod


@pytest.fixture
async def sandboxed(client: Client) -> str:
    document = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "sandboxed"},
        "handler": "runv",
        "overhead": {"podFixed": {"cpu": "250m", "memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"sandbox": "yes"}, "tolerations": [TAINTED]},
    }
    await client.create(codec.from_json(document))
    return "sandboxed"


async def test_a_pod_gets_overhead_and_places_of_its_class(client: Client, sandboxed: str) -> None:
    own = {"key": "mine", "operator": "Exists"}
    pod = a_pod(runtimeClassName=sandboxed, nodeSelector={"disk": "ssd"}, tolerations=[own, TAINTED])
    made = await client.create(pod)
    assert amounts(made.spec.overhead) == {"cpu": 250, "memory": 64 << 20}
    assert dict(made.spec.node_selector) == {"disk": "ssd", "sandbox": "yes"}
    assert [one.key for one in made.spec.tolerations].count("sandbox") == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"runtimeClassName": "absent"}, 'pod rejected: RuntimeClass "absent" not found'),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass"),
        (
            {"runtimeClassName": "sandboxed", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"runtimeClassName": "sandboxed", "nodeSelector": {"sandbox": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; pod.spec.nodeSelector[sandbox] = no",
        ),
    ],
)
async def test_what_contradicts_the_class_is_refused(
    client: Client, sandboxed: str, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.Forbidden, match=re.escape(words)):
        await client.create(a_pod(**spec))


async def test_the_same_overhead_may_be_said_in_other_words(client: Client, sandboxed: str) -> None:
    made = await client.create(a_pod(runtimeClassName=sandboxed, overhead={"cpu": "0.25", "memory": "65536Ki"}))
    assert amounts(made.spec.overhead) == {"cpu": 250, "memory": 64 << 20}
