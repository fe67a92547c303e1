"""A private containerd, and runtime shims on it, for tests with real containers.

Needs root, and the programs that `make run` installs.

Everything lives below one temporary folder with a short name (socket paths are limited), on a bridge and a
subnet of its own, and is gone afterwards.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc
from navarch.protos.navarch import images_pb2, images_pb2_grpc, streaming_pb2_grpc
from navarch.runtime_shim.containerd.backend import Config as BackendConfig
from navarch.runtime_shim.containerd.backend import ContainerdBackend
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.cni import Executor
from navarch.runtime_shim.containerd.daemon import Layout
from navarch.runtime_shim.containerd.purge import Purge, remove_upwards
from navarch.runtime_shim.service import Config, Service
from navarch.services.base.serving import channel
from navarch.testing.claim import Claim
from navarch.testing.private_containerd import CNI_BIN_DIRS, IMAGE, busybox_builder, write_network


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


@dataclass
class Containerd:
    """A private containerd and the folders beside it."""

    data_dir: Path
    bridge: str
    cgroup_root: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def layout(self) -> Layout:
        return Layout(self.data_dir)

    @property
    def cni_conf_dir(self) -> Path:
        return self.data_dir / "cni"

    def start(self) -> None:
        """Start it; returns when its socket is there."""
        self.layout.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "navarch.runtime_shim.containerd.daemon", f"--data-dir={self.data_dir}"]
        with (self.data_dir / "containerd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
        deadline = time.monotonic() + 20
        while not self.layout.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"containerd did not start: {(self.data_dir / 'containerd.log').read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9; what it started lives on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def backend_config(self, state: Path | None = None) -> BackendConfig:
        return BackendConfig(
            containerd_socket=self.layout.socket,
            state_dir=state or self.layout.shim_state,
            containerd_root=self.layout.root,
            cni_conf_dir=self.cni_conf_dir,
            cni_bin_dirs=CNI_BIN_DIRS,
        )


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """One containerd for the session, with a bridge network configuration beside it."""
    token = secrets.token_hex(3)
    daemon = Containerd(Path(tempfile.mkdtemp(prefix=f"nv-{token}-", dir="/tmp")), f"nvt{token}", f"/nvtest{token}")
    # Containers in user namespaces must reach their files.
    daemon.data_dir.chmod(0o711)
    network = Claim("10.213", range(250))
    write_network(daemon.cni_conf_dir, daemon.bridge, f"{network}.0/24", daemon.data_dir / "ipam")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()
        asyncio.run(Purge(daemon.layout, Executor(CNI_BIN_DIRS), Cgroups()).run())
        remove_upwards(Cgroups(), daemon.cgroup_root)
        subprocess.run(["ip", "link", "delete", daemon.bridge], check=False, capture_output=True)
        shutil.rmtree(daemon.data_dir)
        network.close()


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI archive with a small root file system."""
    path = tmp_path_factory.mktemp("images") / "busybox.tar"
    busybox_builder().build(path, IMAGE)
    return path


