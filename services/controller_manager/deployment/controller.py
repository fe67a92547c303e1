"""The Deployment loop: caches in, `plan`, writes out.

Woken by the Deployment, by its ReplicaSets, and (for Recreate) by the end of its Pods. While the cache does
not show this loop's own last writes, it waits for them rather than plan on old news.
"""

from google.protobuf.message import Message

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of, is_controlled_by, key_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.client.informer import by_namespace
from navarch.services.controller_manager import adoption, pods
from navarch.services.controller_manager.deployment import status, template
from navarch.services.controller_manager.deployment.limits import wanted
from navarch.services.controller_manager.deployment.plan import Observed, Plan, Resize, plan
from navarch.services.controller_manager.deployment.rollout import REVISION
from navarch.services.controller_manager.own_writes import TTL_S, OwnWrites
from navarch.services.controller_manager.ownership import CONTROLLER, controller_index, orphans_in

WORKERS = 5


class DeploymentController:
    """Reconciles Deployments by "namespace/name"."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("deployment", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._events = context.recorder("deployment-controller")
        self._deployments = context.informers.of(appsv1.Deployment, {"namespace": by_namespace})
        self._replica_sets = context.informers.of(appsv1.ReplicaSet, {CONTROLLER: controller_index})
        self._pods = context.informers.of(corev1.Pod, {CONTROLLER: controller_index})
        self._written = OwnWrites()
        self._written_replica_sets = OwnWrites()
        self._deployments.on_event(self._on_deployment)
        self._replica_sets.on_event(self._on_replica_set)
        self._pods.on_event(self._on_pod)

    async def reconcile(self, key: str) -> Result | None:
        """Move one Deployment a step on."""
        deployment = self._deployments.get(key)
        now = self._clock.monotonic()
        if not self._written_replica_sets.settled(key, self._replica_sets.get, now):
            return Result(TTL_S)
        if not self._written.settled(key, self._deployments.get, now):
            return Result(TTL_S)
        if deployment is None:
            return None
        owned = await self._owned(deployment)
        step = plan(Observed(deployment, owned, self._old_pods_exist(deployment, owned)), self._clock.now())
        await self._apply(key, deployment, step)
        return Result(step.check_after_s)

    async def _owned(self, deployment: appsv1.Deployment) -> list[appsv1.ReplicaSet]:
        metadata = deployment.metadata
        candidates = self._replica_sets.by_index(CONTROLLER, metadata.uid)
        candidates += self._replica_sets.by_index(CONTROLLER, orphans_in(metadata.namespace))
        return await adoption.claim(self._client, deployment, Selector.of(deployment.spec.selector), candidates)

    def _old_pods_exist(self, deployment: appsv1.Deployment, owned: list[appsv1.ReplicaSet]) -> bool:
        if deployment.spec.strategy.type != "Recreate":
            return False
        return any(
            not pods.has_ended(pod)
            for each in owned
            if not template.same(each.spec.template, deployment.spec.template)
            for pod in self._pods.by_index(CONTROLLER, each.metadata.uid)
        )

    async def _apply(self, key: str, deployment: appsv1.Deployment, step: Plan) -> None:
        if step.create is not None and not await self._create(key, deployment, step.create):
            return
        for resize in step.resize:
            written = await self._client.update(resize.replica_set)
            self._written_replica_sets.wrote(key, [written], self._clock.monotonic())
            self._tell(deployment, resize)
        for each in step.delete:
            await self._delete(key, each)
        if step.status is not None or step.revision is not None:
            await self._write_back(key, deployment, step.status or deployment.status, step.revision)

    async def _create(self, key: str, deployment: appsv1.Deployment, new: appsv1.ReplicaSet) -> bool:
        """Create the new ReplicaSet. False where its name is taken: the next reconcile tries another."""
        now = self._clock.now()
        try:
            created = await self._client.create(new)
        except errors.AlreadyExists:
            created = await self._client.get(appsv1.ReplicaSet, new.metadata.name, new.metadata.namespace)
            if not is_controlled_by(created, deployment) or not template.same(created.spec.template, new.spec.template):
                after = _copy(deployment.status)
                after.collision_count += 1
                await self._write_back(key, deployment, after)
                return False
        except errors.ApiError as failure:
            if status.deadline_s(deployment) is not None:
                after = _copy(deployment.status)
                message = f'Failed to create new replica set "{new.metadata.name}": {failure}'
                status.put(after, status.PROGRESSING, "False", status.CREATE_ERROR, message, now)
                await self._write_back(key, deployment, after)
            raise
        else:
            self._tell(deployment, Resize(created, 0))
        self._written_replica_sets.wrote(key, [created], self._clock.monotonic())
        return True

    async def _delete(self, key: str, replica_set: appsv1.ReplicaSet) -> None:
        metadata = replica_set.metadata
        try:
            await self._client.delete(appsv1.ReplicaSet, metadata.name, metadata.namespace, uid=metadata.uid)
        except errors.NotFound:
            return
        self._written_replica_sets.deleted(key, [replica_set], self._clock.monotonic())

    async def _write_back(
        self, key: str, deployment: appsv1.Deployment, after: appsv1.DeploymentStatus, revision: str | None = None
    ) -> None:
        """Write the status and with it the revision, for which servers differ in whether they take it here."""
        changed = appsv1.Deployment()
        changed.CopyFrom(deployment)
        changed.status.CopyFrom(after)
        if revision is not None:
            changed.metadata.annotations[REVISION] = revision
        written = await self._client.update_status(changed)
        if revision is not None and written.metadata.annotations.get(REVISION) != revision:
            patch = {"metadata": {"annotations": {REVISION: revision}}}
            metadata = deployment.metadata
            written = await self._client.patch(appsv1.Deployment, metadata.name, metadata.namespace, patch, "merge")
        self._written.wrote(key, [written], self._clock.monotonic())

    def _tell(self, deployment: appsv1.Deployment, resize: Resize) -> None:
        before, after = resize.before, wanted(resize.replica_set.spec)
        if before != after:
            direction = "up" if after > before else "down"
            name = resize.replica_set.metadata.name
            message = f"Scaled {direction} replica set {name} from {before} to {after}"
            self._events.event(deployment, "Normal", "ScalingReplicaSet", message)

    def _on_deployment(self, old: appsv1.Deployment | None, new: appsv1.Deployment | None) -> None:
        if (deployment := new or old) is not None:
            self.controller.queue.add(key_of(deployment))

    def _on_replica_set(self, old: appsv1.ReplicaSet | None, new: appsv1.ReplicaSet | None) -> None:
        owners = {key for each in (old, new) if each is not None and (key := self._owner_key(each)) is not None}
        for key in owners:
            if new is None and old is not None:
                self._written_replica_sets.saw_deletion(key, old)
            self.controller.queue.add(key)
        if new is not None and controller_of(new) is None:
            self._wake_adopters(new)

    def _wake_adopters(self, orphan: appsv1.ReplicaSet) -> None:
        for deployment in self._deployments.by_index("namespace", orphan.metadata.namespace):
            if Selector.of(deployment.spec.selector).matches(orphan.metadata.labels):
                self.controller.queue.add(key_of(deployment))

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        """A rollout by Recreate waits for the end of the old Pods."""
        if (pod := new or old) is None or (new is not None and not pods.has_ended(new)):
            return
        owner = controller_of(pod)
        if owner is None or owner.kind != "ReplicaSet":
            return
        replica_set = self._replica_sets.get(f"{pod.metadata.namespace}/{owner.name}")
        key = self._owner_key(replica_set) if replica_set is not None else None
        deployment = self._deployments.get(key) if key is not None else None
        if key is not None and deployment is not None and deployment.spec.strategy.type == "Recreate":
            self.controller.queue.add(key)

    def _owner_key(self, obj: Message) -> str | None:
        """Key of the Deployment that controls a ReplicaSet, if it exists."""
        owner = controller_of(obj)
        if owner is None or owner.kind != "Deployment":
            return None
        key = f"{obj.metadata.namespace}/{owner.name}"  # type: ignore[attr-defined]
        deployment = self._deployments.get(key)
        return key if deployment is not None and deployment.metadata.uid == owner.uid else None


def _copy(original: appsv1.DeploymentStatus) -> appsv1.DeploymentStatus:
    copy = appsv1.DeploymentStatus()
    copy.CopyFrom(original)
    return copy
