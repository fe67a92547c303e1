"""What takes several parts of the cluster: draining a node, deleting a namespace, owners and what they own."""

from typing import TYPE_CHECKING

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import NotFound

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import Space

FOREVER = "exec sleep 1000"


async def containers_of(space: "Space", app: str) -> set[str]:
    pods = await space.pods(app)
    return {one.container_id.rpartition("/")[2] for pod in pods for one in pod.status.container_statuses}


async def all_end(space: "Space", containers: set[str]) -> None:
    async def ended() -> bool:
        return not containers & {*space.cluster.tasks()}

    await space.eventually(ended, "the containers end")


async def test_drain_moves_pods_away_and_uncordon_lets_them_back(space: "Space") -> None:
    await space.deployment("web", 2, FOREVER)
    await space.running("web", 2)
    containers = await containers_of(space, "web")
    (node,) = (await space.client.list(corev1.Node)).items
    name = node.metadata.name
    await space.pod("alone", FOREVER)
    await space.ready("alone")
    drain = ["drain", name, "--timeout", "60s"]
    run = space.cluster.navarch
    try:
        assert "alone" in run(*drain, check=False)
        assert "drained" in run(*drain, "--force")
        await all_end(space, containers)
        assert "SchedulingDisabled" in run("get", "nodes")

        async def pending() -> list[corev1.Pod]:
            found = await space.pods("web")
            return found if len(found) == 2 and all(pod.status.phase == "Pending" for pod in found) else []

        (first, _) = await space.eventually(pending, "the new Pods find no node")
        await space.until_pod(first.metadata.name, lambda pod: pod.status.conditions, "says why")
        described = await space.navarch("describe", "pod", first.metadata.name)
        assert "FailedScheduling" in described
        assert "0/1 nodes are available" in described
    finally:
        run("uncordon", name)
    await space.running("web", 2)
    with pytest.raises(NotFound):
        await space.client.get(corev1.Pod, "alone", space.name)


async def test_a_namespace_goes_with_all_that_is_in_it(space: "Space") -> None:
    run = space.cluster.navarch
    run("create", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: doomed}}")
    inside = type(space)(space.cluster, space.client, "doomed")
    await inside.deployment("web", 2, FOREVER)
    await inside.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}})
    await inside.running("web", 2)
    containers = await containers_of(inside, "web")
    assert len(containers) == 2
    run("delete", "namespace", "doomed")
    for cls in (corev1.Pod, appsv1.Deployment, appsv1.ReplicaSet, corev1.ConfigMap):
        assert (await space.client.list(cls, "doomed")).items == []
    await all_end(space, containers)
    with pytest.raises(NotFound):
        await space.client.get(corev1.Namespace, "doomed")


async def test_what_is_owned_goes_with_its_owner(space: "Space") -> None:
    await space.deployment("web", 2, FOREVER)
    await space.running("web", 2)
    containers = await containers_of(space, "web")
    await space.client.delete(appsv1.Deployment, "web", space.name, propagation_policy="Background")
    await all_end(space, containers)

    async def gone() -> bool:
        pods = (await space.client.list(corev1.Pod, space.name)).items
        return not pods and not (await space.client.list(appsv1.ReplicaSet, space.name)).items

    await space.eventually(gone, "ReplicaSet and Pods are gone")


async def test_orphans_stay_and_are_adopted(space: "Space") -> None:
    await space.deployment("web", 2, FOREVER)
    before = {pod.metadata.uid for pod in await space.running("web", 2)}
    await space.client.delete(appsv1.Deployment, "web", space.name, propagation_policy="Orphan")

    async def gone() -> bool:
        return not (await space.client.list(appsv1.Deployment, space.name)).items

    await space.eventually(gone, "the Deployment is gone")
    assert {pod.metadata.uid for pod in await space.running("web", 2)} == before
    await space.deployment("web", 2, FOREVER)

    async def adopted() -> bool:
        (replica_set,) = (await space.client.list(appsv1.ReplicaSet, space.name)).items
        return bool(replica_set.metadata.owner_references)

    await space.eventually(adopted, "the new Deployment takes the ReplicaSet over")
    assert {pod.metadata.uid for pod in await space.running("web", 2)} == before
