"""Something is killed at each step of a sandbox's life, or of a pull; whoever comes after finds it whole, or nothing.

Step by step: the shim itself, containerd, the containerd-shims, or runc is killed there by SIGKILL (`crash_points`).
Then what died is started again, the same is asked for once more as a kubelet would, and the host must be as before.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.crash_points import VICTIMS
from navarch.testing.cri_client import CriClient, until
from navarch.testing.faulty_registry import Registry, an_image, serving
from navarch.testing.host_state import HostState, host_state
from navarch.testing.private_containerd import IMAGE, SHIM, PrivateContainerd

SOAK = bool(os.environ.get("NAVARCH_SOAK"))
# Every step, or in the usual run each so many, other ones for each victim.
STRIDE = 1 if SOAK else 90
# No life has more steps; one that has would never be found to end.
MOST_STEPS = 300
# A life that meets an obstacle is asked for again, as a kubelet does.
PATIENCE_S = 60.0
# Of the layer that is pulled: some pieces.
LAYER_BYTES = 4 << 20
Life = Callable[[CriClient, int], Awaitable[None]]
PROGRAM = (sys.executable, "-m", "navarch.testing.crash_points")


@dataclass
class Bench:
    """The processes of one test, those that are killed included. life: what is asked for, with the try's number."""

    containerd: PrivateContainerd
    logs: Path
    life: Life
    steps: list[str] = field(default_factory=list)

    @property
    def daemon(self) -> subprocess.Popen[bytes]:
        """containerd."""
        return self.containerd.processes[0]

    def revive(self) -> None:
        """Start again what is dead."""
        if self.daemon.poll() is not None:
            self.containerd.kill(self.daemon)
            self.containerd.start_containerd()
            # In the place that the first one had: the shim may have survived.
            self.containerd.processes.insert(0, self.containerd.processes.pop())
        if len(self.containerd.processes) == 1 or self.containerd.processes[1].poll() is not None:
            self.restart_shim()

    def restart_shim(self, *options: str, program: Sequence[str] = SHIM) -> None:
        """A shim in place of the one that is there."""
        for old in self.containerd.processes[1:]:
            self.containerd.kill(old)
        self.containerd.start_shim(*options, program=program)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[CriClient]:
        client = CriClient(self.containerd.shim_socket, IMAGE, self.containerd.cgroup_root, self.logs)
        try:
            yield client
        finally:
            await client.channel.close()


async def life(cri: CriClient, attempt: int, *, is_shared: bool) -> None:
    """A sandbox with a container, from begin to end. is_shared: with all that is made of namespaces and snapshots."""
    config = cri.sandbox_config("life")
    config.metadata.attempt = attempt
    container_config = cri.container_config()
    if is_shared:
        container_config.mounts.add(container_path="/volume", readonly=True, image=criv1.ImageSpec(image=IMAGE))
        for linux in (config.linux, container_config.linux):
            options = linux.security_context.namespace_options
            options.pid, options.userns_options.mode = criv1.NamespaceMode.POD, criv1.NamespaceMode.POD
            for lines in (options.userns_options.uids, options.userns_options.gids):
                lines.add(container_id=0, host_id=3_000_000, length=65536)
    sandbox = (await cri.runtime.RunPodSandbox(criv1.RunPodSandboxRequest(config=config))).pod_sandbox_id
    request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox, config=container_config, sandbox_config=config)
    container = (await cri.runtime.CreateContainer(request)).container_id
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
    await cri.exec(container, "true")
    await cri.stop_container(container, timeout_s=2)
    await cri.remove_container(container)
    await cri.stop(sandbox)
    await cri.remove(sandbox)


async def pull(cri: CriClient, attempt: int, *, name: str) -> None:
    """An image from its first byte to its removal."""
    image = criv1.ImageSpec(image=name)
    image_id = (await cri.images.PullImage(criv1.PullImageRequest(image=image))).image_ref
    assert (await cri.images.ImageStatus(criv1.ImageStatusRequest(image=image))).image.id == image_id
    await cri.images.RemoveImage(criv1.RemoveImageRequest(image=image))


