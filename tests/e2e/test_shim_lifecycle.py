"""Sandboxes and containers through CRI, as a kubelet drives them."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.leftovers import shim_processes

from .conftest import IMAGE, Shim, until

Event = criv1.ContainerEventType


async def test_version_and_status(shim: Shim) -> None:
    version = await shim.runtime.Version(criv1.VersionRequest())
    assert (version.runtime_name, version.runtime_api_version) == ("navarch", "v1")
    status = await shim.runtime.Status(criv1.StatusRequest())
    assert {c.type: c.status for c in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    config = await shim.runtime.RuntimeConfig(criv1.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == criv1.CgroupDriver.CGROUPFS


async def test_a_pod_from_start_to_end(shim: Shim) -> None:
    config = shim.pod("whole")
    sandbox = await shim.run_pod(config)
    status = (await shim.runtime.PodSandboxStatus(criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox))).status
    assert status.state == criv1.PodSandboxState.SANDBOX_READY
    assert status.network.ip.startswith("10.213.")

    script = "echo out; echo err >&2; hostname; trap 'exit 3' TERM; while :; do sleep 0.05; done"
    container = await shim.start(sandbox, shim.container("sh", "-c", script))
    running = await shim.status(container)
    assert running.state == criv1.ContainerState.CONTAINER_RUNNING
    assert running.image_id.startswith("sha256:")
    assert running.image_ref.startswith("docker.io/library/busybox@sha256:")
    address = await shim.exec(container, "ip", "-4", "addr", "show", "eth0")
    assert status.network.ip in address.stdout.decode()

    await shim.runtime.StopContainer(criv1.StopContainerRequest(container_id=container, timeout=10))
    ended = await shim.status(container)
    assert (ended.exit_code, ended.reason) == (3, "Error")
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert set(await shim.log(container)) == {("stdout", "F", "out"), ("stderr", "F", "err"), ("stdout", "F", "whole")}

    await shim.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    stopped = await shim.runtime.PodSandboxStatus(criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox))
    assert stopped.status.state == criv1.PodSandboxState.SANDBOX_NOTREADY
    await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert not (await shim.runtime.ListContainers(criv1.ListContainersRequest())).containers
    assert_no_leftovers(shim)


async def test_stop_and_remove_are_idempotent(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("twice"))
    container = await shim.start(sandbox, shim.container())
    for _ in range(2):
        await shim.runtime.StopContainer(criv1.StopContainerRequest(container_id=container, timeout=0))
        await shim.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    for _ in range(2):
        await shim.runtime.RemoveContainer(criv1.RemoveContainerRequest(container_id=container))
        await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))


async def test_removing_a_sandbox_kills_and_removes_what_is_in_it(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("forced"))
    await shim.start(sandbox, shim.container(name="one"))
    await shim.create(sandbox, shim.container(name="two"))
    await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert_no_leftovers(shim)


async def test_what_ignores_sigterm_is_killed_after_the_timeout(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("stubborn"))
    container = await shim.start(sandbox, shim.container())
    await shim.runtime.StopContainer(criv1.StopContainerRequest(container_id=container, timeout=1))
    assert (await shim.status(container)).exit_code == 137


@pytest.mark.parametrize(("script", "code", "reason"), [("true", 0, "Completed"), ("exit 255", 255, "Error")])
async def test_exit_codes_and_reasons(shim: Shim, script: str, code: int, reason: str) -> None:
    sandbox = await shim.run_pod(shim.pod("exits", host_network=True))
    container = await shim.start(sandbox, shim.container("sh", "-c", script))
    status = await shim.exited(container)
    assert (status.exit_code, status.reason) == (code, reason)


async def test_out_of_memory_is_told(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("oom", host_network=True))
    config = shim.container("sh", "-c", "x=a; while :; do x=$x$x; done")
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    status = await shim.exited(await shim.start(sandbox, config))
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_a_command_that_does_not_exist(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("nosuch", host_network=True))
    container = await shim.create(sandbox, shim.container("/no/such/program"))
    with pytest.raises(grpc.aio.AioRpcError, match="no such file") as failure:
        await shim.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
    status = await shim.status(container)
    assert (status.exit_code, status.reason) == (128, "StartError")
    assert status.message == failure.value.details()
    assert status.state == criv1.ContainerState.CONTAINER_EXITED


async def test_events_tell_the_whole_story(shim: Shim) -> None:
    events = shim.runtime.GetContainerEvents(criv1.GetEventsRequest())
    seen: list[tuple[str, int]] = []

    async def follow() -> AsyncIterator[criv1.ContainerEventResponse]:
        async for event in events:
            seen.append((event.container_id, event.container_event_type))
            yield event

    stream = follow()
    # The first event proves that the stream stands.
    first = asyncio.ensure_future(anext(stream))
    while not first.done():
        probe = await shim.run_pod(shim.pod("probe", host_network=True))
        await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=probe))
        await asyncio.sleep(0.01)

    sandbox = await shim.run_pod(shim.pod("told"))
    container = await shim.start(sandbox, shim.container("true"))
    await shim.exited(container)
    await shim.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await shim.runtime.RemoveContainer(criv1.RemoveContainerRequest(container_id=container))
    await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    async with asyncio.timeout(20):
        async for event in stream:
            if event.container_id == container and event.container_event_type == Event.CONTAINER_STOPPED_EVENT:
                assert event.containers_statuses[0].state == criv1.ContainerState.CONTAINER_EXITED
                assert event.pod_sandbox_status.id == sandbox
            if (event.container_id, event.container_event_type) == (sandbox, Event.CONTAINER_DELETED_EVENT):
                break
    events.cancel()
    story = list(Event.values())
    assert [kind for subject, kind in seen if subject == container] == story
    assert [kind for subject, kind in seen if subject == sandbox] == story


async def test_names_are_taken_only_once_and_free_after_a_failure(shim: Shim) -> None:
    config = shim.pod("named")
    sandbox = await shim.run_pod(config)
    with pytest.raises(grpc.aio.AioRpcError, match="exists already"):
        await shim.run_pod(config)
    broken = shim.container()
    broken.image.image = "docker.io/library/nosuch:1"
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError, match="not present"):
            await shim.create(sandbox, broken)
    await shim.create(sandbox, shim.container())
    with pytest.raises(grpc.aio.AioRpcError, match="exists already"):
        await shim.create(sandbox, shim.container())


async def test_a_call_that_its_client_gave_up_leaves_nothing(shim: Shim) -> None:
    for delay_s in (0.0, 0.003, 0.01, 0.02):
        call = shim.runtime.RunPodSandbox(criv1.RunPodSandboxRequest(config=shim.pod("given-up")))
        await asyncio.sleep(delay_s)
        call.cancel()

        async def possible() -> bool:
            # Either the call is being undone, or it was quicker than we were.
            try:
                await shim.run_pod(shim.pod("given-up"))
            except grpc.aio.AioRpcError as failure:
                if failure.code() != grpc.StatusCode.ALREADY_EXISTS:
                    raise
                return False
            finally:
                await shim.remove_all()
            return True

        await until(possible)
    assert_no_leftovers(shim)


async def test_lists_filter_by_state_labels_and_id(shim: Shim) -> None:
    first = await shim.run_pod(shim.pod("first", host_network=True))
    second = await shim.run_pod(shim.pod("second", host_network=True))
    await shim.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=second))
    running = await shim.start(first, shim.container(name="running"))
    created = await shim.create(first, shim.container(name="created"))

    async def sandboxes(**wanted: object) -> set[str]:
        request = criv1.ListPodSandboxRequest(filter=criv1.PodSandboxFilter(**wanted))  # type: ignore[arg-type]
        return {item.id for item in (await shim.runtime.ListPodSandbox(request)).items}

    async def containers(**wanted: object) -> set[str]:
        request = criv1.ListContainersRequest(filter=criv1.ContainerFilter(**wanted))  # type: ignore[arg-type]
        return {item.id for item in (await shim.runtime.ListContainers(request)).containers}

    ready = criv1.PodSandboxStateValue(state=criv1.PodSandboxState.SANDBOX_READY)
    assert await sandboxes() == {first, second}
    assert await sandboxes(state=ready) == {first}
    assert await sandboxes(label_selector={"app": "second"}) == {second}
    assert await sandboxes(id=first[:13]) == {first}
    state = criv1.ContainerStateValue(state=criv1.ContainerState.CONTAINER_RUNNING)
    assert await containers(pod_sandbox_id=first) == {running, created}
    assert await containers(state=state) == {running}
    assert await containers(label_selector={"container": "created"}) == {created}
    assert await containers(pod_sandbox_id=second) == set()
    streamed = [answer async for answer in shim.runtime.StreamContainers(criv1.StreamContainersRequest())]
    assert {item.id for answer in streamed for item in answer.containers} == {running, created}


async def test_unknown_ids_and_unserved_calls(shim: Shim) -> None:
    for call, code in (
        (shim.runtime.ContainerStatus(criv1.ContainerStatusRequest(container_id="nosuch")), "NOT_FOUND"),
        (shim.runtime.PodSandboxStatus(criv1.PodSandboxStatusRequest(pod_sandbox_id="nosuch")), "NOT_FOUND"),
        (shim.runtime.ExecSync(criv1.ExecSyncRequest(container_id="nosuch", cmd=["true"])), "NOT_FOUND"),
        (shim.runtime.Exec(criv1.ExecRequest(container_id="nosuch", cmd=["true"], stdout=True)), "NOT_FOUND"),
        (shim.runtime.CheckpointContainer(criv1.CheckpointContainerRequest()), "UNIMPLEMENTED"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        assert failure.value.code() == grpc.StatusCode[code]


async def test_refused_configurations(shim: Shim) -> None:
    slice_of_systemd = shim.pod("slice")
    slice_of_systemd.linux.cgroup_parent = "a-b.slice"
    foreign_sysctl = shim.pod("sysctl")
    foreign_sysctl.linux.sysctls["vm.swappiness"] = "1"
    for config, words in ((slice_of_systemd, "the cgroup driver is cgroupfs"), (foreign_sysctl, "vm.swappiness")):
        with pytest.raises(grpc.aio.AioRpcError, match=words):
            await shim.run_pod(config)
    assert_no_leftovers(shim)


async def test_sandbox_settings_reach_the_container(shim: Shim) -> None:
    config = shim.pod("settings")
    config.dns_config.servers.append("192.0.2.53")
    config.dns_config.searches.extend(["default.svc.cluster.local", "cluster.local"])
    config.dns_config.options.append("ndots:5")
    config.linux.sysctls["net.ipv4.ip_unprivileged_port_start"] = "0"
    sandbox = await shim.run_pod(config)
    one = await shim.start(sandbox, shim.container(name="one"))
    two = await shim.start(sandbox, shim.container(name="two"))
    script = "cat /etc/resolv.conf /etc/hosts /etc/hostname /proc/sys/net/ipv4/ip_unprivileged_port_start"
    text = (await shim.exec(one, "sh", "-c", script)).stdout.decode()
    assert "search default.svc.cluster.local cluster.local\nnameserver 192.0.2.53\noptions ndots:5\n" in text
    assert "\tsettings\n" in text
    assert text.endswith("settings\n0\n")
    # What the containers of a Pod share: network, IPC and /dev/shm; not processes.
    await shim.exec(one, "sh", "-c", "echo shared > /dev/shm/file; nc -l -p 7000 -e echo hello &")
    script = "cat /dev/shm/file; until nc 127.0.0.1 7000 < /dev/null; do sleep 0.05; done; pidof nc || echo none"
    assert (await shim.exec(two, "sh", "-c", script)).stdout.decode().split() == ["shared", "hello", "none"]


async def test_security_settings_reach_the_container(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("secure", host_network=True))
    config = shim.container(name="restricted")
    security = config.linux.security_context
    security.run_as_username = "web"
    security.supplemental_groups.append(4242)
    security.readonly_rootfs = True
    security.no_new_privs = True
    security.capabilities.drop_capabilities.append("ALL")
    config.linux.resources.cpu_shares = 204
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    config.linux.resources.oom_score_adj = -998
    container = await shim.start(sandbox, config)
    script = "id; touch /file; grep -E 'NoNewPrivs|CapBnd' /proc/self/status; touch /proc/sys/kernel/hostname"
    text = (await shim.exec(container, "sh", "-c", script)).stdout.decode()
    assert "uid=1000(web) gid=1000(web) groups=50(staff),1000(web),4242" in text
    assert "CapBnd:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text
    assert (await shim.exec(container, "sh", "-c", "touch /file")).exit_code != 0
    assert (await shim.status(container)).user.linux.uid == 1000

    pod = shim.pod("privileged", host_network=True)
    pod.linux.security_context.privileged = True
    sandbox = await shim.run_pod(pod)
    privileged = shim.container(name="privileged")
    privileged.linux.security_context.privileged = True
    container = await shim.start(sandbox, privileged)
    answer = await shim.exec(container, "sh", "-c", "mount -t tmpfs none /tmp && ls /dev/kmsg")
    assert answer.exit_code == 0, answer.stderr


async def test_mounts(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    sandbox = await shim.run_pod(shim.pod("mounts", host_network=True))
    config = shim.container()
    config.mounts.add(container_path="/data", host_path=str(tmp_path))
    config.mounts.add(container_path="/data/inner", host_path=str(tmp_path / "made"), readonly=True)
    config.mounts.add(container_path="/etc/hosts", host_path=str(tmp_path / "file"))
    container = await shim.start(sandbox, config)
    script = "cat /data/file /etc/hosts; echo back > /data/written; touch /data/inner/x"
    answer = await shim.exec(container, "sh", "-c", script)
    assert answer.stdout == b"from the host" * 2
    assert answer.exit_code != 0
    assert (tmp_path / "written").read_text() == "back\n"
    assert (tmp_path / "made").is_dir()


async def test_environment_and_working_directory(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("env", host_network=True))
    config = shim.container("sh", "-c", 'echo "$GREETING in $PWD with $PATH"')
    config.envs.add(key="GREETING", value=b"hello")
    config.working_dir = "/var/new"
    container = await shim.start(sandbox, config)
    await shim.exited(container)
    assert await shim.log(container) == [("stdout", "F", "hello in /var/new with /bin:/sbin:/usr/bin:/usr/sbin")]


async def test_images_are_listed_found_and_removed(shim: Shim) -> None:
    # Other tests bring images of their own to the same containerd.
    everything = (await shim.images.ListImages(criv1.ListImagesRequest())).images
    listed = [image for image in everything if IMAGE in image.repo_tags]
    assert len(listed) == 1
    for name in (
        IMAGE,
        "busybox:navarch",
        listed[0].id,
        listed[0].id.removeprefix("sha256:"),
        listed[0].repo_digests[0],
    ):
        request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name))
        assert (await shim.images.ImageStatus(request)).image.id == listed[0].id
    used = (await shim.images.ImageFsInfo(criv1.ImageFsInfoRequest())).image_filesystems[0]
    assert used.used_bytes.value > listed[0].size
    missing = criv1.ImageStatusRequest(image=criv1.ImageSpec(image="nosuch:1"))
    assert not (await shim.images.ImageStatus(missing)).HasField("image")
    await shim.images.RemoveImage(criv1.RemoveImageRequest(image=criv1.ImageSpec(image="busybox:navarch")))
    left = (await shim.images.ListImages(criv1.ListImagesRequest())).images
    assert not [image for image in left if IMAGE in image.repo_tags]


async def test_twenty_pods_at_once(shim: Shim) -> None:
    async def one(number: int) -> None:
        sandbox = await shim.run_pod(shim.pod(f"many-{number}"))
        container = await shim.start(sandbox, shim.container("sh", "-c", f"echo {number}"))
        await shim.exited(container, timeout_s=60)
        assert await shim.log(container) == [("stdout", "F", str(number))]
        await shim.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox))
        await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))

    await asyncio.gather(*map(one, range(20)))
    assert_no_leftovers(shim)


def assert_no_leftovers(shim: Shim) -> None:
    """No folder, mount, control group, snapshot's address or link of a sandbox is left."""
    state = shim.containerd.layout.shim_state
    assert [path for kind in ("sandboxes", "containers") for path in (state / kind).glob("*")] == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(state) not in mounts
    assert f"{shim.containerd.layout.state}/io.containerd.runtime.v2.task" not in mounts
    groups = Path("/sys/fs/cgroup").glob(f"*{shim.containerd.cgroup_root}/*")
    assert [path for path in groups if path.is_dir()] == []
    assert list(shim_processes(shim.containerd.layout.socket)) == []
    leases = shim.containerd.data_dir / "ipam" / shim.containerd.bridge
    assert [name for name in os.listdir(leases) if name.startswith("10.")] == [] if leases.exists() else True


async def test_whoever_leaves_while_a_container_is_made_leaves_nothing_behind(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("left", host_network=True))
    client = ContainerdClient(shim.containerd.layout.socket, "k8s.io")

    async def snapshots() -> set[str]:
        listed = client.snapshots.List(snapshotsv1.ListSnapshotsRequest(snapshotter="overlayfs"))
        return {info.name async for response in listed for info in response.info}

    try:
        before = await snapshots()
        for moment in range(5, 200):
            config = shim.container(name=f"left-{moment}")
            request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox, config=config)
            try:
                made = await shim.runtime.CreateContainer(request, timeout=moment / 10_000)
            except grpc.aio.AioRpcError as failure:
                assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                gone = criv1.RemoveContainerRequest(container_id=made.container_id)
                await shim.runtime.RemoveContainer(gone, timeout=60)

        async def nothing_left() -> bool:
            listed = await shim.runtime.ListContainers(criv1.ListContainersRequest(), timeout=60)
            return not listed.containers and await snapshots() == before

        await until(nothing_left)
    finally:
        await client.close()
