"""A namespace on one node of a `KubeletHost`, and what tests do in it.

What a test waits for it waits for with `Lab.when` (a watch) or `Lab.eventually` (a question asked again): both end
as soon as it is so, or fail with what was seen last.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api import codec
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.base.dialing import channel
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.kubelet.runtime import Runtime
from navarch.testing.host_state import HostState, files_below, host_state
from navarch.testing.kubelet_host import KubeletHost
from navarch.testing.private_containerd import IMAGE

# Generous: only what hangs meets it.
PATIENCE_S = 60.0
POLL_S = 0.05

M = TypeVar("M", bound=Message)
T = TypeVar("T")


@dataclass
class Lab:
    """A namespace on one node. runtime: "shim" or "plugin", which is the node's name too."""

    host: KubeletHost
    runtime: str
    client: Client
    namespace: str
    cri: Runtime

    @property
    def node(self) -> str:
        """The name of the node."""
        return self.runtime

    def only(self, runtime: str, *, because: str) -> None:
        """The other runtime cannot do what this test is about."""
        if self.runtime != runtime:
            pytest.xfail(because)

    def where(self, *, shim: T, plugin: T, because: str) -> T:
        """What to expect over this runtime, where the two differ for the reason given."""
        assert because
        return plugin if self.runtime == "plugin" else shim

    # Objects

    async def make(self, document: dict[str, Any]) -> Any:
        """Create an object from what would be in a manifest, in the namespace if it has none."""
        made: Any = codec.from_json(document, strict=True)
        return await self.client.create(made, namespace=made.metadata.namespace or self.namespace)

    async def create(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> corev1.Pod:
        """Create a Pod on the node: busybox unless it says otherwise, one second of grace."""
        spec.setdefault("containers", [{"name": "main", "command": ["sleep", "3600"]}])
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            container.setdefault("image", IMAGE)
            container.setdefault("imagePullPolicy", "IfNotPresent")
        metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        whole = {"nodeName": self.node, "terminationGracePeriodSeconds": 1, **spec}
        pod: corev1.Pod = await self.make({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole})
        return pod

    async def pod(self, name: str) -> corev1.Pod | None:
        """The Pod as it is now; None when there is none."""
        try:
            return await self.client.get(corev1.Pod, name, self.namespace)
        except NotFound:
            return None

    async def until(self, cls: type[M], name: str, holds: Callable[[M], object], namespace: str | None = None) -> M:
        """Watch an object until it is as wanted."""
        seen: M | None = None
        namespace = self.namespace if namespace is None else namespace
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with contextlib.suppress(ApiError):
                        events = self.client.watch(cls, namespace, field_selector=f"metadata.name={name}")
                        async with aclosing(events):
                            async for event in events:
                                if event.type in ("ADDED", "MODIFIED"):
                                    seen = event.object
                                    if holds(seen):
                                        return seen
                    await asyncio.sleep(POLL_S)
        raise AssertionError(f"{name}: not as wanted within {PATIENCE_S:.0f} s; last: {seen}")

    async def when(self, name: str, holds: Callable[[corev1.Pod], object]) -> corev1.Pod:
        """Watch a Pod until it is as wanted."""
        return await self.until(corev1.Pod, name, holds)

    async def running(self, name: str) -> corev1.Pod:
        """Watch a Pod until it is Ready."""
        return await self.when(name, is_ready)

    async def ended(self, name: str) -> corev1.Pod:
        """Watch a Pod until it has Succeeded or Failed."""
        return await self.when(name, lambda pod: pod.status.phase in ("Succeeded", "Failed"))

    async def delete(self, name: str, grace: int | None = None) -> None:
        """Begin to delete a Pod."""
        await self.client.delete(corev1.Pod, name, self.namespace, grace_period_seconds=grace)

    async def gone(self, name: str) -> None:
        """Wait until a Pod is no more."""

        async def absent() -> bool:
            return await self.pod(name) is None

        await self.eventually(absent, f"{name} is gone")

    async def eventually(self, probe: Callable[[], Awaitable[T]], what: str = "it holds") -> T:
        """The first true answer of the probe. Fails with the last answer when none comes."""
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := await probe()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s; last: {answer!r}")
            await asyncio.sleep(POLL_S)
        return answer

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of what happened to a Pod, as far as it is recorded yet."""
        found = await self.client.list(corev1.Event, self.namespace)
        return [(one.reason, one.message) for one in found.items if one.involved_object.name == name]

    async def event(self, name: str, reason: str) -> str:
        """Wait for an Event of a Pod; its message."""

        async def told() -> str:
            return next((message for found, message in await self.events(name) if found == reason), "")

        return await self.eventually(told, f"an Event {reason} of {name}")

    # What containers say and do

    @asynccontextmanager
    async def kubelet(self) -> "AsyncIterator[node_pb2_grpc.NodeAsyncStub]":
        """The kubelet's gRPC service, as an administrator."""
        node = await self.client.get(corev1.Node, self.node)
        port = node.metadata.annotations["navarch.dev/kubelet-grpc-port"]
        async with channel(f"127.0.0.1:{port}", self.credentials("kube-apiserver", "system:masters")) as opened:
            yield node_pb2_grpc.NodeStub(opened)

    async def logs(self, name: str, container: str = "", *, previous: bool = False) -> str:
        """What a container has written so far, as the kubelet tells it."""
        options = corev1.PodLogOptions(container=container, previous=previous)
        request = node_pb2.LogsRequest(namespace=self.namespace, pod=name, options=options)
        async with self.kubelet() as stub:
            call = stub.Logs(request, timeout=PATIENCE_S)
            return b"".join([response.data async for response in call]).decode()

    async def said(self, name: str, line: str, container: str = "") -> str:
        """What a container has written as soon as it has written this line."""

        async def text() -> str:
            written = await self.logs(name, container)
            return written if line in written.splitlines() else ""

        return await self.eventually(text, f"{name} says {line!r}")

    async def exec(self, name: str, *command: str, container: str = "") -> str:
        """What a command in a running container says. Fails when the command does."""
        pod = await self.client.get(corev1.Pod, name, self.namespace)
        entries = [*pod.status.container_statuses, *pod.status.init_container_statuses]
        entries += pod.status.ephemeral_container_statuses
        entry = next(entry for entry in entries if entry.name == container or not container)
        result = await self.cri.exec_sync(entry.container_id.rpartition("/")[2], list(command), 30)
        assert result.exit_code == 0, (command, result.stderr.decode())
        return result.stdout.decode()

    # The host

    def host_state(self) -> HostState:
        """What the node's runtime and its kubelet have on the host."""
        others = [process.pid for process in [*self.host.kubelets.values(), self.host.control_plane]]
        found = host_state(self.host.containerd, self.runtime, others=others)
        root = self.host.root_dir(self.runtime)
        folders = (root / "pods", root / "logs")
        files = frozenset(str(folder / path) for folder in folders for path in files_below(folder))
        return HostState({**found.facts, "files of Pods": files})

    async def settled(self) -> HostState:
        """The host as it is once nothing is left of any Pod."""
        state = self.host_state()

        async def is_empty() -> bool:
            nonlocal state
            state = await asyncio.to_thread(self.host_state)
            groups = state.facts["control groups"]
            return not state.facts["files of Pods"] and not any("/pod" in group for group in groups)

        await self.eventually(is_empty, "nothing is left of any Pod")
        return state

    async def unchanged(self, before: HostState) -> None:
        """Wait until the host is as it was: garbage collection and dying processes take a moment."""
        differences: list[str] = []

        async def is_unchanged() -> bool:
            nonlocal differences
            differences = (await asyncio.to_thread(self.host_state)).differences(before)
            return not differences

        try:
            await self.eventually(is_unchanged)
        except AssertionError:
            raise AssertionError("\n".join(differences)) from None

    # The kubelet

    def credentials(self, name: str, *groups: str) -> Credentials:
        """A certificate for any user."""
        return self.host.credentials(name, *groups)

    async def kubelet_address(self) -> str:
        """Where the kubelet's HTTPS endpoints are."""
        node = await self.client.get(corev1.Node, self.node)
        return f"127.0.0.1:{node.status.daemon_endpoints.kubelet_endpoint.port}"

    def kill_kubelet(self) -> None:
        """End the kubelet by SIGKILL."""
        self.host.kill_kubelet(self.runtime)

    async def start_kubelet(self, *flags: str) -> None:
        """Start the kubelet, and wait until it has reported its node."""
        port = await self.kubelet_address()
        self.host.start_kubelet(self.runtime, *flags)

        async def reported() -> bool:
            return await self.kubelet_address() != port

        await self.eventually(reported, "the kubelet has reported its node")


def is_ready(pod: corev1.Pod) -> bool:
    """Whether its condition Ready is True and it is to stay."""
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
    return ready and not pod.metadata.HasField("deletion_timestamp")


async def _until_there(client: Client, cls: type[M], name: str, namespace: str, holds: Callable[[M], object]) -> M:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(NotFound):
                found = await client.get(cls, name, namespace)
                if holds(found):
                    return found
            await asyncio.sleep(POLL_S)


def _node_is_ready(node: corev1.Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


@asynccontextmanager
async def a_lab(host: KubeletHost, runtime: str) -> AsyncIterator[Lab]:
    """A new namespace on the node of a runtime, which is Ready; it goes with all that is in it."""
    host.start_kubelet(runtime)
    client = Client.connect(host.api_server, host.credentials("admin", "system:masters"), "e2e")
    cri = Runtime(f"unix://{host.socket(runtime)}")
    name = f"test-{random.randrange(1 << 32):08x}"
    await client.create(codec.from_json({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    await _until_there(client, corev1.Node, runtime, "", _node_is_ready)
    await _until_there(client, corev1.ServiceAccount, "default", name, lambda _: True)
    try:
        yield Lab(host, runtime, client, name, cri)
    finally:
        await client.delete(corev1.Namespace, name)
        await client.close()
        await cri.close()
