"""NamespaceOption: which processes see each other, in which sandbox, and what ends with the first of them."""

import json
import os
import signal

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Code, Peer, refused

Mode = criv1.NamespaceMode
NOT_READY = criv1.PodSandboxState.SANDBOX_NOTREADY
SLEEPER = ("sh", "-c", "exec sleep 1000")


def shared(cri: Peer, name: str = "", *, host_network: bool = True) -> criv1.PodSandboxConfig:
    """A sandbox whose containers share a PID namespace."""
    config = cri.sandbox_config(name, host_network=host_network)
    config.linux.security_context.namespace_options.pid = Mode.POD
    return config


def container(
    cri: Peer, name: str, *command: str, pid: "criv1.NamespaceMode" = Mode.POD, target: str = ""
) -> criv1.ContainerConfig:
    config = cri.container_config(*(command or SLEEPER), name=name)
    config.linux.security_context.namespace_options.pid = pid
    config.linux.security_context.namespace_options.target_id = target
    return config


async def init_pid(cri: Peer, sandbox: str) -> int:
    """Of the sandbox's first process."""
    request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
    return int(json.loads((await cri.runtime.PodSandboxStatus(request)).info["info"])["pid"])


async def names(cri: Peer, container_id: str) -> list[str]:
    """Of the processes that a container sees, by their numbers."""
    script = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(cat $p/comm 2>/dev/null); done"
    found = sorted((int(words[0]), words[1]) for line in (await cri.shell(container_id, script)).splitlines()
                   if len(words := line.split()) == 2)  # fmt: skip
    return [name for _, name in found if name not in ("sh", "cat")]


@pytest.mark.parametrize("host_network", [True, False], ids=["host-network", "pod-network"])
async def test_containers_of_a_pod_see_each_other(cri: Peer, host_network: bool) -> None:
    sandbox = await cri.sandbox(shared(cri, host_network=host_network))
    assert (await cri.sandbox_status(sandbox)).linux.namespaces.options.pid == Mode.POD
    first = await cri.container(sandbox, container(cri, "first"))
    second = await cri.container(sandbox, container(cri, "second", "sh", "-c", "exec tail -f /dev/null"))
    init = cri.where(shim="init", plugin="sleep", because="our init is a program of its own, no image's")
    assert await names(cri, first) == await names(cri, second) == [init, "sleep", "tail"]
    await cri.stop_container(second, 0)
    assert (await cri.status(second)).exit_code == 137
    assert await names(cri, first) == [init, "sleep"]


async def test_one_container_may_keep_to_itself(cri: Peer) -> None:
    sandbox = await cri.sandbox(shared(cri))
    await cri.container(sandbox, container(cri, "open"))
    alone = await cri.container(sandbox, container(cri, "alone", pid=Mode.CONTAINER))
    assert await names(cri, alone) == ["sleep"]


async def test_orphans_are_reaped(cri: Peer) -> None:
    sandbox = await cri.sandbox(shared(cri))
    first = await cri.container(sandbox, container(cri, "first"))
    # The subshell ends at once; its child is process 1's from then on, and ends after that.
    await cri.shell(first, "(sleep 0.1 & echo $! > /tmp/orphan)")

    async def reaped() -> bool:
        return "gone" in await cri.shell(first, "test -d /proc/$(cat /tmp/orphan) || echo gone")

    if cri.where(shim=True, plugin=False, because="the image that stands for pause here does not reap"):
        await until(reaped)


async def test_stopping_ends_every_process(cri: Peer) -> None:
    sandbox = await cri.sandbox(shared(cri))
    container_id = await cri.container(sandbox, container(cri, "left", "sh", "-c", "sleep 1000 & exec sleep 1001"))
    init = await init_pid(cri, sandbox)
    assert init
    await cri.stop(sandbox)
    assert await cri.state(container_id) == "EXITED"
    assert not os.path.exists(f"/proc/{init}")
    assert (await cri.sandbox_status(sandbox)).state == NOT_READY


