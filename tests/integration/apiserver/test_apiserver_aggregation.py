"""A group that another server serves: discovered, proxied with its caller's identity, watched for being there."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import find_condition
from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.services.base.tls import CertificateAuthority
from navarch.services.base.tls_context import client_context, server_context

KUBECTL = Path(__file__).parents[3] / ".venv/bin/kubectl"
ROOT = "/apis/metrics.k8s.io/v1beta1"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "metrics.k8s.io/v1beta1",
    "resources": [
        {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
    ],
}
USAGE = {"metadata": {"name": "n1"}, "timestamp": "2026-01-01T00:00:00Z", "window": "10s", "usage": {"cpu": "100m"}}


class Extension:
    """A small metrics server. seen: the requests it got, after the checks of its availability."""

    def __init__(self, authority: CertificateAuthority, front_authority: CertificateAuthority) -> None:
        names = ["metrics.kube-system.svc"]
        own = authority.issue("metrics", dns_names=names, now=time.time(), server=True)
        self.context = server_context(own, "http/1.1", need_certificate=False)
        self.context.load_verify_locations(cadata=front_authority.cert_pem.decode())
        self.seen: list[web.BaseRequest] = []
        self.runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self) -> None:
        self.runner = web.ServerRunner(web.Server(self.handle, access_log=None), shutdown_timeout=0.2)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=self.context).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("X-Remote-User") != "system:kube-aggregator":
            self.seen.append(request)
        match request.path.removeprefix(ROOT):
            case "" | "/":
                return web.json_response(RESOURCES)
            case "/nodes":
                items = [{**USAGE}]
                body = {
                    "kind": "NodeMetricsList",
                    "apiVersion": "metrics.k8s.io/v1beta1",
                    "metadata": {},
                    "items": items,
                }
                return web.json_response(body)
            case "/namespaces/default/pods/echo":
                return web.Response(body=await request.read(), status=201, headers={"X-Own": "yes"})
            case "/namespaces/default/pods/socket/exec":
                socket = web.WebSocketResponse(protocols=["echo"])
                await socket.prepare(request)
                async for message in socket:
                    await socket.send_str(message.data)
                return socket
        return web.Response(status=404)


@pytest.fixture
async def extension(cluster: Any) -> AsyncIterator[Extension]:
    serving = CertificateAuthority.create("extension", time.time())
    server = Extension(serving, cluster.authority)
    await server.start()
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = "metrics", "kube-system"
    # Endpoints may not be on the loopback interface; this is resolved by the host.
    service.spec.type, service.spec.external_name = "ExternalName", "localhost"
    await cluster.client.create(service)
    registered = apiregistrationv1.APIService()
    registered.metadata.name = "v1beta1.metrics.k8s.io"
    spec = registered.spec
    spec.group, spec.version, spec.group_priority_minimum, spec.version_priority = "metrics.k8s.io", "v1beta1", 100, 100
    spec.service.name, spec.service.namespace = "metrics", "kube-system"
    spec.service.port = server.port
    spec.ca_bundle = serving.cert_pem
    await cluster.client.create(registered)
    await condition(cluster, "v1beta1.metrics.k8s.io", lambda found: found.status == "True")
    server.seen.clear()
    yield server
    await server.stop()


async def condition(cluster: Any, name: str, is_wanted: Callable[[Any], bool]) -> Any:
    """The condition Available of an APIService, once it is as wanted."""
    watching = cluster.client.watch(apiregistrationv1.APIService, field_selector=f"metadata.name={name}")
    try:
        async for event in watching:
            if event.type in ("ADDED", "MODIFIED"):
                found = find_condition(event.object.status.conditions, "Available")
                if found is not None and is_wanted(found):
                    return found
    finally:
        await watching.aclose()


def session_of(cluster: Any, user: str, *groups: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=client_context(cluster.credentials(user, *groups)))
    return aiohttp.ClientSession(f"https://127.0.0.1:{cluster.server.rest_port}", connector=connector)


@pytest.fixture
async def admin(cluster: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_of(cluster, "kubernetes-admin", "system:masters") as session:
        yield session


async def test_local_groups_are_registered(cluster: Any) -> None:
    found = await condition(cluster, "v1.apps", lambda one: one.status == "True")
    assert (found.reason, found.message) == ("Local", "Local APIServices are always available")
    await condition(cluster, "v1.", lambda one: one.status == "True")
    assert (await cluster.client.get(apiregistrationv1.APIService, "v1.apps")).spec.group_priority_minimum == 17800
    await cluster.client.delete(apiregistrationv1.APIService, "v1.apps")
    await condition(cluster, "v1.apps", lambda one: one.status == "True")


async def test_groups_of_custom_resources_come_and_go(cluster: Any, admin: aiohttp.ClientSession) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with admin.post(definitions, json=definition) as answer:
        assert answer.status == 201, await answer.text()
    await condition(cluster, "v1.example.org", lambda one: one.reason == "Local")
    watching = cluster.client.watch(apiregistrationv1.APIService, field_selector="metadata.name=v1.example.org")
    async with admin.delete(f"{definitions}/widgets.example.org") as answer:
        assert answer.status == 200
    async for event in watching:
        if event.type == "DELETED":
            break
    await watching.aclose()


async def test_whom_extension_servers_trust_is_published(cluster: Any) -> None:
    await condition(cluster, "v1.apps", lambda one: one.status == "True")
    async with asyncio.timeout(30):
        while True:
            try:
                found = await cluster.client.get(corev1.ConfigMap, "extension-apiserver-authentication", "kube-system")
                break
            except errors.NotFound:
                await asyncio.sleep(0.05)
    assert found.data["client-ca-file"] == cluster.authority.cert_pem.decode()
    assert json.loads(found.data["requestheader-username-headers"]) == ["X-Remote-User"]
    assert json.loads(found.data["requestheader-allowed-names"]) == ["kube-apiserver"]


async def test_requests_go_there_with_their_sender(
    cluster: Any, extension: Extension, admin: aiohttp.ClientSession
) -> None:
    async with admin.get(f"{ROOT}/nodes?limit=3", headers={"X-Remote-User": "forged"}) as answer:
        assert (await answer.json())["items"] == [USAGE]
    [request] = extension.seen
    assert request.raw_path == f"{ROOT}/nodes?limit=3"
    assert request.headers["X-Remote-User"] == "kubernetes-admin"
    assert request.headers.getall("X-Remote-Group") == ["system:authenticated", "system:masters"]
    assert request.headers["Host"] == "metrics.kube-system.svc"
    async with admin.post(f"{ROOT}/namespaces/default/pods/echo", data=b"x" * 100_000) as answer:
        assert (answer.status, answer.headers["X-Own"]) == (201, "yes")
        assert await answer.read() == b"x" * 100_000
    headers = {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"}
    extension.seen.clear()
    async with admin.get(ROOT, headers=headers) as answer:
        assert (await answer.json())["groupVersion"] == "metrics.k8s.io/v1beta1"
    assert extension.seen[0].headers["X-Remote-User"] == "jane"
    assert "Impersonate-User" not in extension.seen[0].headers


async def test_rights_are_asked_for_here(cluster: Any, extension: Extension) -> None:
    async with session_of(cluster, "jane") as jane, jane.get(f"{ROOT}/nodes") as answer:
        assert answer.status == 403
        assert (await answer.json())["message"] == (
            'nodes.metrics.k8s.io is forbidden: User "jane" cannot list resource "nodes" in API group '
            '"metrics.k8s.io" at the cluster scope'
        )
    assert not extension.seen


async def test_sockets_are_joined(extension: Extension, admin: aiohttp.ClientSession) -> None:
    url = f"{ROOT}/namespaces/default/pods/socket/exec"
    async with admin.ws_connect(url, protocols=["echo"]) as socket:
        assert socket.protocol == "echo"
        await socket.send_str("hello")
        assert (await socket.receive_str()) == "hello"


async def test_discovery_shows_it(extension: Extension, admin: aiohttp.ClientSession) -> None:
    async with admin.get("/apis") as answer:
        groups = {group["name"]: group for group in (await answer.json())["groups"]}
    assert groups["metrics.k8s.io"]["preferredVersion"]["groupVersion"] == "metrics.k8s.io/v1beta1"
    async with admin.get("/apis/metrics.k8s.io") as answer:
        assert (await answer.json())["name"] == "metrics.k8s.io"
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    async with admin.get("/apis", headers=accept) as answer:
        items = {item["metadata"]["name"]: item for item in (await answer.json(content_type=None))["items"]}
    version = items["metrics.k8s.io"]["versions"][0]
    assert version["freshness"] == "Current"
    assert [one["resource"] for one in version["resources"]] == ["nodes", "pods"]


async def test_kubectl_uses_it(cluster: Any, extension: Extension, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    write_kubeconfig(
        kubeconfig,
        server=f"https://127.0.0.1:{cluster.server.rest_port}",
        grpc_address=cluster.address,
        credentials=cluster.credentials("kubernetes-admin", "system:masters"),
    )
    arguments = [str(KUBECTL), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path / 'cache'}"]

    async def run(*words: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [*arguments, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "NodeMetrics" in await run("api-resources", "--api-group=metrics.k8s.io")
    assert "100m" in await run("get", "--raw", f"{ROOT}/nodes")
    listed = await run("get", "apiservices")
    assert "kube-system/metrics   True" in listed
    assert "Local" in listed


async def test_a_server_that_is_gone_is_unavailable(
    cluster: Any, extension: Extension, admin: aiohttp.ClientSession
) -> None:
    await extension.stop()
    # A change of the object starts the next look at once.
    await cluster.client.patch(
        apiregistrationv1.APIService, "v1beta1.metrics.k8s.io", "", {"metadata": {"labels": {"a": "b"}}}, "merge"
    )
    found = await condition(cluster, "v1beta1.metrics.k8s.io", lambda one: one.status == "False")
    assert found.reason == "FailedDiscoveryCheck"
    async with admin.get(f"{ROOT}/nodes") as answer:
        assert answer.status == 503
    async with admin.get("/apis/apps/v1") as answer:
        assert answer.status == 200
    await extension.start()
    await condition(cluster, "v1beta1.metrics.k8s.io", lambda one: one.status == "True")
    await cluster.client.delete(corev1.Service, "metrics", "kube-system")
    await cluster.client.patch(
        apiregistrationv1.APIService, "v1beta1.metrics.k8s.io", "", {"metadata": {"labels": {"a": "c"}}}, "merge"
    )
    # A look that began before the deletion may tell of it in other words first.
    found = await condition(cluster, "v1beta1.metrics.k8s.io", lambda one: one.reason == "ServiceNotFound")
    assert found.message == 'service/metrics in "kube-system" is not present'
    await cluster.client.delete(apiregistrationv1.APIService, "v1beta1.metrics.k8s.io")
    async with asyncio.timeout(30):
        while True:
            async with admin.get(f"{ROOT}/nodes") as answer:
                if answer.status == 404:
                    return
            await asyncio.sleep(0.05)


async def test_a_service_without_endpoints_is_unavailable(cluster: Any) -> None:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = "metrics", "kube-system"
    service.spec.ports.add(name="https", port=443, protocol="TCP")
    await cluster.client.create(service)
    registered = apiregistrationv1.APIService()
    registered.metadata.name = "v1.example.org"
    spec = registered.spec
    spec.group, spec.version, spec.group_priority_minimum, spec.version_priority = "example.org", "v1", 100, 100
    spec.service.name, spec.service.namespace, spec.insecure_skip_tls_verify = "metrics", "kube-system", True
    await cluster.client.create(registered)
    found = await condition(cluster, "v1.example.org", lambda one: one.status == "False")
    assert found.reason == "EndpointsNotFound"
    endpoints = corev1.Endpoints()
    endpoints.metadata.name, endpoints.metadata.namespace = "metrics", "kube-system"
    await cluster.client.create(endpoints)
    found = await condition(cluster, "v1.example.org", lambda one: one.reason == "MissingEndpoints")
    assert found.message == 'endpoints for service/metrics in "kube-system" have no addresses with port name "https"'


async def test_an_authority_that_is_not_named_is_not_trusted(
    cluster: Any, extension: Extension, admin: aiohttp.ClientSession
) -> None:
    other = CertificateAuthority.create("other", time.time())
    name = "v1beta1.metrics.k8s.io"
    found = await cluster.client.get(apiregistrationv1.APIService, name)
    found.spec.ca_bundle = other.cert_pem
    await cluster.client.update(found)
    bad = await condition(cluster, name, lambda one: one.status == "False")
    assert "certificate verify failed" in bad.message
    found = await cluster.client.get(apiregistrationv1.APIService, name)
    found.spec.ca_bundle, found.spec.insecure_skip_tls_verify = b"", True
    await cluster.client.update(found)
    await condition(cluster, name, lambda one: one.status == "True")
