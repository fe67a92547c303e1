"""What a node says of itself, what it collects, and what it lets people read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.pod_resources import amounts
from navarch.services.base import mounting
from navarch.services.base.tls_context import client_context
from navarch.testing.kubelet_host import KUBELET
from navarch.testing.kubelet_lab import PATIENCE_S, Lab
from navarch.testing.private_containerd import IMAGE, busybox_builder

MIB = 1 << 20
# linux/mount.h
MS_SHARED = 1 << 20
STAYS = {"name": "main", "command": ["sleep", "3600"]}


@contextlib.asynccontextmanager
async def new_node(lab: Lab, *flags: str) -> AsyncIterator[None]:
    """The node registers anew with these options; without them afterwards."""
    for options in (flags, ()):
        lab.kill_kubelet()
        await lab.client.delete(corev1.Node, lab.node)
        lab.host.start_kubelet(lab.runtime, *options)
        await lab.until(corev1.Node, lab.node, _is_ready, "")
        if options:
            yield


def _is_ready(node: corev1.Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


async def test_a_node_registers_with_what_it_is_told_and_what_it_has(lab: Lab) -> None:
    flags = (
        "--node-labels=example.com/rack=r1",
        "--register-with-taints=why=test:NoSchedule",
        "--kube-reserved=cpu=100m,memory=64Mi",
        "--system-reserved=cpu=50m,memory=36Mi",
        "--max-pods=42",
    )
    async with new_node(lab, *flags):
        node = await lab.client.get(corev1.Node, lab.node)
        labels = node.metadata.labels
        assert (labels["example.com/rack"], labels["kubernetes.io/hostname"]) == ("r1", lab.node)
        assert [(taint.key, taint.value, taint.effect) for taint in node.spec.taints] == [("why", "test", "NoSchedule")]
        has, offers = amounts(node.status.capacity), amounts(node.status.allocatable)
        assert (has["pods"], offers["pods"]) == (42, 42)
        assert has["cpu"] - offers["cpu"] == 150
        # What is to be left before Pods are evicted is reserved too, and huge pages, which another test may have made.
        huge = sum(amount for name, amount in has.items() if name.startswith("hugepages-"))
        assert has["memory"] - offers["memory"] == (64 + 36 + 100) * MIB + huge
        conditions = {one.type: one.status for one in node.status.conditions}
        assert conditions.pop("Ready") == "True"
        assert set(conditions.values()) == {"False"}
        assert {"MemoryPressure", "DiskPressure", "PIDPressure"} <= set(conditions)
        assert {one.type: one.address for one in node.status.addresses} == {
            "InternalIP": "127.0.0.1",
            "Hostname": lab.node,
        }
        assert any(IMAGE in image.names for image in node.status.images)
        assert node.status.node_info.container_runtime_version.partition("://")[0]
        lease = await lab.until(
            coordinationv1.Lease, lab.node, lambda lease: lease.spec.holder_identity == lab.node, "kube-node-lease"
        )
        assert [owner.uid for owner in lease.metadata.owner_references] == [node.metadata.uid]


# As if the disk were full; and as if each were older than images may become.
@pytest.mark.parametrize(
    "flags",
    [
        ("--image-gc-high-threshold=1", "--image-gc-low-threshold=0", "--minimum-image-ttl-duration=0s"),
        ("--image-maximum-gc-age=1ms", "--minimum-image-ttl-duration=0s"),
    ],
    ids=["full-disk", "age"],
)
async def test_images_that_nobody_uses_are_collected(lab: Lab, flags: tuple[str, ...]) -> None:
    unused = "docker.io/library/unused:navarch"
    archive = lab.host.directory / "unused.tar"
    busybox_builder().build(archive, unused, cmd=("true",))
    await lab.create("user", containers=[STAYS])
    await lab.running("user")
    lab.host.containerd.load(archive)

    async def is_there() -> bool:
        return any(unused in image.repo_tags for image in await lab.cri.list_images())

    await lab.eventually(is_there, "the image is there")
    lab.kill_kubelet()
    await lab.start_kubelet(*flags)
    try:

        async def is_gone() -> bool:
            return not await is_there()

        await lab.eventually(is_gone, "the image is gone")
        assert any(IMAGE in image.repo_tags for image in await lab.cri.list_images())
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()


async def test_of_a_container_that_crashes_on_and_on_the_last_runs_are_kept(lab: Lab) -> None:
    lab.kill_kubelet()
    await lab.start_kubelet("--crash-loop-max-restart-period=1s")
    try:
        made = await lab.create("crashes", containers=[{**STAYS, "command": ["sh", "-c", "echo $RANDOM; exit 3"]}])
        pod = await lab.when(
            "crashes",
            lambda pod: pod.status.container_statuses and pod.status.container_statuses[0].restart_count >= 5,
        )
        assert pod.status.container_statuses[0].last_state.terminated.exit_code == 3

        async def few() -> bool:
            every = await lab.cri.list_containers()
            runs = [one for one in every if one.labels.get("io.kubernetes.pod.uid") == made.metadata.uid]
            # The one that is being made beside the two that are kept.
            return 1 <= len(runs) <= 3

        await lab.eventually(few)
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()


async def test_a_rule_of_its_own_starts_a_container_again_in_a_pod_that_never_restarts(lab: Lab) -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    again = "test -e /shared/once && exit 0; touch /shared/once; exit 42"
    container = {"name": "main", "command": ["sh", "-c", again], "restartPolicy": "Never", "restartPolicyRules": [rule]}
    await lab.create(
        "rule",
        restartPolicy="Never",
        containers=[{**container, **mount}],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    pod = await lab.ended("rule")
    assert pod.status.phase == "Succeeded"
    assert pod.status.container_statuses[0].restart_count == 1


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A directory whose mounts are shared, as all of a host's are where systemd runs."""
    folder = tmp_path / "shared"
    folder.mkdir()
    mounting.mount(str(folder), folder, flags=mounting.MS_BIND)
    try:
        mounting.mount("", folder, flags=MS_SHARED)
        yield folder
    finally:
        for point in mounting.mount_points(f"{folder}/"):
            mounting.unmount(point)


