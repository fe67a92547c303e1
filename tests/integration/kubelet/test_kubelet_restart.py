"""What survives a restart of the kubelet, and what must not."""

from typing import Any

import pytest

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1


async def test_running_containers_are_left_alone(lab: Any) -> None:
    await lab.create("web")
    before = await lab.running("web")
    await lab.stop_kubelet()
    await lab.start_kubelet()
    await lab.create("new")
    await lab.running("new")
    after = await lab.pod("web")
    assert after.status == before.status
    assert after.metadata.resource_version == before.metadata.resource_version


async def test_a_pod_deleted_meanwhile_is_ended(lab: Any) -> None:
    await lab.create("web")
    await lab.running("web")
    await lab.stop_kubelet()
    await lab.client.delete(corev1.Pod, "web", "default", grace_period_seconds=0)
    await lab.start_kubelet()
    await lab.clean()


async def test_a_pod_whose_deletion_began_is_ended(lab: Any) -> None:
    await lab.create("web")
    await lab.running("web")
    await lab.stop_kubelet()
    await lab.client.delete(corev1.Pod, "web", "default")
    await lab.start_kubelet()
    await lab.gone("web")
    await lab.clean()


async def test_a_crash_meanwhile_is_seen_and_counted(lab: Any) -> None:
    await lab.create("web", {"exit-after-seconds": "0.3", "exit-code": "9"})
    await lab.running("web")
    await lab.stop_kubelet()

    async def exited() -> bool:
        return all(container.state == 2 for container in await lab.runtime.list_containers())

    await lab.until(exited)
    await lab.start_kubelet()
    pod = await lab.when("web", lambda pod: pod.status.container_statuses[0].restart_count >= 1)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 9


async def test_after_the_loss_of_everything_the_count_goes_on(lab: Any) -> None:
    await lab.create("web")
    await lab.running("web")
    await lab.stop_kubelet()
    for box in await lab.runtime.list_sandboxes():
        await lab.runtime.stop_sandbox(box.id)
        await lab.runtime.remove_sandbox(box.id)
    await lab.start_kubelet()
    pod = await lab.when("web", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    assert pod.status.container_statuses[0].last_state.terminated.reason == "ContainerStatusUnknown"


async def test_a_finished_pod_stays_finished(lab: Any) -> None:
    await lab.create("job", {"exit-after-seconds": "0.05"}, restartPolicy="Never")
    await lab.when("job", lambda pod: pod.status.phase == "Succeeded")
    await lab.stop_kubelet()
    await lab.start_kubelet()
    await lab.create("new")
    await lab.running("new")
    assert (await lab.pod("job")).status.phase == "Succeeded"
    assert len([one for one in await lab.runtime.list_containers() if one.state == 2]) == 1


async def test_the_node_and_its_lease(lab: Any) -> None:
    node = await lab.client.get(corev1.Node, "n1")
    assert node.metadata.labels["kubernetes.io/hostname"] == "n1"
    assert node.status.daemon_endpoints.kubelet_endpoint.port == lab.kubelet.port
    assert node.status.node_info.kubelet_version.startswith("v1.36")

    async def leased() -> bool:
        leases = await lab.client.list(coordinationv1.Lease, "kube-node-lease")
        return [lease.spec.holder_identity for lease in leases.items] == ["n1"]

    await lab.until(leased)


async def test_a_deleted_node_registers_again(lab: Any) -> None:
    first = await lab.client.get(corev1.Node, "n1")
    await lab.client.delete(corev1.Node, "n1")

    async def is_back() -> bool:
        nodes = await lab.client.list(corev1.Node)
        return [node.metadata.uid != first.metadata.uid for node in nodes.items] == [True]

    await lab.until(is_back)


async def test_three_nodes_in_one_loop(tmp_path_factory: pytest.TempPathFactory, lab: Any) -> None:
    from navarch.services.kubelet.config import Config
    from navarch.services.kubelet.service import Kubelet

    others = [
        Kubelet(
            Config(
                node_name=name,
                api_server=lab.address,
                runtime_endpoint=lab.endpoint,
                root_dir=tmp_path_factory.mktemp(name),
                credentials=lab.credentials(f"system:node:{name}", "system:nodes"),
                listen="127.0.0.1:0",
                grpc_listen="127.0.0.1:0",
                node_ip="127.0.0.1",
            )
        )
        for name in ("n2", "n3")
    ]
    for other in others:
        lab.stack.push_async_callback(other.stop)
        await other.start()

    async def all_registered() -> bool:
        return len((await lab.client.list(corev1.Node)).items) == 3

    await lab.until(all_registered)
