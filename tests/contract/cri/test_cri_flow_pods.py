"""Pods as kubelets run them: several containers, restarts, signals, input."""

import asyncio
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Peer, differs
from .registry import registry
from .variants import variant

TRAPS = 'for s in TERM INT USR1 HUP; do trap "echo $s; exit 9" $s; done; echo ready; while :; do sleep 0.05; done'
PORT = "4321"


async def remove_image(cri: Peer, name: str) -> None:
    await cri.images.RemoveImage(criv1.RemoveImageRequest(image=criv1.ImageSpec(image=name)))


async def texts(cri: Peer, container: str) -> list[str]:
    return [text for _, _, text in await cri.log(container)]


async def test_containers_of_one_pod_talk_over_its_loopback(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    server = await cri.container(
        sandbox, cri.container_config("sh", "-c", f"echo served | nc -l -p {PORT}", name="server")
    )
    script = f"until nc 127.0.0.1 {PORT} </dev/null; do sleep 0.05; done"
    client = await cri.container(sandbox, cri.container_config("sh", "-c", script, name="client"))
    assert (await cri.exited(client)).exit_code == 0
    await cri.exited(server)
    assert await texts(cri, client) == ["served"]
    assert await texts(cri, server) == []


async def test_a_container_that_ends_at_once_is_started_again_at_once(cri: Peer) -> None:
    """As one ends, and with it perhaps what served all of its sandbox, the next one begins."""
    sandbox = await cri.sandbox()
    for attempt in range(12):
        container = await cri.container(sandbox, cri.container_config("true", attempt=attempt))
        assert (await cri.exited(container)).exit_code == 0


async def test_a_sandbox_outlives_its_containers(cri: Peer) -> None:
    """First what prepares, then what works, then it anew: one network all the time, and a log for each."""
    sandbox = await cri.sandbox(host_network=False)
    address = (await cri.sandbox_status(sandbox)).network.ip
    ran: list[str] = []
    for name, attempt in (("prepare", 0), ("work", 0), ("work", 1)):
        script = f"echo {name} {attempt}; ip -o -4 addr show eth0 | grep -o 'inet [0-9.]*'"
        config = cri.container_config("sh", "-c", script, name=name, attempt=attempt)
        ran.append(await cri.container(sandbox, config))
        assert (await cri.exited(ran[-1])).exit_code == 0
    for container, said in zip(ran, ("prepare 0", "work 0", "work 1"), strict=True):
        assert await texts(cri, container) == [said, f"inet {address}"]
    assert (await cri.sandbox_status(sandbox)).state == criv1.PodSandboxState.SANDBOX_READY
    await cri.stop(sandbox)
    answer = await cri.runtime.ListContainers(criv1.ListContainersRequest(filter={"pod_sandbox_id": sandbox}))
    assert {item.id for item in answer.containers} == {*ran}
    await cri.remove(sandbox)
    answer = await cri.runtime.ListContainers(criv1.ListContainersRequest(filter={"pod_sandbox_id": sandbox}))
    assert not answer.containers


async def test_exec_and_signals_reach_the_container_that_is_named(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    one, two = [await cri.container(sandbox, cri.container_config(name=name)) for name in ("one", "two")]
    await asyncio.gather(*(cri.shell(c, f"echo {n} > /tmp/name") for n, c in (("one", one), ("two", two))))
    assert [await cri.shell(c, "cat /tmp/name") for c in (one, two)] == ["one\n", "two\n"]
    await cri.stop_container(one)
    assert [await cri.state(c) for c in (one, two)] == ["EXITED", "RUNNING"]


async def stopped(cri: Peer, config: criv1.ContainerConfig) -> tuple[list[str], int]:
    """What a container with the traps says when it is stopped, and its exit code."""
    container = await cri.container(await cri.sandbox(), config)

    async def ready() -> bool:
        return await texts(cri, container) == ["ready"]

    await until(ready)
    await cri.stop_container(container, 20)
    status = await cri.exited(container)
    return (await texts(cri, container))[1:], status.exit_code


@pytest.mark.parametrize(("signal", "name"), [("", "TERM"), ("SIGUSR1", "USR1"), ("INT", "INT"), ("1", "HUP")])
async def test_the_stop_signal_of_the_image(cri: Peer, tmp_path: Path, signal: str, name: str) -> None:
    image = variant(tmp_path / "image.tar", StopSignal=signal, Labels={"of": tmp_path.name})
    async with registry(image) as host:
        await cri.images.PullImage(criv1.PullImageRequest(image=criv1.ImageSpec(image=f"{host}/app:navarch")))
    config = cri.container_config("sh", "-c", TRAPS)
    config.image.image = f"{host}/app:navarch"
    assert await stopped(cri, config) == ([name], 9)
    await remove_image(cri, f"{host}/app:navarch")


@differs("plugin", reason="stop_signal came to CRI after containerd 1.6")
async def test_the_stop_signal_of_the_pod_comes_first(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", TRAPS)
    config.stop_signal = criv1.Signal.SIGUSR1
    assert await stopped(cri, config) == (["USR1"], 9)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_shell_with_input_waits_for_it(cri: Peer, tty: bool) -> None:
    config = cri.container_config("sh", "-c", "read line; echo got $line")
    config.stdin, config.tty = True, tty
    container = await cri.container(await cri.sandbox(), config)
    assert (await cri.exec(container, "true")).exit_code == 0
    assert await cri.state(container) == "RUNNING"


async def test_a_shell_without_input_is_at_its_end_at_once(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", "read line || exit 5"))
    assert (await cri.exited(container)).exit_code == 5