async def test_a_mount_is_handed_on_from_one_container_to_another(lab: Lab, shared: Path) -> None:
    def mounted(propagation: str) -> dict[str, Any]:
        return {"volumeMounts": [{"name": "shared", "mountPath": "/shared", "mountPropagation": propagation}]}

    giver = "mkdir /shared/inner; mount -t tmpfs tmpfs /shared/inner; echo here > /shared/inner/file; sleep 3600"
    taker = "until test -e /shared/inner/file; do sleep 0.05; done; cat /shared/inner/file; sleep 3600"
    await lab.create(
        "hands",
        containers=[
            {
                "name": "giver",
                "command": ["sh", "-c", giver],
                "securityContext": {"privileged": True},
                **mounted("Bidirectional"),
            },
            {"name": "taker", "command": ["sh", "-c", taker], **mounted("HostToContainer")},
        ],
        volumes=[{"name": "shared", "hostPath": {"path": str(shared), "type": "Directory"}}],
    )
    await lab.running("hands")
    await lab.said("hands", "here", "taker")


async def test_logs_by_every_choice(lab: Lab) -> None:
    script = "test -e /shared/once || { touch /shared/once; echo before; exit 1; }; seq 1 9; sleep 3600"
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    await lab.create(
        "talks",
        containers=[{"name": "main", "command": ["sh", "-c", script], **mount}],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    await lab.when(
        "talks", lambda pod: pod.status.container_statuses and pod.status.container_statuses[0].restart_count
    )
    await lab.running("talks")
    await lab.said("talks", "9")

    async def logs(**options: Any) -> str:
        request = node_pb2.LogsRequest(namespace=lab.namespace, pod="talks", options=corev1.PodLogOptions(**options))
        async with lab.kubelet() as stub:
            return b"".join([one.data async for one in stub.Logs(request, timeout=PATIENCE_S)]).decode()

    assert await logs(previous=True) == "before\n"
    assert await logs(tail_lines=2) == "8\n9\n"
    assert await logs(limit_bytes=3) == "1\n2"
    assert await logs(since_seconds=3600, tail_lines=1) == "9\n"
    (line,) = (await logs(timestamps=True, tail_lines=1)).splitlines()
    assert line.partition(" ")[0].endswith("Z")
    assert line.endswith(" 9")


async def test_who_may_read_the_endpoints(lab: Lab) -> None:
    account = corev1.ServiceAccount()
    account.metadata.name, account.metadata.namespace = "reader", lab.namespace
    await lab.client.create(account)
    spec = authenticationv1.TokenRequestSpec(expiration_seconds=3600)
    issued = await lab.client.request_token(lab.namespace, "reader", spec)
    base, paths = f"https://{await lab.kubelet_address()}", ("/pods", "/configz", "/metrics/resource", "/stats/summary")
    admin = client_context(lab.credentials("kube-apiserver", "system:masters"))
    nobody = client_context(lab.credentials("nobody"))
    for context, headers, expected in (
        (admin, {}, 200),
        (nobody, {}, 403),
        (None, {}, 401),
        (None, {"Authorization": f"Bearer {issued.token}"}, 403),
        (None, {"Authorization": "Bearer nonsense"}, 401),
    ):
        async with aiohttp.ClientSession(base, headers=headers) as session:
            for path in paths:
                async with session.get(path, ssl=context or False) as answer:
                    assert answer.status == expected, (path, headers)
            async with session.get("/healthz", ssl=context or False) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")


async def test_a_second_kubelet_in_the_same_directory_is_refused_and_disturbs_nothing(lab: Lab) -> None:
    await lab.create("kept")
    before = await lab.running("kept")
    first = lab.host.kubelets[lab.runtime]
    command = [*KUBELET, *lab.host.options(lab.runtime)]
    second = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
    )
    try:
        async with asyncio.timeout(60):
            said, _ = await second.communicate()
    finally:
        if second.returncode is None:
            second.kill()
            await second.wait()
    assert second.returncode == 1
    words = f"the kubelet with pid {first.pid} lives in {lab.host.root_dir(lab.runtime)}; choose another --root-dir"
    assert words in said.decode()
    await lab.create("next")
    await lab.running("next")
    assert first.poll() is None
    (status,), (known,) = (await lab.running("kept")).status.container_statuses, before.status.container_statuses
    assert (status.container_id, status.restart_count) == (known.container_id, 0)
