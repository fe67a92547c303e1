"""Real clusters: `navarch up` in a short directory, containers under containerd, and nothing left at the end.

`cluster` is one cluster for the tests of a module; `space` is a namespace in it for one test, with a client.
What a test waits for it waits for with `Space.until` (a watch) or `eventually` (a question asked again): both end
as soon as it is so, or fail with what was seen last.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from google.protobuf.message import Message

from navarch.cli.cluster.layout import PORTS, Layout
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api import codec
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.base.kubeconfig import load_kubeconfig
from navarch.services.client.client import Client
from navarch.testing.claim import Claim
from navarch.testing.private_containerd import SIDES, PrivateContainerd, private_containerd, wait_for_image

ROOT = Path(__file__).parents[3]
NAVARCH = Path(sys.executable).with_name("navarch")
IMAGES = ("navarch.dev/busybox:latest", "navarch.dev/busybox:next")
# Generous: only what hangs meets it.
PATIENCE_S = 60.0
POLL_S = 0.05
# What follows 10. in their addresses; apart from the networks of containerd's sides.
PODS, SERVICES = range(130, 210), range(20, 120)
# All ports of a cluster stay below those that the kernel hands out for a moment.
OFFSETS = range(12_000, 22_000, 10)

M = TypeVar("M", bound=Message)
T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T]], what: str, timeout_s: float = PATIENCE_S) -> T:
    """The first true answer of the probe. Fails with the last answer when none comes."""
    deadline = time.monotonic() + timeout_s
    while not (answer := await probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:.0f} s; last: {answer!r}")
        await asyncio.sleep(POLL_S)
    return answer


@dataclass
class RealCluster:
    """A cluster on this host, driven through the command line."""

    data_dir: Path
    port_offset: int
    pod_cidr: str
    service_cidr: str
    images: Sequence[Path]
    # More for `navarch up`.
    flags: Sequence[str] = ()
    # The containerd whose own CRI the node uses; None for the private one with our shim.
    plugin: PrivateContainerd | None = None
    # What it made outside of its directory, noted while it ran.
    sockets: set[Path] = field(default_factory=set)

    @property
    def layout(self) -> Layout:
        """Its names and paths."""
        found = Layout.load(self.data_dir)
        assert found is not None
        return found

    def navarch(self, *words: str, check: bool = True, stdin: str = "") -> str:
        """What a command says, errors included."""
        environment = {**os.environ, "KUBECONFIG": str(self.data_dir / "admin.kubeconfig"), "COLUMNS": "200"}
        done = subprocess.run(
            [NAVARCH, *words], input=stdin, text=True, capture_output=True, env=environment, timeout=120, check=False
        )
        said = done.stdout + done.stderr
        if check and done.returncode:
            raise AssertionError(f"navarch {' '.join(words)} ended with {done.returncode}:\n{said}")
        return said

    def up(self) -> None:
        """Start it; its node is Ready afterwards."""
        flags = [
            f"--port-offset={self.port_offset}",
            f"--pod-cidr={self.pod_cidr}",
            f"--service-cidr={self.service_cidr}",
            f"--runtime-endpoint=unix://{self.plugin.plugin_socket}" if self.plugin else "--runtime=containerd",
            *self.flags,
        ]
        self.navarch("up", f"--data-dir={self.data_dir}", *flags)

    def load_images(self) -> None:
        """Bring the images of the tests in."""
        for image in self.images:
            if self.plugin is not None:
                self.plugin.load(image)
                continue
            self.navarch("image", "load", str(image), f"--data-dir={self.data_dir}")

    def down(self, *flags: str) -> None:
        """Stop it, noting first what must be gone then."""
        self.note_sockets()
        self.navarch("down", f"--data-dir={self.data_dir}", *flags)

    def connect(self) -> Client:
        """A client with the administrator's credentials."""
        found = load_kubeconfig(self.data_dir / "admin.kubeconfig")
        return Client.connect(found.address, found.credentials, user_agent="e2e")

    def service_pid(self, name: str) -> int:
        """The process of a service; 0 while it is about to be started again."""
        state = json.loads((self.data_dir / "run" / "supervisor.json").read_text())
        return next(int(child["pid"]) for child in state["children"] if child["name"] == name)

    def tasks(self) -> dict[str, int]:
        """Container id -> pid of what runs, as containerd's own tool sees it."""
        socket = self.plugin.plugin_socket if self.plugin else self.layout.containerd_socket
        command = ["ctr", "--address", str(socket), "-n", "k8s.io", "tasks", "ls"]
        listed = subprocess.run(command, check=True, text=True, capture_output=True, timeout=30).stdout
        rows = (line.split() for line in listed.splitlines()[1:])
        return {name: int(pid) for name, pid, state in rows if state == "RUNNING"}

    def kill_everything(self, *, containers: bool) -> None:
        """kill -9 of the supervisor, all services, containerd and its shims; of the containers too if asked."""
        self.note_sockets()
        inside = f"{self.layout.cgroup_root}/"
        victims = [one for one in self.processes(self.layout) if containers or inside not in _control_groups(one.pid)]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=10)

    def print_logs(self) -> None:
        """The end of each service's log, for whoever reads of a failed test."""
        for log in sorted((self.data_dir / "logs").iterdir()):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-20:], sep="\n")

    def note_sockets(self) -> None:
        """Remember the sockets of containerd's shims: they are not in the data directory."""
        for address in (self.data_dir / "containerd" / "state").glob("io.containerd.runtime.v2.task/*/*/address"):
            with contextlib.suppress(OSError):
                self.sockets.add(Path(address.read_text().removeprefix("unix://")))

    def processes(self, layout: Layout) -> list[psutil.Process]:
        """All that runs of it: by command line, working directory or control group."""
        inside, found = f"{layout.cgroup_root}/", []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                told_by = [*process.cmdline(), f"{process.cwd()}/", _control_groups(process.pid)]
                if any(f"{self.data_dir}/" in f"{text}/" or inside in text for text in told_by):
                    found.append(process)
        return found

    def leftovers(self, layout: Layout) -> list[str]:
        """What is still there of it after `down`, which must be nothing."""
        nft = subprocess.run(["nft", "list", "tables"], check=True, text=True, capture_output=True).stdout
        mounts = Path("/proc/self/mountinfo").read_text()
        groups = [*Path("/sys/fs/cgroup").glob("*navarch-*"), *Path("/sys/fs/cgroup").glob("*/navarch-*")]
        return [
            *(f"process {one}" for one in self.processes(layout) if one.is_running()),
            *(f"mount {line}" for line in mounts.splitlines() if f"{self.data_dir}/" in line),
            *(f"link {name}" for _, name in socket.if_nameindex() if name in (layout.bridge, layout.announcer_link)),
            *(f"nftables {line}" for line in nft.splitlines() if layout.nft_table in line),
            *(f"control group {path}" for path in groups if path.name == layout.cgroup_root.strip("/")),
            *(f"socket {path}" for path in self.sockets if path.exists()),
        ]