@dataclass
class Shim:
    """A client of one runtime shim, with shorthands for what tests do all the time."""

    socket: Path
    containerd: Containerd
    backend: ContainerdBackend | None = None
    logs: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        self.logs = self.containerd.data_dir / "logs"
        self.channel = channel(f"unix:{self.socket}", None)
        self.runtime = v1_pb2_grpc.RuntimeServiceStub(self.channel)
        self.images = v1_pb2_grpc.ImageServiceStub(self.channel)
        self.own_images = images_pb2_grpc.ImagesStub(self.channel)
        self.streaming = streaming_pb2_grpc.StreamingStub(self.channel)

    def pod(self, name: str, *, host_network: bool = False) -> criv1.PodSandboxConfig:
        """A sandbox's configuration."""
        config = criv1.PodSandboxConfig(
            metadata=criv1.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
            hostname=name,
            log_directory=str(self.logs / name),
            labels={"app": name},
        )
        config.linux.cgroup_parent = f"{self.containerd.cgroup_root}/{name}"
        options = config.linux.security_context.namespace_options
        options.pid = criv1.NamespaceMode.CONTAINER
        if host_network:
            options.network = criv1.NamespaceMode.NODE
        return config

    def container(self, *command: str, name: str = "main", attempt: int = 0) -> criv1.ContainerConfig:
        """A container's configuration; without words it runs until it is killed."""
        config = criv1.ContainerConfig(
            metadata=criv1.ContainerMetadata(name=name, attempt=attempt),
            image=criv1.ImageSpec(image=IMAGE),
            command=command or ["sleep", "1000000"],
            log_path=f"{name}/{attempt}.log",
            labels={"container": name},
        )
        config.linux.security_context.namespace_options.pid = criv1.NamespaceMode.CONTAINER
        return config

    async def run_pod(self, config: criv1.PodSandboxConfig) -> str:
        answer = await self.runtime.RunPodSandbox(criv1.RunPodSandboxRequest(config=config), timeout=60)
        return answer.pod_sandbox_id

    async def create(self, sandbox_id: str, config: criv1.ContainerConfig) -> str:
        request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)
        return (await self.runtime.CreateContainer(request, timeout=60)).container_id

    async def start(self, sandbox_id: str, config: criv1.ContainerConfig) -> str:
        """Create and start."""
        container_id = await self.create(sandbox_id, config)
        await self.runtime.StartContainer(criv1.StartContainerRequest(container_id=container_id), timeout=60)
        return container_id

    async def status(self, container_id: str) -> criv1.ContainerStatus:
        request = criv1.ContainerStatusRequest(container_id=container_id)
        return (await self.runtime.ContainerStatus(request, timeout=10)).status

    async def exited(self, container_id: str, timeout_s: float = 30) -> criv1.ContainerStatus:
        """The status of a container once it has exited."""

        async def has_exited() -> bool:
            return (await self.status(container_id)).state == criv1.ContainerState.CONTAINER_EXITED

        await until(has_exited, timeout_s)
        return await self.status(container_id)

    async def exec(self, container_id: str, *command: str, timeout_s: int = 20) -> criv1.ExecSyncResponse:
        request = criv1.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_s)
        return await self.runtime.ExecSync(request, timeout=60)

    async def log(self, container_id: str) -> list[tuple[str, str, str]]:
        """(stream, tag, text) of each record."""
        text = Path((await self.status(container_id)).log_path).read_text()
        records = (line.split(" ", 3) for line in text.splitlines())
        return [(stream, tag, rest) for _, stream, tag, rest in records]

    async def load_busybox(self, archive: Path) -> list[str]:
        def requests() -> Iterator[images_pb2.ImportRequest]:
            data = archive.read_bytes()
            for begin in range(0, len(data), 1 << 18):
                yield images_pb2.ImportRequest(data=data[begin : begin + (1 << 18)])

        return list((await self.own_images.Import(requests(), timeout=60)).images)

    async def remove_all(self) -> None:
        """Take every sandbox away."""
        for item in (await self.runtime.ListPodSandbox(criv1.ListPodSandboxRequest(), timeout=10)).items:
            await self.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=item.id), timeout=60)


@contextlib.asynccontextmanager
async def serving(containerd: Containerd) -> AsyncIterator[Shim]:
    """A shim in this process, and a client of it."""
    socket = containerd.data_dir / f"cri-{secrets.token_hex(3)}.sock"
    runtime = ContainerdBackend(containerd.backend_config())
    service = Service(Config(socket), runtime)
    await service.start()
    shim = Shim(socket, containerd, runtime)
    try:
        yield shim
    finally:
        await shim.channel.close()
        await service.stop()


@contextlib.asynccontextmanager
async def shim_process(containerd: Containerd) -> AsyncIterator[tuple[Shim, subprocess.Popen[bytes]]]:
    """A shim in a process of its own, to be killed; and a client of it."""
    socket = containerd.data_dir / "cri-process.sock"
    socket.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-c",
        "import sys; from navarch.runtime_shim.main import main; main(sys.argv[1:])",
        f"--listen={socket}",
        f"--containerd-address={containerd.layout.socket}",
        f"--state-dir={containerd.layout.shim_state}",
        f"--cni-conf-dir={containerd.cni_conf_dir}",
    ]
    with (containerd.data_dir / "shim.log").open("ab") as log:
        # It is to be killed, so it is no asyncio subprocess: those are reaped behind our back.
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)  # noqa: ASYNC220
    shim = Shim(socket, containerd)
    try:
        request = criv1.VersionRequest()
        await shim.runtime.Version(request, timeout=30, wait_for_ready=True)
        yield shim, process
    finally:
        await shim.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
async def shim(containerd: Containerd, busybox_archive: Path) -> AsyncIterator[Shim]:
    """A shim with the busybox image and no sandbox, before and after."""
    async with serving(containerd) as served:
        await served.load_busybox(busybox_archive)
        yield served
        await served.remove_all()