async def clear(cri: CriClient) -> None:
    """Stop and remove all that there is."""
    for item in (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items:
        await cri.stop(item.id)
        await cri.remove(item.id)
    assert not (await cri.runtime.ListContainers(criv1.ListContainersRequest())).containers


async def converged(bench: Bench, before: HostState, attempt: int) -> None:
    """After a kill: what died comes back, a new life can be lived, and in the end nothing is left."""
    failure: object = None

    async def is_whole() -> bool:
        nonlocal failure
        bench.revive()
        try:
            async with bench.client() as cri:
                await clear(cri)
                await bench.life(cri, attempt)
        except grpc.aio.AioRpcError as error:
            # containerd has just come back, or a kill shows late.
            failure = error.details()
            return False
        left = (await asyncio.to_thread(host_state, bench.containerd)).differences(before)
        failure = left
        if left and all(one.startswith("bundles: left behind") for one in left):
            # A `runc init` whose runc died writes on into the bundle that containerd removes. The next start takes it.
            bench.daemon.kill()
            bench.daemon.wait()
        return not left

    try:
        await until(is_whole, PATIENCE_S)
    except TimeoutError:
        raise AssertionError(f"after a kill {bench.steps[-1]}: {failure}") from None


async def sweep(bench: Bench, victim: str, folder: Path) -> None:
    """Live a life for each step in it, with a kill there."""
    async with bench.client() as cri:
        await bench.life(cri, 0)
    before = host_state(bench.containerd)
    for number in range(1 + 4 * VICTIMS.index(victim) % STRIDE, MOST_STEPS, STRIDE):
        log = folder / f"step-{number}"
        options = [f"--at={number}", f"--kill={victim}", f"--log={log}", f"--pid={bench.daemon.pid}"]
        bench.restart_shim(*options, program=PROGRAM)
        async with bench.client() as cri:
            try:
                await bench.life(cri, 2 * number)
            except grpc.aio.AioRpcError as failure:
                assert log.exists(), f"nothing was killed, and yet: {failure.details()}"
        if not log.exists():
            break
        bench.steps.append(f"{number}, {log.read_text()}")
        await converged(bench, before, 2 * number + 1)
    else:
        pytest.fail(f"a life has more than {MOST_STEPS} steps")
    bench.restart_shim()
    print(f"{victim}: killed at {len(bench.steps)} steps, the last {bench.steps[-1]}")


@pytest.mark.parametrize(
    ("victim", "is_shared"),
    [
        pytest.param("shim", False, id="shim"),
        pytest.param("shim", True, id="shim of shared namespaces"),
        pytest.param("containerd", False, id="containerd"),
        pytest.param("containerd-shim", False, id="containerd-shim"),
        pytest.param("runc", False, id="runc"),
    ],
)
@pytest.mark.timeout(3600 if SOAK else 600)
async def test_killed_at_each_step(containerd: PrivateContainerd, tmp_path: Path, victim: str, is_shared: bool) -> None:
    bench = Bench(containerd, tmp_path / "logs", partial(life, is_shared=is_shared))
    await sweep(bench, victim, tmp_path)
    assert len(bench.steps) > 30 // STRIDE


@pytest.mark.parametrize("victim", ["shim", "containerd"])
@pytest.mark.timeout(3600 if SOAK else 600)
async def test_killed_at_each_step_of_a_pull(containerd: PrivateContainerd, tmp_path: Path, victim: str) -> None:
    async with serving(Registry()) as registry:
        registry.add(an_image(LAYER_BYTES), "v1")
        bench = Bench(containerd, tmp_path / "logs", partial(pull, name=f"{registry.host}/life:v1"))
        await sweep(bench, victim, tmp_path)
    assert len(bench.steps) > 20 // STRIDE