def _control_groups(pid: int) -> str:
    """None of a process that has just ended."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _free_offset() -> int:
    """A port offset at which nobody listens now."""
    for offset in random.sample(OFFSETS, len(OFFSETS)):
        with contextlib.ExitStack() as probes:
            try:
                for port in PORTS.values():
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            except OSError:
                continue
        return offset
    raise AssertionError("no free ports")


@contextlib.contextmanager
def _free_cidr(seconds: range) -> Iterator[str]:
    """10.x.0.0/16, not the default one: two clusters that start at once would choose the same."""
    with contextlib.closing(Claim("10", seconds)) as network:
        yield f"{network}.0.0/16"


@contextlib.contextmanager
def _a_cluster(
    images: Sequence[Path],
    flags: Sequence[str] = (),
    plugin: PrivateContainerd | None = None,
    *,
    dual_stack: bool = False,
) -> Iterator[RealCluster]:
    home = Path(f"/tmp/nv{os.getpid()}-{random.randrange(1 << 24):x}")
    home.mkdir()
    with _free_cidr(PODS) as pods, _free_cidr(SERVICES) as services:
        if dual_stack:
            site = f"fd00:{random.randrange(1 << 16):x}:{random.randrange(1 << 16):x}"
            pods, services = f"{pods},{site}::/56", f"{services},{site}:100::/112"
        made = RealCluster(home / "d", _free_offset(), pods, services, images, flags, plugin)
        try:
            made.up()
            made.load_images()
            yield made
        finally:
            layout = Layout.load(made.data_dir)
            if layout is not None:
                made.down("--delete-data")
                left = made.leftovers(layout)
                assert not made.data_dir.exists()
                assert not left, "\n".join(["`navarch down` left:", *left])
            shutil.rmtree(home)


def _remove_abandoned() -> None:
    """End the clusters of test runs that were killed."""
    for home in Path("/tmp").glob("nv[0-9]*-*"):
        owner = re.match(r"nv(\d+)-", home.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            subprocess.run([NAVARCH, "down", f"--data-dir={home / 'd'}", "--delete-data"], check=True, timeout=120)
            shutil.rmtree(home)


@pytest.fixture(scope="session")
def image_archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same small image under two names."""
    _remove_abandoned()
    folder = tmp_path_factory.mktemp("images")
    builder = ROOT / "k8s-lab" / "images" / "busybox_image.py"
    for number, name in enumerate(IMAGES):
        subprocess.run([sys.executable, builder, folder / f"{number}.tar", "--name", name], check=True)
    return sorted(folder.iterdir())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A cluster over each of the runtimes where the test asks for that, else over our shim."""
    if "cluster" in metafunc.fixturenames:
        sides = SIDES if metafunc.definition.get_closest_marker("over_both") else SIDES[:1]
        metafunc.parametrize("cluster", sides, indirect=True, scope="module")


@pytest.fixture(scope="module")
def cluster(image_archives: list[Path], request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """A running cluster for all tests of the module; at the end nothing of it may be left.

    Over our shim. What depends on the runtime is marked `over_both`, and runs over containerd's own CRI plugin too.
    """
    with contextlib.ExitStack() as stack:
        plugin = stack.enter_context(private_containerd()) if request.param == "plugin" else None
        made = stack.enter_context(_a_cluster(image_archives, plugin=plugin))
        if plugin is not None:
            for name in IMAGES:
                wait_for_image(plugin.plugin_socket, name)
        yield made


@pytest.fixture
def a_cluster(image_archives: list[Path]) -> Callable[..., contextlib.AbstractContextManager[RealCluster]]:
    """Makes a cluster of its own for a test, with more flags for `navarch up`; see `_a_cluster`."""
    return partial(_a_cluster, image_archives)


@pytest.fixture
def default_space_of() -> Callable[[RealCluster, Client], "Space"]:
    """The namespace "default" of such a cluster."""
    return partial(Space, name="default")


@dataclass
class Space:
    """A namespace for one test, and what tests do in it."""

    cluster: RealCluster
    client: Client
    name: str
    eventually = staticmethod(eventually)

    async def navarch(self, *words: str, check: bool = True, stdin: str = "") -> str:
        """What a command says of this namespace."""
        scoped = [words[0], *(["-n", self.name] if words[0] != "rollout" else [words[1], "-n", self.name])]
        rest = words[len(scoped) - 2 :]
        return await asyncio.to_thread(self.cluster.navarch, *scoped, *rest, check=check, stdin=stdin)

    async def create(self, document: dict[str, Any]) -> Any:
        """Create an object from what would be in a manifest."""
        return await self.client.create(codec.from_json(document, strict=True), namespace=self.name)

    @staticmethod
    def container(script: str, name: str = "main", **more: Any) -> dict[str, Any]:
        """A container that runs a shell script in the test image."""
        command = ["sh", "-c", script]
        return {"name": name, "image": IMAGES[0], "imagePullPolicy": "IfNotPresent", "command": command, **more}

    async def pod(self, name: str, script: str, spec: dict[str, Any] | None = None, **container: Any) -> corev1.Pod:
        """Create a Pod whose container "main" runs a shell script. spec: more of the Pod."""
        whole = {"terminationGracePeriodSeconds": 1, "containers": [self.container(script, **container)]}
        whole |= spec or {}
        pod: corev1.Pod = await self.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}
        )
        return pod

    async def deployment(
        self, name: str, replicas: int, script: str, container: dict[str, Any] | None = None, **spec: Any
    ) -> Any:
        """Create a Deployment whose container "main" runs a shell script. container, spec: more of both."""
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [self.container(script, **(container or {}))]},
        }
        whole = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
        return await self.create(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole}
        )

    async def pods(self, app: str) -> list[corev1.Pod]:
        """The Pods of an app that are not on their way out."""
        found = (await self.client.list(corev1.Pod, self.name, label_selector=f"app={app}")).items
        return [pod for pod in found if not pod.metadata.HasField("deletion_timestamp")]

    async def running(self, app: str, count: int) -> list[corev1.Pod]:
        """Wait until an app has exactly so many Pods, all Ready."""

        async def probe() -> list[corev1.Pod]:
            found = (await self.client.list(corev1.Pod, self.name, label_selector=f"app={app}")).items
            return found if len(found) == count and all(map(is_ready, found)) else []

        return await eventually(probe, f"{count} Pods of {app}")

    async def until(
        self, cls: type[M], name: str, holds: Callable[[M], object], what: str, timeout_s: float = PATIENCE_S
    ) -> M:
        """Watch an object until it is as wanted. Survives an API server that restarts."""
        seen: M | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        events = self.client.watch(cls, self.name, field_selector=f"metadata.name={name}")
                        async with aclosing(events):
                            async for event in events:
                                if event.type in ("ADDED", "MODIFIED"):
                                    seen = event.object
                                    if holds(seen):
                                        return seen
                    except ApiError:
                        await asyncio.sleep(POLL_S)
        raise AssertionError(f"{name}: {what}: not within {timeout_s:.0f} s; last: {seen}")

    async def until_pod(
        self, name: str, holds: Callable[[corev1.Pod], object], what: str, timeout_s: float = PATIENCE_S
    ) -> corev1.Pod:
        """Watch a Pod until it is as wanted."""
        return await self.until(corev1.Pod, name, holds, what, timeout_s)

    async def ready(self, name: str) -> corev1.Pod:
        """Watch a Pod until it is Ready."""
        return await self.until_pod(name, is_ready, "Ready")

    async def ended(self, name: str) -> corev1.Pod:
        """Watch a Pod until it has Succeeded or Failed."""
        return await self.until_pod(name, lambda pod: pod.status.phase in ("Succeeded", "Failed"), "ended")

    async def gone(self, name: str) -> None:
        """Wait until a Pod is no more."""

        async def probe() -> bool:
            try:
                await self.client.get(corev1.Pod, name, self.name)
            except NotFound:
                return True
            return False

        await eventually(probe, f"{name} is gone")

    async def logs(self, pod: str, container: str = "main", *, previous: bool = False) -> str:
        """What a container has written so far."""
        options = corev1.PodLogOptions(container=container, previous=previous)
        request = node_pb2.LogsRequest(namespace=self.name, pod=pod, options=options)
        call = node_pb2_grpc.NodeStub(self.client.channel).Logs(request, timeout=PATIENCE_S)
        return b"".join([response.data async for response in call]).decode()

    async def said(self, pod: str, line: str) -> str:
        """What a container has written as soon as it has written this line: one that runs may not have yet."""
        async with asyncio.timeout(PATIENCE_S):
            while line not in (text := await self.logs(pod)).splitlines():
                await asyncio.sleep(POLL_S)
        return text

    async def execute(self, pod: str, *command: str, container: str = "main") -> str:
        """What a command in a container says."""
        start = node_pb2.ExecStart(namespace=self.name, pod=pod, container=container, command=command)
        call = node_pb2_grpc.NodeStub(self.client.channel).Exec(
            iter([node_pb2.ExecRequest(start=start)]), timeout=PATIENCE_S
        )
        return b"".join([response.stdout + response.stderr async for response in call]).decode()


def is_ready(pod: corev1.Pod) -> bool:
    """Whether its condition Ready is True and it is to stay."""
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
    return ready and not pod.metadata.HasField("deletion_timestamp")


@pytest.fixture
async def default_space(cluster: RealCluster) -> AsyncIterator[Space]:
    """The namespace "default", where manifests go that name none."""
    client = cluster.connect()
    yield Space(cluster, client, "default")
    await client.close()


@pytest.fixture
async def space(cluster: RealCluster, request: pytest.FixtureRequest) -> AsyncIterator[Space]:
    """A namespace of its own; it goes with all that is in it when the test ends."""
    client = cluster.connect()
    failed_before = request.session.testsfailed
    name = f"test-{random.randrange(1 << 32):08x}"
    await client.create(codec.from_json({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    try:
        yield Space(cluster, client, name)
    finally:
        if request.session.testsfailed > failed_before:
            cluster.print_logs()
        await client.delete(corev1.Namespace, name)
        await client.close()
