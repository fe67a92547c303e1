"""Many sandboxes come and go, twenty at once; then the host is exactly as before."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import CriClient, until
from navarch.testing.host_state import HostState, host_state
from navarch.testing.private_containerd import IMAGE, PrivateContainerd

SANDBOXES = 500 if os.environ.get("NAVARCH_SOAK") else 40
AT_ONCE = 20
# Connections that come and go.
SPARE_FILES = 4
Code = grpc.StatusCode


@pytest.fixture
async def cri(containerd: PrivateContainerd, tmp_path: Path) -> AsyncIterator[CriClient]:
    """A client of the shim, warm: the bridge is there, and what is made once is made."""
    client = CriClient(containerd.shim_socket, IMAGE, containerd.cgroup_root, tmp_path / "logs")
    await client.container(await client.sandbox(host_network=False))
    await life(client, random.Random(0), 0)
    yield client
    await client.clean_up()


async def life(cri: CriClient, rng: random.Random, number: int) -> None:
    """One sandbox from begin to end, in one of the ways that there are."""
    sandbox = await cri.sandbox(host_network=number % 5 == 0)
    container = await cri.container(sandbox)
    match rng.randrange(4):
        case 0:
            assert (await cri.exec(container, "true")).exit_code == 0
        case 1:
            await cri.stop_container(container, timeout_s=1)
            await cri.remove_container(container)
        case 2:
            await cri.container(sandbox, cri.container_config("true", name="second"))
    if rng.random() < 0.5:
        await cri.stop(sandbox)
    await cri.remove(sandbox)


async def unchanged(containerd: PrivateContainerd, before: HostState) -> None:
    """containerd's garbage and dying processes take a moment. Raises with what is left."""

    async def is_unchanged() -> bool:
        return not (await asyncio.to_thread(host_state, containerd)).differences(before)

    try:
        await until(is_unchanged, 20)
    except TimeoutError:
        raise AssertionError("\n".join(host_state(containerd).differences(before))) from None


def descriptors(containerd: PrivateContainerd) -> list[int]:
    """How many files containerd and the shim have open."""
    return [len(os.listdir(f"/proc/{process.pid}/fd")) for process in containerd.processes]


@pytest.mark.timeout(1200)
async def test_churn(containerd: PrivateContainerd, cri: CriClient) -> None:
    before = host_state(containerd)
    files = descriptors(containerd)
    rng = random.Random(500)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await life(cri, rng, number)

    begin = time.monotonic()
    await asyncio.gather(*map(one, range(SANDBOXES)))
    print(f"{SANDBOXES} sandboxes in {time.monotonic() - begin:.1f} s")
    await unchanged(containerd, before)
    for now, then in zip(descriptors(containerd), files, strict=True):
        assert now <= then + SPARE_FILES


async def give_up(work: Awaitable[object], rng: random.Random) -> None:
    """Wait for some time only."""
    with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
        await asyncio.wait_for(work, rng.random() * 0.2)


@pytest.mark.timeout(600)
async def test_clients_that_give_up(containerd: PrivateContainerd, cri: CriClient) -> None:
    """A call that is cancelled half way leaves no name that is taken, and nothing else."""
    before = host_state(containerd)
    rng = random.Random(20)

    async def hurried(number: int) -> None:
        config = cri.sandbox_config(f"hurried-{number}", host_network=number % 5 == 0)
        async with asyncio.timeout(60):
            while True:
                try:
                    sandbox = await cri.sandbox(config)
                    break
                except grpc.aio.AioRpcError as failure:
                    # The one that was given up is still being made, or unmade.
                    assert failure.code() is Code.ALREADY_EXISTS, failure
        container_config = cri.container_config()
        await give_up(cri.create(sandbox, container_config), rng)
        await give_up(cri.remove(sandbox), rng)
        await cri.remove(sandbox)

    for _ in range(2):
        for batch in range(0, AT_ONCE, 10):
            names = range(batch, batch + 10)
            configs = [cri.sandbox_config(f"hurried-{number}", host_network=number % 5 == 0) for number in names]
            requests = (criv1.RunPodSandboxRequest(config=config) for config in configs)
            await asyncio.gather(*(give_up(cri.runtime.RunPodSandbox(request), rng) for request in requests))
            # Some were made all the same, just when their clients left: whoever lists finds and removes them.
            for item in (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items:
                if item.metadata.name.startswith("hurried-"):
                    await cri.remove(item.id)
            await asyncio.gather(*map(hurried, names))
    await unchanged(containerd, before)


async def start(cri: CriClient, container: str) -> None:
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))


async def test_removed_while_starting(containerd: PrivateContainerd, cri: CriClient) -> None:
    before = host_state(containerd)
    for number in range(10):
        sandbox = await cri.sandbox(host_network=True)
        container = await cri.create(sandbox)
        starting = asyncio.ensure_future(start(cri, container))
        await asyncio.sleep(number * 0.01)
        await cri.remove(sandbox)
        await asyncio.gather(starting, return_exceptions=True)
    await unchanged(containerd, before)


async def test_twice(containerd: PrivateContainerd, cri: CriClient) -> None:
    before = host_state(containerd)
    config = cri.sandbox_config()
    made = await asyncio.gather(
        *(cri.runtime.RunPodSandbox(criv1.RunPodSandboxRequest(config=config)) for _ in range(5)),
        return_exceptions=True,
    )
    (sandbox,) = [one.pod_sandbox_id for one in made if isinstance(one, criv1.RunPodSandboxResponse)]
    refused = [one.code() for one in made if isinstance(one, grpc.aio.AioRpcError)]
    assert refused == [Code.ALREADY_EXISTS] * 4
    container = await cri.container(sandbox)
    await asyncio.gather(*(cri.stop_container(container, timeout_s=1) for _ in range(5)))
    await asyncio.gather(*(cri.remove_container(container) for _ in range(5)))
    await asyncio.gather(*(cri.stop(sandbox) for _ in range(5)), *(cri.remove(sandbox) for _ in range(5)))
    await unchanged(containerd, before)


async def test_nothing_escapes_the_look(containerd: PrivateContainerd, cri: CriClient) -> None:
    """The look at the host sees a sandbox in all that it consists of; the rest is of pulls, plugins, the shim."""
    before = host_state(containerd)
    sandbox = await cri.sandbox(host_network=False)
    await cri.container(sandbox)
    seen = {difference.partition(":")[0] for difference in host_state(containerd).differences(before)}
    assert seen == set(before.facts) - {"filters", "routes", "leases", "content", "downloads", "log keepers"}
    await cri.remove(sandbox)
    await unchanged(containerd, before)
