"""Deployments from the API server to Pods and back, with the real controllers."""

import asyncio
import random
from collections.abc import Callable

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.meta import condition_is, controller_of, find_condition, is_being_deleted
from navarch.services.controller_manager.service import ControllerManager

Make = Callable[..., appsv1.Deployment]


async def test_a_deployment_becomes_available(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment())
    await cluster.complete()
    deployment = await cluster.deployment()
    (replica_set,) = await cluster.replica_sets()
    assert controller_of(replica_set).uid == deployment.metadata.uid
    assert replica_set.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    available = find_condition(deployment.status.conditions, "Available")
    assert (available.status, available.reason) == ("True", "MinimumReplicasAvailable")
    progressing = find_condition(deployment.status.conditions, "Progressing")
    assert (progressing.status, progressing.reason) == ("True", "NewReplicaSetAvailable")
    assert len(await cluster.pods()) == 3


async def test_a_deleted_pod_is_replaced_by_another(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment())
    await cluster.complete()
    victim = (await cluster.pods())[0]
    await cluster.client.delete(corev1.Pod, victim.metadata.name, "default")

    async def replaced() -> bool:
        uids = {pod.metadata.uid for pod in await cluster.pods()}
        return len(uids) == 3 and victim.metadata.uid not in uids

    await cluster.until(replaced)
    await cluster.complete()


async def test_scaling_up_and_down(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment())
    await cluster.complete()
    for replicas in (12, 1, 0):
        await cluster.client.patch(appsv1.Deployment, "web", "default", {"spec": {"replicas": replicas}})
        await cluster.complete()
        assert len(await cluster.pods()) == replicas


async def test_a_new_image_rolls_out_and_back(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(4))
    await cluster.complete()
    first = await cluster.deployment()
    await set_image(cluster, "v2")
    await cluster.complete()
    assert {pod.spec.containers[0].image for pod in await cluster.pods()} == {"v2"}
    assert sorted(revisions(await cluster.replica_sets())) == [(0, "1"), (4, "2")]
    # What `rollout undo` does: the old template again.
    await set_image(cluster, first.spec.template.spec.containers[0].image)
    await cluster.complete()
    assert sorted(revisions(await cluster.replica_sets())) == [(0, "2"), (4, "3")]


