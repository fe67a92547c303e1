"""Discovery and OpenAPI as kubectl, the official Python client and a schema-driven tester read them."""

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import schemathesis

# Not in the middle of a test: see navarch.testing.door_fuzz.openapi.
import schemathesis.specs.openapi.adapter.v2

from navarch.services.api.kinds import KINDS
from navarch.services.api.openapi import v2, v3
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

KUBECTL = Path(sys.executable).with_name("kubectl")
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              cron: {type: string, description: When it runs.}
"""


@dataclass(frozen=True)
class Kubectl:
    """The genuine kubectl, with a cache of its own."""

    home: Path

    async def run(self, *arguments: str, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "KUBECONFIG": str(self.home / "config"), "PATH": os.environ["PATH"]},
        )
        out, errors = await process.communicate(stdin.encode())
        assert process.returncode == 0, errors.decode()
        return out.decode()


def kubeconfig(url: str, user: Credentials) -> Any:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": text(user.ca)}}],
        "users": [
            {
                "name": "admin",
                "user": {"client-certificate-data": text(user.cert), "client-key-data": text(user.key)},
            }
        ],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    authority = CertificateAuthority.create("test", time.time())
    own = authority.issue("kube-apiserver", ["system:masters"], [], ["127.0.0.1"], now=time.time(), server=True)
    store = StoreService(StoreConfig())
    await store.start()
    server = ApiServer(Config((store.address,), own, None, listen="127.0.0.1:0", rest_listen="127.0.0.1:0"))
    await server.start()
    admin = authority.issue("kubernetes-admin", ["system:masters"], now=time.time())
    (tmp_path / "config").write_text(json.dumps(kubeconfig(f"https://127.0.0.1:{server.rest_port}", admin)))
    yield Kubectl(tmp_path)
    await server.stop()
    await store.stop()


async def test_kubectl_lists_every_resource(kubectl: Kubectl) -> None:
    names = (await kubectl.run("api-resources", "-o", "name")).split()
    assert sorted(names) == sorted({kind.qualified_resource for kind in KINDS})
    namespaced = (await kubectl.run("api-resources", "-o", "name", "--namespaced", "--verbs", "watch")).split()
    wanted = {kind.qualified_resource for kind in KINDS if kind.namespaced and "watch" in kind.verbs}
    assert sorted(namespaced) == sorted(wanted)


async def test_kubectl_lists_every_version(kubectl: Kubectl) -> None:
    assert (await kubectl.run("api-versions")).split() == sorted({kind.api_version for kind in KINDS})


async def test_kubectl_understands_the_version(kubectl: Kubectl) -> None:
    versions = json.loads(await kubectl.run("version", "-o", "json"))
    assert versions["serverVersion"]["minor"] == "36"


async def test_kubectl_explains_every_kind(kubectl: Kubectl) -> None:
    stored = [kind for kind in KINDS if "get" in kind.verbs]
    limit = asyncio.Semaphore(4)

    async def explain(resource: str, api_version: str, kind: str) -> None:
        async with limit:
            text = await kubectl.run("explain", resource, "--api-version", api_version, "--recursive")
        assert f"KIND:       {kind}\n" in text
        assert "metadata\t<ObjectMeta>" in text

    await asyncio.gather(*(explain(kind.resource, kind.api_version, kind.kind) for kind in stored))


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("pod.spec.containers.ports.containerPort", "The port, from 1 to 65535."),
        ("pod.spec.containers", "enum: Always, IfNotPresent, Never"),
        ("deployment.spec", "selector\t<LabelSelector> -required-"),
        ("service.spec.ports.targetPort", "<IntOrString>"),
        ("pvc.spec.resources.requests", "<map[string]Quantity>"),
        ("cronjob.spec.jobTemplate.spec.template.spec.volumes.configMap", "The entries of a ConfigMap as files."),
        ("crd.spec.versions.schema.openAPIV3Schema.properties", "The members of an object."),
    ],
)
async def test_kubectl_explains_fields(kubectl: Kubectl, path: str, wanted: str) -> None:
    text = await kubectl.run("explain", path)
    assert wanted in text
    if wanted.endswith("."):
        assert wanted in await kubectl.run("explain", path, "--output", "plaintext-openapiv2")


async def test_kubectl_explains_a_custom_resource(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", "-", stdin=CRD)
    await kubectl.run("wait", "--for=condition=Established", "crd/crontabs.stable.example.com")
    assert "When it runs." in await kubectl.run("explain", "crontabs.spec.cron")
    assert "crontabs.stable.example.com" in await kubectl.run("api-resources", "-o", "name")
    assert "When it runs." in await kubectl.run("explain", "crontabs.spec.cron", "--output", "plaintext-openapiv2")


async def test_the_python_client_finds_every_kind(kubectl: Kubectl) -> None:
    # The library has no types.
    library: Any = kubernetes

    def discover() -> set[tuple[str, str]]:
        with library.config.new_client_from_config(str(kubectl.home / "config")) as api:
            client = library.dynamic.DynamicClient(api, cache_file=str(kubectl.home / "cache.json"))
            found = {(one.group_version, one.kind) for one in client.resources.search()}
            assert client.resources.get(api_version="apps/v1", kind="Deployment").subresources["scale"]
            assert client.version["kubernetes"]["gitVersion"].startswith("v1.36")
            return found

    found = await asyncio.to_thread(discover)
    assert {kind.gvk for kind in KINDS} <= found


@pytest.mark.parametrize("contract", ["apps", "networking.k8s.io", "apiextensions.k8s.io", ""])
def test_a_schema_driven_tester_reads_version_3(contract: str) -> None:
    kinds = [kind for kind in KINDS if kind.group == contract]
    schema = schemathesis.openapi.from_dict(v3.document(kinds, "Kubernetes", "v1.36.2"))
    schema.validate()
    assert len(list(schema.get_all_operations())) > len(kinds)


def test_a_schema_driven_tester_reads_version_2() -> None:
    schema = schemathesis.openapi.from_dict(v2.document(list(KINDS), "Kubernetes", "v1.36.2"))
    schema.validate()
    assert schema.statistic.operations.total > 700
