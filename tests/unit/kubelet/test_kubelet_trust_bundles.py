"""ClusterTrustBundles: which certificates a file gets, and that they are followed only as long as Pods want them."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError, ServiceUnavailable, UnknownKind
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.core.references import ConfigError
from navarch.services.kubelet.core.trust_bundles import TrustBundle, trust_anchors
from navarch.services.kubelet.objects import NodeObjects

from .conftest import a_pod


def pem(*names: str) -> str:
    return "".join(f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in names)


BUNDLES = [
    TrustBundle("plain", "", pem("b", "a")),
    TrustBundle("s:one", "example.com/s", f"words\n{pem('d', 'c')}words", {"app": "one"}),
    TrustBundle("s:two", "example.com/s", pem("c", "e"), {"app": "two"}),
]


def wanted(**fields: Any) -> corev1.ClusterTrustBundleProjection:
    pod = a_pod("p", volumes=[{"name": "v", "projected": {"sources": [{"clusterTrustBundle": fields}]}}])
    return pod.spec.volumes[0].volume_source.projected.sources[0].cluster_trust_bundle


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"name": "plain"}, pem("a", "b"), id="by name"),
        pytest.param(
            {"signerName": "example.com/s", "labelSelector": {}}, pem("c", "d", "e"), id="merged, each once, in order"
        ),
        pytest.param(
            {"signerName": "example.com/s", "labelSelector": {"matchLabels": {"app": "two"}}},
            pem("c", "e"),
            id="by label",
        ),
        pytest.param({"signerName": "example.com/s", "optional": True}, "", id="no selector selects nothing"),
        pytest.param({"name": "absent", "optional": True}, "", id="optional"),
    ],
)
def test_anchors(fields: dict[str, Any], expected: str) -> None:
    assert trust_anchors(wanted(**fields), BUNDLES).decode() == expected
    assert trust_anchors(wanted(**fields), BUNDLES[::-1]).decode() == expected


@pytest.mark.parametrize(
    ("fields", "bundles", "text"),
    [
        ({"name": "absent"}, BUNDLES, 'clustertrustbundle.certificates.k8s.io "absent" not found'),
        ({"signerName": "example.com/s"}, BUNDLES, 'signerName "example.com/s" and labelSelector matched zero'),
        ({"name": "plain"}, None, "the API server has no such objects"),
    ],
)
def test_refusals(fields: dict[str, Any], bundles: list[TrustBundle] | None, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        trust_anchors(wanted(**fields), bundles)


class Api:
    """Has one bundle, once `refusal` is None; counts the watches of bundles."""

    def __init__(self) -> None:
        self.refusal: ApiError | None = None
        self.watched = 0

    async def list(self, cls: Any, *_: Any, **__: Any) -> Any:
        items: list[Any] = []
        if cls is certificatesv1beta1.ClusterTrustBundle:
            if self.refusal is not None:
                raise self.refusal
            document = {
                "apiVersion": "certificates.k8s.io/v1beta1",
                "kind": "ClusterTrustBundle",
                "metadata": {"name": "web", "resourceVersion": "1", "labels": {"a": "b"}},
                "spec": {"trustBundle": pem("x")},
            }
            items = [codec.from_json(document)]
        return SimpleNamespace(items=items, continue_token="", resource_version="1")

    async def watch(self, cls: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:
        is_bundle = cls is certificatesv1beta1.ClusterTrustBundle
        self.watched += is_bundle
        try:
            await asyncio.Event().wait()
        finally:
            self.watched -= is_bundle
        yield

    async def until(self, watches: int) -> None:
        async with asyncio.timeout(30):
            while self.watched != watches:
                await asyncio.sleep(0)


async def test_they_are_followed_as_long_as_a_pod_projects_some() -> None:
    api = Api()
    changed: list[set[str]] = []
    objects = NodeObjects(api, SystemClock(), changed.append)  # type: ignore[arg-type]
    objects.start()
    volumes = [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "web", "path": "ca"}}]}}]
    first, second = a_pod("first", volumes=volumes), a_pod("second", volumes=volumes)

    await objects.acquire(a_pod("other"))
    assert objects.trust_bundles() is None

    api.refusal = UnknownKind("the server could not find the requested resource")
    await objects.acquire(first)
    assert objects.trust_bundles() is None

    api.refusal = ServiceUnavailable("no store")
    with pytest.raises(ConfigError, match="failed to list clustertrustbundles: no store"):
        await objects.acquire(first)

    api.refusal = None
    await objects.acquire(first)
    await objects.acquire(second)
    await api.until(1)
    assert objects.trust_bundles() == [TrustBundle("web", "", pem("x"), {"a": "b"})]
    assert changed[0] == {"uid-first"}

    await objects.release("uid-first")
    assert objects.trust_bundles() is not None
    await objects.release("uid-second")
    await api.until(0)
    assert objects.trust_bundles() is None
    await objects.stop()