async def test_a_rollout_keeps_its_limits_as_watchers_see_it(cluster, a_deployment: Make) -> None:
    deployment = a_deployment(5)
    deployment.spec.strategy.rolling_update.max_surge.CopyFrom(IntOrString(type=0, int_val=2))
    deployment.spec.strategy.rolling_update.max_unavailable.CopyFrom(IntOrString(type=0, int_val=1))
    await cluster.client.create(deployment)
    await cluster.complete()
    seen: list[tuple[int, int]] = []

    def note(old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        active = [pod for pod in cluster.kubelet.pods.list() if not is_being_deleted(pod)]
        seen.append((sum(condition_is(pod.status.conditions, "Ready") for pod in active), len(active)))

    cluster.kubelet.pods.on_event(note)
    for image in ("v2", "v3"):
        await set_image(cluster, image)
        await cluster.complete()
    assert min(available for available, _ in seen) >= 4
    assert max(total for _, total in seen) <= 7


async def test_a_rollout_survives_managers_that_are_killed_again_and_again(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(4))
    await cluster.complete()
    await cluster.manager.stop()
    rng = random.Random(4)
    await set_image(cluster, "v2")
    for _ in range(12):
        manager = ControllerManager(cluster.manager._config)
        await manager.start()
        await asyncio.sleep(rng.uniform(0.03, 0.2))
        await manager.stop()
    last = ControllerManager(cluster.manager._config)
    await last.start()
    try:
        await cluster.complete()
    finally:
        await last.stop()
    assert [pod.spec.containers[0].image for pod in await cluster.pods()] == ["v2"] * 4
    assert sorted(revisions(await cluster.replica_sets())) == [(0, "1"), (4, "2")]


async def test_a_paused_deployment_scales_but_does_not_roll(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    patch = {"spec": {"paused": True, "replicas": 3, "template": {"metadata": {"labels": {"app": "web", "v": "2"}}}}}
    await cluster.client.patch(appsv1.Deployment, "web", "default", patch)

    async def scaled() -> bool:
        return (await cluster.deployment()).status.available_replicas == 3

    await cluster.until(scaled)
    assert len(await cluster.replica_sets()) == 1
    await cluster.client.patch(appsv1.Deployment, "web", "default", {"spec": {"paused": False}})
    await cluster.complete()
    assert len(await cluster.replica_sets()) == 2


async def test_recreate_replaces_all_at_once(cluster, a_deployment: Make) -> None:
    deployment = a_deployment()
    deployment.spec.strategy.type = "Recreate"
    await cluster.client.create(deployment)
    await cluster.complete()
    await set_image(cluster, "v2")
    await cluster.complete()
    assert {pod.spec.containers[0].image for pod in await cluster.pods()} == {"v2"}


async def test_the_history_is_cut_to_its_limit(cluster, a_deployment: Make) -> None:
    deployment = a_deployment(1)
    deployment.spec.revision_history_limit = 1
    await cluster.client.create(deployment)
    for image in ("v2", "v3", "v4"):
        await cluster.complete()
        await set_image(cluster, image)
    await cluster.complete()

    async def cut() -> bool:
        return sorted(revisions(await cluster.replica_sets())) == [(0, "3"), (1, "4")]

    await cluster.until(cut)


async def test_a_stuck_rollout_keeps_what_works_and_says_so(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    cluster.kubelet.ready = lambda pod: pod.spec.containers[0].image != "broken"
    patch = {"spec": {"progressDeadlineSeconds": 1, "template": image_patch("broken")}}
    await cluster.client.patch(appsv1.Deployment, "web", "default", patch)

    async def failed() -> bool:
        progressing = find_condition((await cluster.deployment()).status.conditions, "Progressing")
        return progressing is not None and progressing.reason == "ProgressDeadlineExceeded"

    await cluster.until(failed)
    assert (await cluster.deployment()).status.available_replicas == 2


async def test_a_matching_pod_is_adopted_and_an_unmatched_one_released(cluster) -> None:
    orphan = corev1.Pod(metadata=metav1.ObjectMeta(name="orphan", namespace="default", labels={"app": "rs"}))
    orphan.spec.containers.add(name="main", image="v1")
    await cluster.client.create(orphan)
    replica_set = appsv1.ReplicaSet(metadata=metav1.ObjectMeta(name="rs", namespace="default"))
    replica_set.spec.replicas = 1
    replica_set.spec.selector.match_labels["app"] = "rs"
    replica_set.spec.template.metadata.labels["app"] = "rs"
    replica_set.spec.template.spec.containers.add(name="main", image="v1")
    owner = await cluster.client.create(replica_set)

    async def owners() -> list[str]:
        pod = await cluster.client.get(corev1.Pod, "orphan", "default")
        return [each.uid for each in pod.metadata.owner_references]

    async def adopted() -> bool:
        return await owners() == [owner.metadata.uid]

    await cluster.until(adopted)
    assert len(await cluster.pods()) == 1
    await cluster.client.patch(corev1.Pod, "orphan", "default", {"metadata": {"labels": {"app": "other"}}})

    async def released() -> bool:
        return await owners() == [] and len(await cluster.pods()) == 2

    await cluster.until(released)


async def test_work_goes_on_after_a_restart_of_the_controllers(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    await cluster.manager.stop()
    await set_image(cluster, "v2")
    again = ControllerManager(cluster.manager._config)
    await again.start()
    try:
        await cluster.complete()
    finally:
        await again.stop()
    assert {pod.spec.containers[0].image for pod in await cluster.pods()} == {"v2"}


def image_patch(image: str) -> dict[str, object]:
    return {"spec": {"containers": [{"name": "main", "image": image}]}}


async def set_image(cluster, image: str) -> None:
    await cluster.client.patch(appsv1.Deployment, "web", "default", {"spec": {"template": image_patch(image)}})


def revisions(replica_sets: list[appsv1.ReplicaSet]) -> list[tuple[int, str]]:
    return [
        (each.spec.replicas, each.metadata.annotations["deployment.kubernetes.io/revision"]) for each in replica_sets
    ]
