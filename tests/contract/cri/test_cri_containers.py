"""CreateContainer, StartContainer, StopContainer, RemoveContainer, ContainerStatus, ListContainers."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Code, Peer, differs, refused

State = criv1.ContainerState
NO_CODE = "the plugin's error has no code"


async def listed(cri: Peer, **wanted: object) -> list[str]:
    """Ids, in the order of the answer."""
    request = criv1.ListContainersRequest(filter=criv1.ContainerFilter(**wanted))  # type: ignore[arg-type]
    return [item.id for item in (await cri.runtime.ListContainers(request)).containers]


async def start(cri: Peer, container_id: str) -> None:
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container_id))


async def test_a_created_container_is_what_was_asked_for(cri: Peer, tmp_path: Path) -> None:
    config = cri.container_config("sleep", "1000", name="asked", attempt=2)
    config.mounts.add(container_path="/data", host_path=str(tmp_path), readonly=True)
    config.linux.resources.cpu_shares = 204
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    sandbox_config = cri.sandbox_config(host_network=True)
    before = time.time_ns()
    container = await cri.create(await cri.sandbox(sandbox_config), config)
    assert len(container) == 64
    status = await cri.status(container)
    assert status.id == container
    assert status.metadata == config.metadata
    assert status.state == State.CONTAINER_CREATED
    assert before <= status.created_at <= time.time_ns()
    assert (status.started_at, status.finished_at, status.exit_code) == (0, 0, 0)
    assert (status.reason, status.message) == ("", "")
    assert (status.labels, status.annotations) == (config.labels, config.annotations)
    assert status.image.image == cri.image
    assert status.image_ref
    assert [(m.container_path, m.host_path, m.readonly) for m in status.mounts] == [("/data", str(tmp_path), True)]
    assert status.log_path == f"{sandbox_config.log_directory}/asked-2.log"


@differs("plugin", reason="resources, user and image id of a container came to CRI after containerd 1.6")
async def test_status_tells_resources_user_and_image(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    config.linux.security_context.run_as_user.value = 1000
    config.linux.security_context.supplemental_groups.append(4242)
    status = await cri.status(await cri.container(await cri.sandbox(), config))
    assert status.resources.linux.memory_limit_in_bytes == 64 << 20
    assert (status.user.linux.uid, status.user.linux.gid) == (1000, 1000)
    assert list(status.user.linux.supplemental_groups) == [50, 1000, 4242]
    assert status.image_id.startswith("sha256:")
    assert status.image_ref.startswith("docker.io/library/busybox@sha256:")


async def test_a_container_runs_and_is_stopped(cri: Peer) -> None:
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 1000000 & wait; done"
    container = await cri.create(await cri.sandbox(), cri.container_config("sh", "-c", script))
    await start(cri, container)
    running = await cri.status(container)
    assert running.state == State.CONTAINER_RUNNING
    await until_logged(cri, container)
    assert running.created_at <= running.started_at <= time.time_ns()
    assert running.finished_at == 0
    await cri.stop_container(container)
    ended = await cri.status(container)
    assert ended.state == State.CONTAINER_EXITED
    assert (ended.exit_code, ended.reason) == (0, "Completed")
    assert running.started_at <= ended.finished_at <= time.time_ns()


@pytest.mark.parametrize(("script", "code", "reason"), [("true", 0, "Completed"), ("exit 3", 3, "Error")])
async def test_exit_codes_and_reasons(cri: Peer, script: str, code: int, reason: str) -> None:
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    status = await cri.exited(container)
    assert (status.exit_code, status.reason) == (code, reason)


async def test_out_of_memory_is_told(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "x=a; while :; do x=$x$x; done")
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    status = await cri.exited(await cri.container(await cri.sandbox(), config))
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_a_container_in_a_list(cri: Peer) -> None:
    config = cri.container_config(name="listed")
    sandbox = await cri.sandbox()
    container = await cri.create(sandbox, config)
    answer = await cri.runtime.ListContainers(criv1.ListContainersRequest())
    item = next(item for item in answer.containers if item.id == container)
    status = await cri.status(container)
    assert item.pod_sandbox_id == sandbox
    assert item.metadata == config.metadata
    assert (item.state, item.created_at) == (status.state, status.created_at)
    assert (item.labels, item.annotations) == (config.labels, config.annotations)
    assert item.image.image == cri.image
    expected = cri.where(
        shim=status.image_ref,
        plugin=item.image_ref,
        because="the plugin tells the id in lists, the digest in statuses",
    )
    assert item.image_ref == expected


async def test_filters(cri: Peer) -> None:
    sandbox, other = await cri.sandbox(), await cri.sandbox()
    running = await cri.container(sandbox, cri.container_config(name="running"))
    created = await cri.create(sandbox, cri.container_config(name="created"))
    elsewhere = await cri.create(other, cri.container_config(name="created"))
    state = criv1.ContainerStateValue(state=State.CONTAINER_RUNNING)
    assert set(await listed(cri)) == {running, created, elsewhere}
    assert set(await listed(cri, pod_sandbox_id=sandbox)) == {running, created}
    assert await listed(cri, pod_sandbox_id=other[:13]) == [elsewhere]
    assert await listed(cri, pod_sandbox_id="nosuch") == []
    assert await listed(cri, state=state) == [running]
    assert await listed(cri, id=created) == [created]
    assert await listed(cri, id=created[:13]) == [created]
    assert await listed(cri, id="nosuch") == []
    assert set(await listed(cri, label_selector={"container": "created"})) == {created, elsewhere}
    assert await listed(cri, label_selector={"container": "created", "other": ""}) == []
    assert await listed(cri, pod_sandbox_id=sandbox, label_selector={"container": "created"}) == [created]
    assert await listed(cri, id=created, state=state) == []


@differs("plugin", reason="the streaming lists came to CRI after containerd 1.6")
async def test_streamed_list(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    made = {await cri.create(sandbox, cri.container_config(name=f"c{n}")) for n in range(3)}
    request = criv1.StreamContainersRequest(filter=criv1.ContainerFilter(pod_sandbox_id=sandbox))
    streamed = [answer async for answer in cri.runtime.StreamContainers(request, timeout=30)]
    assert {item.id for answer in streamed for item in answer.containers} == made


async def test_verbose_status(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.container(sandbox, cri.container_config(name="verbose"))
    request = criv1.ContainerStatusRequest(container_id=container, verbose=True)
    info = json.loads((await cri.runtime.ContainerStatus(request)).info["info"])
    assert info["sandboxID"] == sandbox
    assert info["pid"] > 1
    assert (info["snapshotter"], info["runtimeType"]) == ("overlayfs", "io.containerd.runc.v2")
    assert info["config"]["metadata"]["name"] == "verbose"
    assert info["runtimeSpec"]["process"]["args"][0] == "sh"
    assert not (await cri.runtime.ContainerStatus(criv1.ContainerStatusRequest(container_id=container))).info


async def test_an_abbreviated_id_will_do(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    short = container[:12]
    await start(cri, short)
    assert (await cri.status(short)).id == container
    await cri.stop_container(short)
    await cri.remove_container(short)
    assert await listed(cri) == []


async def test_start_twice_is_refused(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    code = cri.where(shim=Code.FAILED_PRECONDITION, plugin=Code.UNKNOWN, because=NO_CODE)
    with refused(code):
        await start(cri, container)
    await cri.stop_container(container)
    with refused(code):
        await start(cri, container)


async def test_starting_what_does_not_exist_ends_the_container(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox(), cri.container_config("/no/such/program"))
    with refused(Code.NOT_FOUND, Code.UNKNOWN, match="no such file"):
        await start(cri, container)
    status = await cri.status(container)
    assert (status.state, status.exit_code, status.reason) == (State.CONTAINER_EXITED, 128, "StartError")
    assert "no such file" in status.message
    assert status.finished_at >= status.created_at


async def test_what_ignores_the_stop_signal_is_killed_after_the_timeout(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000000; done")
    container = await cri.container(await cri.sandbox(), config)
    await until_logged(cri, container)
    before = time.monotonic()
    await cri.stop_container(container, timeout_s=1)
    assert time.monotonic() - before >= 1
    assert ((await cri.status(container)).exit_code, await cri.state(container)) == (137, "EXITED")


async def test_timeout_zero_kills_at_once(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    await cri.stop_container(container, timeout_s=0)
    assert (await cri.status(container)).exit_code == 137


async def test_the_stop_signal_is_sent_once(cri: Peer) -> None:
    script = "trap 'echo told' TERM; echo up; while :; do sleep 1000000 & wait $!; done"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    await until_logged(cri, container)
    await asyncio.gather(*(cri.stop_container(container, timeout_s=1) for _ in range(3)))
    assert [text for _, _, text in await cri.log(container)] == ["up", "told"]


async def until_logged(cri: Peer, container: str) -> None:
    while not (await cri.log(container)):
        await asyncio.sleep(0.02)


async def test_a_start_is_whole_though_its_client_goes_away(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    with refused(Code.DEADLINE_EXCEEDED):
        await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container), timeout=0.02)

    async def is_started() -> bool:
        return await cri.state(container) != "CREATED"

    await until(is_started)
    cancelled = "containerd's plugin ends what it was starting; for it the container has failed to start"
    assert await cri.state(container) in cri.where(shim=("RUNNING",), plugin=("RUNNING", "EXITED"), because=cancelled)


async def test_stop_is_idempotent(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    await asyncio.gather(*(cri.stop_container(container) for _ in range(3)))
    finished = (await cri.status(container)).finished_at
    await cri.stop_container(container)
    assert (await cri.status(container)).finished_at == finished


async def test_stopping_what_was_never_started_changes_nothing(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    await cri.stop_container(container)
    assert await cri.state(container) == "CREATED"


async def test_remove_is_idempotent_and_kills(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    for _ in range(2):
        await cri.remove_container(container)
    assert await listed(cri) == []
    await cri.remove_container("nosuch")


@differs("plugin", reason="containerd 1.6 answers NOT_FOUND; from 1.7 on it is done as it should be")
async def test_what_never_was_is_stopped(cri: Peer) -> None:
    await cri.stop_container("nosuch")


async def test_unknown_ids(cri: Peer) -> None:
    for name in ("nosuch", "", "0" * 64):
        empty = cri.where(shim=Code.NOT_FOUND, plugin=Code.UNKNOWN, because="the plugin has no code for empty ids")
        code = Code.NOT_FOUND if name else empty
        with refused(code):
            await cri.status(name)
        with refused(code):
            await start(cri, name)
        with refused(code):
            await cri.create(name)


async def test_a_name_is_taken_until_the_container_is_removed(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.container(sandbox)
    code = cri.where(shim=Code.ALREADY_EXISTS, plugin=Code.UNKNOWN, because=NO_CODE)
    with refused(code, match="main_"):
        await cri.create(sandbox)
    await cri.stop_container(container)
    with refused(code):
        await cri.create(sandbox)
    await cri.create(sandbox, cri.container_config(attempt=1))
    await cri.create(await cri.sandbox())
    await cri.remove_container(container)
    await cri.create(sandbox)


async def test_of_calls_for_one_name_at_once_one_succeeds(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    answers = await asyncio.gather(*(cri.create(sandbox) for _ in range(5)), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, str)]
    assert await listed(cri) == made
    assert len(made) == 1


async def test_an_absent_image_is_refused_and_the_name_is_free_again(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    config = cri.container_config()
    for image in ("docker.io/library/nosuch:1", "sha256:" + "0" * 64):
        config.image.image = image
        with refused(Code.NOT_FOUND):
            await cri.create(sandbox, config)
    await cri.create(sandbox)
    assert len(await listed(cri)) == 1


@pytest.mark.parametrize("field", ["metadata", "image"])
async def test_a_container_needs_a_name_and_an_image(cri: Peer, field: str) -> None:
    config = cri.container_config()
    config.ClearField(field)
    codes = cri.where(
        shim=(Code.INVALID_ARGUMENT,),
        plugin=(Code.UNKNOWN, Code.NOT_FOUND, Code.INVALID_ARGUMENT),
        because="the plugin looks for an image without a name, and fails on what is missing",
    )
    sandbox = await cri.sandbox()
    with refused(*codes):
        await cri.create(sandbox, config)
    assert await listed(cri) == []


async def test_an_image_by_id_or_digest(cri: Peer) -> None:
    wanted = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=cri.image))
    image = (await cri.images.ImageStatus(wanted)).image
    sandbox = await cri.sandbox()
    for number, name in enumerate((image.id, image.id.removeprefix("sha256:")[:12], "busybox:navarch")):
        config = cri.container_config("true", attempt=number)
        config.image.image = name
        container = await cri.container(sandbox, config)
        assert (await cri.exited(container)).exit_code == 0
        assert (await cri.status(container)).image.image


async def test_containers_of_one_moment(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    configs = [cri.container_config("true", name=f"c{number}") for number in range(8)]
    containers = await asyncio.gather(*(cri.container(sandbox, config) for config in configs))
    assert {(await cri.exited(container)).exit_code for container in containers} == {0}
