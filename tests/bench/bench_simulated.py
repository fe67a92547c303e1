"""Thousands of simulated Pods in one process: time to start them, to list them, memory, and cost of doing nothing.

    python tests/bench/bench_simulated.py [--pods 1000,10000]

The backend is asked directly: what gRPC costs is in the other benchmarks.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.services.base.clock import SystemClock

IMAGE = "example.com/app:1"
LISTS = 10
IDLE_S = 5.0


async def start(backend: SimulatedBackend, logs: Path, number: int) -> None:
    """A Pod with a container, as a kubelet starts it."""
    metadata = criv1.PodSandboxMetadata(name=f"pod-{number}", uid=str(number), namespace="default")
    pod = criv1.PodSandboxConfig(metadata=metadata, log_directory=str(logs / str(number)), labels={"app": "bench"})
    sandbox = (await backend.runtime.run_pod_sandbox(criv1.RunPodSandboxRequest(config=pod))).pod_sandbox_id
    container = criv1.ContainerConfig(
        metadata=criv1.ContainerMetadata(name="main"), image=criv1.ImageSpec(image=IMAGE), log_path="main.log"
    )
    request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox, config=container, sandbox_config=pod)
    container_id = (await backend.runtime.create_container(request)).container_id
    await backend.runtime.start_container(criv1.StartContainerRequest(container_id=container_id))


async def measure(pods: int) -> str:
    """A line of the table."""
    process = psutil.Process()
    backend = SimulatedBackend("10.0.0.0/15", SystemClock(), lambda: secrets.token_hex(32))
    await backend.start()
    await backend.images.pull_image(criv1.PullImageRequest(image=criv1.ImageSpec(image=IMAGE)))
    before, begin = process.memory_info().rss, time.perf_counter()
    with tempfile.TemporaryDirectory() as logs:
        for number in range(pods):
            await start(backend, Path(logs), number)
        started_s, memory = time.perf_counter() - begin, process.memory_info().rss - before
        listed = [await _list_s(backend) for _ in range(LISTS)]
        used = time.process_time()
        await asyncio.sleep(IDLE_S)
        idle = (time.process_time() - used) / IDLE_S
    await backend.stop()
    return (
        f"| {pods} | {started_s / pods * 1e6:.0f} | {listed[0] * 1e3:.1f} | {min(listed) * 1e3:.1f} | "
        f"{memory / pods / 1024:.1f} | {idle * 100:.2f} |"
    )


async def _list_s(backend: SimulatedBackend) -> float:
    begin = time.perf_counter()
    answer = await backend.runtime.list_containers(criv1.ListContainersRequest())
    answer.SerializeToString()
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pods", default="1000,10000")
    print("| Pods | us to start one | first list, ms | further lists, ms | KiB a Pod | % of a processor, idle |")
    print("|--:|--:|--:|--:|--:|--:|")
    for pods in options.parse_args().pods.split(","):
        print(uvloop.run(measure(int(pods))), flush=True)


if __name__ == "__main__":
    main()
