"""The ReplicaSet loop: counts Pods, creates or deletes the difference, reports.

Creates go out in batches that double as long as all succeed. Until the cache shows the Pods that the last
round created or deleted, the next round waits; so a lagging cache never makes a Pod too many.
"""

from collections.abc import Sequence

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2
from navarch.services.api import errors
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of, key_of
from navarch.services.client import requests
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.client.events import EventType
from navarch.services.client.informer import by_namespace
from navarch.services.controller_manager import adoption
from navarch.services.controller_manager.own_writes import TTL_S, OwnWrites
from navarch.services.controller_manager.ownership import CONTROLLER, controller_index, orphans_in
from navarch.services.controller_manager.replicaset.plan import (
    Failure,
    Plan,
    batches,
    new_pod,
    next_available_s,
    plan,
    status,
)

WORKERS = 5
NAMESPACE_TERMINATING = "NamespaceTerminating"


class ReplicaSetController:
    """Reconciles ReplicaSets by "namespace/name"."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("replicaset", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._events = context.recorder("replicaset-controller")
        indexes = {"namespace": by_namespace, CONTROLLER: controller_index}
        self._replica_sets = context.informers.of(appsv1.ReplicaSet, indexes)
        self._pods = context.informers.of(corev1.Pod, {CONTROLLER: controller_index})
        self._written = OwnWrites()
        self._written_pods = OwnWrites()
        self._replica_sets.on_event(self._on_replica_set)
        self._pods.on_event(self._on_pod)

    async def reconcile(self, key: str) -> Result | None:
        """Bring one ReplicaSet's Pods to the wanted number and report on them."""
        now = self._clock.monotonic()
        if not self._written_pods.settled(key, self._pods.get, now):
            return Result(TTL_S)
        if not self._written.settled(key, self._replica_sets.get, now):
            return Result(TTL_S)
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            return None
        owned = await self._owned(replica_set)
        wall = self._clock.now()
        step = plan(replica_set, owned, self._related(replica_set), wall)
        failure = await self._apply(key, replica_set, step)
        reason = Failure(_reason(step), str(failure)) if failure is not None else None
        await self._report(key, replica_set, owned, reason)
        if failure is not None:
            raise failure
        return Result(next_available_s(replica_set, owned, wall))

    async def _owned(self, replica_set: appsv1.ReplicaSet) -> list[corev1.Pod]:
        metadata = replica_set.metadata
        candidates = self._pods.by_index(CONTROLLER, metadata.uid)
        candidates += self._pods.by_index(CONTROLLER, orphans_in(metadata.namespace))
        return await adoption.claim(self._client, replica_set, Selector.of(replica_set.spec.selector), candidates)

    def _related(self, replica_set: appsv1.ReplicaSet) -> list[corev1.Pod]:
        """Pods of the ReplicaSets that share this one's owner, its own included."""
        owner = controller_of(replica_set)
        siblings = self._replica_sets.by_index(CONTROLLER, owner.uid) if owner is not None else [replica_set]
        return [pod for each in siblings for pod in self._pods.by_index(CONTROLLER, each.metadata.uid)]

    async def _apply(self, key: str, replica_set: appsv1.ReplicaSet, step: Plan) -> errors.ApiError | None:
        """Create and delete Pods. Returns the first refusal."""
        if step.create:
            return await self._create(key, replica_set, step.create)
        if step.delete:
            return await self._delete(key, replica_set, step.delete)
        return None

    async def _create(self, key: str, replica_set: appsv1.ReplicaSet, count: int) -> errors.ApiError | None:
        mutation = requests.mutation(requests.create_request(new_pod(replica_set)))
        for size in batches(count):
            results = await self._client.batch([mutation] * size)
            created = [each for each in results if isinstance(each, corev1.Pod)]
            self._written_pods.wrote(key, created, self._clock.monotonic())
            for pod in created:
                self._tell(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")
            failure = next((each for each in results if isinstance(each, errors.ApiError)), None)
            if failure is None:
                continue
            if any(cause.reason == NAMESPACE_TERMINATING for cause in failure.causes):
                return None
            self._tell(replica_set, "Warning", "FailedCreate", f"Error creating: {failure}")
            return failure
        return None

    async def _delete(
        self, key: str, replica_set: appsv1.ReplicaSet, doomed: Sequence[corev1.Pod]
    ) -> errors.ApiError | None:
        mutations = [_deletion(pod) for pod in doomed]
        results = await self._client.batch(mutations)
        first: errors.ApiError | None = None
        for pod, result in zip(doomed, results, strict=True):
            if not isinstance(result, errors.ApiError):
                self._written_pods.deleted(key, [pod], self._clock.monotonic())
                self._tell(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
            elif not isinstance(result, errors.NotFound):
                first = first or result
                self._tell(replica_set, "Warning", "FailedDelete", f"Error deleting: {result}")
        return first

    async def _report(
        self, key: str, replica_set: appsv1.ReplicaSet, owned: Sequence[corev1.Pod], failure: Failure | None
    ) -> None:
        after = status(replica_set, owned, failure, self._clock.now())
        if after is None:
            return
        changed = appsv1.ReplicaSet()
        changed.CopyFrom(replica_set)
        changed.status.CopyFrom(after)
        self._written.wrote(key, [await self._client.update_status(changed)], self._clock.monotonic())

    def _tell(self, replica_set: appsv1.ReplicaSet, kind: EventType, reason: str, message: str) -> None:
        self._events.event(replica_set, kind, reason, message)

    def _on_replica_set(self, old: appsv1.ReplicaSet | None, new: appsv1.ReplicaSet | None) -> None:
        if (replica_set := new or old) is not None:
            self.controller.queue.add(key_of(replica_set))

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        owners = {key for each in (old, new) if each is not None and (key := _owner_key(each)) is not None}
        for key in owners:
            if new is None and old is not None:
                self._written_pods.saw_deletion(key, old)
            self.controller.queue.add(key)
        if new is not None and controller_of(new) is None and new.metadata.labels:
            self._wake_adopters(new)

    def _wake_adopters(self, orphan: corev1.Pod) -> None:
        for each in self._replica_sets.by_index("namespace", orphan.metadata.namespace):
            if Selector.of(each.spec.selector).matches(orphan.metadata.labels):
                self.controller.queue.add(key_of(each))


def _deletion(pod: corev1.Pod) -> objects_pb2.Mutation:
    metadata = pod.metadata
    options = requests.delete_options(uid=metadata.uid)
    return requests.mutation(requests.delete_request(corev1.Pod, metadata.name, metadata.namespace, options))


def _reason(step: Plan) -> str:
    return "FailedCreate" if step.create else "FailedDelete"


def _owner_key(pod: corev1.Pod) -> str | None:
    owner = controller_of(pod)
    return f"{pod.metadata.namespace}/{owner.name}" if owner is not None and owner.kind == "ReplicaSet" else None