async def test_with_the_init_the_sandbox_dies(cri: Peer) -> None:
    sandbox = await cri.sandbox(shared(cri, host_network=False))
    container_id = await cri.container(sandbox, container(cri, "dies"))
    os.kill(await init_pid(cri, sandbox), signal.SIGKILL)

    async def not_ready() -> bool:
        return (await cri.sandbox_status(sandbox)).state == NOT_READY

    await until(not_ready)
    assert (await cri.exited(container_id)).exit_code == 137
    with refused(Code.FAILED_PRECONDITION, Code.UNKNOWN, Code.NOT_FOUND):
        await cri.create(sandbox, container(cri, "late"))
    await cri.stop(sandbox)
    await cri.remove(sandbox)


async def test_the_init_bears_no_signal_from_within_and_has_no_privileges(cri: Peer) -> None:
    sandbox = await cri.sandbox(shared(cri))
    first = await cri.container(sandbox, container(cri, "first"))
    await cri.shell(first, "kill -TERM 1; kill -KILL 1")
    if cri.where(shim=True, plugin=False, because="its pause is what its operator chose"):
        status = await cri.shell(first, "cat /proc/1/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
        assert fields["Uid"].split()[0] == "65535"
        assert "denied" in (await cri.exec(first, "ls", "/proc/1/root/")).stderr.decode()
    assert "sleep" in await names(cri, first)


async def test_the_host_s_processes(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=True)
    config.linux.security_context.namespace_options.pid = Mode.NODE
    sandbox = await cri.sandbox(config)
    container_id = await cri.container(sandbox, container(cri, "host", pid=Mode.NODE))
    own = (await cri.shell(container_id, "readlink /proc/self/ns/pid")).strip()
    assert own == os.readlink("/proc/self/ns/pid")


async def test_joining_another_container_s_processes(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=True)
    first = await cri.container(sandbox, container(cri, "first", pid=Mode.CONTAINER))
    debug = await cri.container(
        sandbox, container(cri, "debug", "sh", "-c", "exec tail -f /dev/null", pid=Mode.TARGET, target=first)
    )
    assert await names(cri, debug) == ["sleep", "tail"]
    await cri.stop_container(debug, 0)
    await cri.remove_container(debug)
    assert await names(cri, first) == ["sleep"]
    assert await cri.state(first) == "RUNNING"


async def test_targets_that_can_not_be_joined(cri: Peer) -> None:
    sandbox, other = await cri.sandbox(), await cri.sandbox()
    stranger = await cri.container(other, container(cri, "stranger", pid=Mode.CONTAINER))
    idle = await cri.create(sandbox, container(cri, "idle", pid=Mode.CONTAINER))
    for target, code in (
        ("nosuch", Code.NOT_FOUND),
        (stranger, Code.INVALID_ARGUMENT),
        (idle, Code.FAILED_PRECONDITION),
    ):
        known = code if target == "nosuch" else Code.UNKNOWN
        with refused(cri.where(shim=code, plugin=known, because="the plugin's own errors have no codes")):
            await cri.create(sandbox, container(cri, "debug", pid=Mode.TARGET, target=target))


async def test_resources_of_the_pod_as_a_whole_are_remembered(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=True)
    config.linux.overhead.cpu_shares = 77
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    request = criv1.PodSandboxStatusRequest(pod_sandbox_id=await cri.sandbox(config), verbose=True)
    linux = json.loads((await cri.runtime.PodSandboxStatus(request)).info["info"])["config"]["linux"]
    assert int(linux["overhead"]["cpu_shares"]) == 77
    assert int(linux["resources"]["memory_limit_in_bytes"]) == 64 << 20


async def test_a_sandbox_has_no_target(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=True)
    config.linux.security_context.namespace_options.pid = Mode.TARGET
    if cri.where(shim=True, plugin=False, because="the plugin makes it a PID namespace of its own"):
        with refused(Code.INVALID_ARGUMENT):
            await cri.sandbox(config)
    else:
        await cri.sandbox(config)
