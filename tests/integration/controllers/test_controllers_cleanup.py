"""Garbage collection and namespace deletion, with the real controllers and API server."""

from collections.abc import Callable

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.api.meta import is_being_deleted, owner_reference

Make = Callable[..., appsv1.Deployment]


def a_config_map(name: str, *owners: corev1.ConfigMap, blocks: bool = False, namespace: str = "default"):
    result = corev1.ConfigMap(metadata=metav1.ObjectMeta(name=name, namespace=namespace))
    for owner in owners:
        reference = owner_reference(owner, controller=False)
        reference.block_owner_deletion = blocks
        result.metadata.owner_references.append(reference)
    return result


async def names(cluster, namespace: str = "default") -> set[str]:
    found = (await cluster.client.list(corev1.ConfigMap, namespace)).items
    return {each.metadata.name for each in found} - {"kube-root-ca.crt"}


async def test_background_deletion_takes_all_dependents(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment())
    await cluster.complete()
    await cluster.client.delete(appsv1.Deployment, "web", "default")

    async def empty() -> bool:
        return not await cluster.replica_sets() and not (await cluster.client.list(corev1.Pod, "default")).items

    await cluster.until(empty)


async def test_foreground_deletion_keeps_the_owner_until_all_are_gone(cluster) -> None:
    owner = await cluster.client.create(a_config_map("owner"))
    blocker = a_config_map("blocker", owner, blocks=True)
    blocker.metadata.finalizers.append("example.com/hold")
    await cluster.client.create(blocker)
    await cluster.client.create(a_config_map("other", owner))
    await cluster.client.delete(corev1.ConfigMap, "owner", "default", propagation_policy="Foreground")
    await cluster.gone(corev1.ConfigMap, "other")

    async def held() -> bool:
        return is_being_deleted(await cluster.client.get(corev1.ConfigMap, "blocker", "default"))

    await cluster.until(held)
    assert await names(cluster) == {"owner", "blocker"}
    await cluster.client.patch(corev1.ConfigMap, "blocker", "default", {"metadata": {"finalizers": None}}, "merge")
    await cluster.gone(corev1.ConfigMap, "owner")


async def test_orphaning_leaves_dependents_without_the_owner(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    await cluster.client.delete(appsv1.Deployment, "web", "default", propagation_policy="Orphan")
    await cluster.gone(appsv1.Deployment, "web")
    (replica_set,) = await cluster.replica_sets()
    assert not replica_set.metadata.owner_references
    assert len(await cluster.pods()) == 2


async def test_an_orphaned_replica_set_is_adopted_by_a_deployment_made_anew(cluster, a_deployment: Make) -> None:
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    pods = {pod.metadata.uid for pod in await cluster.pods()}
    await cluster.client.delete(appsv1.Deployment, "web", "default", propagation_policy="Orphan")
    await cluster.gone(appsv1.Deployment, "web")
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    assert {pod.metadata.uid for pod in await cluster.pods()} == pods


async def test_a_dependent_whose_owner_never_was_is_deleted(cluster) -> None:
    ghost = corev1.ConfigMap(metadata=metav1.ObjectMeta(name="ghost", uid="never-was"))
    await cluster.client.create(a_config_map("lost", ghost))
    await cluster.gone(corev1.ConfigMap, "lost")


async def test_a_dependent_with_one_owner_left_stays(cluster) -> None:
    one = await cluster.client.create(a_config_map("one"))
    two = await cluster.client.create(a_config_map("two"))
    await cluster.client.create(a_config_map("shared", one, two))
    await cluster.client.delete(corev1.ConfigMap, "one", "default")

    async def one_owner() -> bool:
        shared = await cluster.client.get(corev1.ConfigMap, "shared", "default")
        return [each.name for each in shared.metadata.owner_references] == ["two"]

    await cluster.until(one_owner)
    await cluster.client.delete(corev1.ConfigMap, "two", "default")
    await cluster.gone(corev1.ConfigMap, "shared")


async def test_owners_that_own_each_other_can_be_deleted_in_the_foreground(cluster) -> None:
    one = await cluster.client.create(a_config_map("one"))
    two = await cluster.client.create(a_config_map("two", one, blocks=True))
    one.metadata.owner_references.append(owner_reference(two))
    await cluster.client.update(one)
    await cluster.client.delete(corev1.ConfigMap, "one", "default", propagation_policy="Foreground")
    await cluster.gone(corev1.ConfigMap, "one")
    await cluster.gone(corev1.ConfigMap, "two")


async def test_a_deleted_namespace_takes_everything_with_it(cluster, a_deployment: Make) -> None:
    await cluster.client.create(corev1.Namespace(metadata=metav1.ObjectMeta(name="team")))
    deployment = a_deployment()
    deployment.metadata.namespace = "team"
    await cluster.client.create(deployment)
    await cluster.client.create(a_config_map("settings", namespace="team"))
    await cluster.complete(namespace="team")
    await cluster.client.delete(corev1.Namespace, "team")
    await cluster.gone(corev1.Namespace, "team", "")
    for cls in (corev1.Pod, appsv1.ReplicaSet, appsv1.Deployment, corev1.ConfigMap, corev1.ServiceAccount):
        assert not (await cluster.client.list(cls, "team")).items


async def test_a_namespace_says_what_it_waits_for(cluster) -> None:
    await cluster.client.create(corev1.Namespace(metadata=metav1.ObjectMeta(name="team")))
    held = a_config_map("held", namespace="team")
    held.metadata.finalizers.append("example.com/hold")
    await cluster.client.create(held)
    await cluster.client.delete(corev1.Namespace, "team")

    async def reported() -> bool:
        namespace = await cluster.client.get(corev1.Namespace, "team")
        held = {each.type: each.status for each in namespace.status.conditions}
        return held.get("NamespaceFinalizersRemaining") == "True" and held.get("NamespaceContentRemaining") == "True"

    await cluster.until(reported)
    await cluster.client.patch(corev1.ConfigMap, "held", "team", {"metadata": {"finalizers": None}}, "merge")
    await cluster.gone(corev1.Namespace, "team", "")


async def test_every_namespace_gets_its_account_and_certificate(cluster) -> None:
    await cluster.client.create(corev1.Namespace(metadata=metav1.ObjectMeta(name="team")))

    async def complete() -> bool:
        try:
            await cluster.client.get(corev1.ServiceAccount, "default", "team")
            bundle = await cluster.client.get(corev1.ConfigMap, "kube-root-ca.crt", "team")
        except errors.NotFound:
            return False
        return bundle.data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")

    await cluster.until(complete)
    await cluster.client.delete(corev1.ServiceAccount, "default", "team")
    bundle = await cluster.client.get(corev1.ConfigMap, "kube-root-ca.crt", "team")
    bundle.data["ca.crt"] = "forged"
    await cluster.client.update(bundle)
    await cluster.until(complete)
