"""The Pods of this node: which there are by the API and by the runtime, one worker for each.

A Pod has a worker from the moment it is seen bound to this node until nothing of it is left here. What runs
here and belongs to no Pod of the API is an orphan: it gets a worker too, whose Pod is already removed.
"""

from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.log import get_logger
from navarch.services.kubelet.admissions import Admissions
from navarch.services.kubelet.core.granted import INFEASIBLE, Pending, judge
from navarch.services.kubelet.core.orders import (
    PodChanged,
    PodRemoved,
    ReferencesChanged,
    Relisted,
    ResizeJudged,
    Seen,
)
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime_watch import Fact, Listing, PodIdentity

IN_TRANSITION = (Stage.STARTING, Stage.INITIALIZING, Stage.STOPPING, Stage.RELEASING)


class PodTable:
    """All workers of one kubelet."""

    def __init__(
        self,
        make_worker: Callable[[corev1.Pod], PodWorker],
        drop_worker: Callable[[PodWorker], None],
        node: Callable[[], corev1.Node],
    ) -> None:
        self._make_worker = make_worker
        self._drop_worker = drop_worker
        self._node = node
        self.admissions = Admissions(self.all, node)
        self._workers: dict[str, PodWorker] = {}
        # Pods that we are done with, and that the API still shows (a finalizer holds them).
        self._done: set[str] = set()
        # Of the newest listing: what belongs to no worker.
        self._unclaimed: dict[PodIdentity, list[Fact]] = {}
        self._sequence = 0
        # Why a Pod (as it asks, as it is) cannot be resized on this node; "" where it can.
        self.refuse_resize: Callable[[corev1.Pod, corev1.Pod], str] = lambda *_: ""
        # Pods whose resize waits for room.
        self._deferred: set[str] = set()
        self._log = get_logger("kubelet.pods")
        # Whether all Pods of the API have been seen: before, nothing can be called an orphan.
        self.complete = False

    def all(self) -> Iterable[PodWorker]:
        """All workers."""
        return list(self._workers.values())

    def get(self, uid: str) -> PodWorker | None:
        """The worker of a Pod."""
        return self._workers.get(uid)

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a Pod by name; of two with one name, the one that is not ending."""
        named = [
            worker
            for worker in self._workers.values()
            if (worker.view.pod.metadata.namespace, worker.view.pod.metadata.name) == (namespace, name)
        ]
        return min(named, key=lambda worker: worker.view.ending, default=None)

    def active(self) -> list[corev1.Pod]:
        """The Pods that were let in and have not ended."""
        machines = [worker.machine for worker in self._workers.values()]
        return [one.view.pod for one in machines if not one.runs_nothing and not one.awaits_admission]

    def may_hold(self, uid: str) -> bool:
        """Whether containers of a Pod may use what it was given; as long as not all Pods are known, they may."""
        if (worker := self._workers.get(uid)) is None:
            return not self.complete
        return not worker.machine.runs_nothing and worker.machine.stage != Stage.RELEASING

    def uids(self) -> set[str]:
        """Of all Pods that something of may be here."""
        return set(self._workers)

    def using(self) -> list[corev1.Pod]:
        """The Pods that use the node, as it granted them."""
        return [worker.view.pod for worker in self._workers.values() if not worker.machine.runs_nothing]

    def settled(self, uid: str) -> corev1.Pod | None:
        """A Pod that runs with the resources that it was granted."""
        worker = self._workers.get(uid)
        return worker.view.pod if worker is not None and worker.machine.is_settled else None

    def in_transition(self) -> bool:
        """Whether some Pod is on its way to another state."""
        return any(worker.is_busy or worker.machine.stage in IN_TRANSITION for worker in self._workers.values())

    def expects_ends(self) -> bool:
        """Whether some Pod runs that is to end by itself."""
        return any(
            worker.view.pod.spec.restart_policy != "Always" and worker.machine.stage == Stage.RUNNING
            for worker in self._workers.values()
        )

    def changed(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        """A Pod as the API has it has changed; the handler of the informer."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._removed(old.metadata.uid)
        if new is not None:
            self._seen(new)

    def _removed(self, uid: str) -> None:
        self._done.discard(uid)
        if (worker := self._workers.get(uid)) is not None:
            worker.tell(PodRemoved())

    def _seen(self, pod: corev1.Pod) -> None:
        uid = pod.metadata.uid
        if uid in self._done:
            return
        worker = self._workers.get(uid)
        if worker is not None:
            known = worker.view.pod.metadata
            if int(pod.metadata.resource_version or 0) > int(known.resource_version or 0):
                worker.tell(PodChanged(pod))
            # Also what the answer to a report of ours has told already.
            self._judge_resize(worker)
            return
        worker = self._add(pod)
        worker.tell(PodChanged(pod))
        if worker.machine.awaits_admission:
            self.admissions.judge(worker)
        self._judge_resize(worker)

    def _others(self, worker: PodWorker) -> list[corev1.Pod]:
        """The Pods that use the node beside one, with the resources that they were granted."""
        return [other.view.pod for other in self.admissions.others(worker)]

    def _judge_resize(self, worker: PodWorker) -> None:
        """A running Pod may ask for other resources; what it gives back others may have waited for."""
        if (asked := worker.view.asked) is not None and not worker.view.ending:
            refusal = self.refuse_resize(asked, worker.view.pod)
            others = self._others(worker)
            pending = Pending(INFEASIBLE, refusal) if refusal else judge(asked, self._node(), others)
            worker.tell(ResizeJudged(pending))
            if pending is not None:
                self._deferred.add(worker.uid)
                return
            self._deferred.discard(worker.uid)
            self.room_was_made()

    def room_was_made(self) -> None:
        """Some Pod uses less than before: look again at the resizes that wait, the most important Pod's first."""
        if not self._deferred:
            return
        waiting = [worker for uid in self._deferred if (worker := self._workers.get(uid)) is not None]
        self._deferred = {worker.uid for worker in waiting if worker.view.asked is not None}
        for worker in sorted(waiting, key=lambda worker: -worker.view.pod.spec.priority):
            if worker.uid in self._deferred and worker.view.pending is not None:
                self._judge_resize(worker)

    def _add(self, pod: corev1.Pod) -> PodWorker:
        metadata = pod.metadata
        worker = self._workers[metadata.uid] = self._make_worker(pod)
        identity = PodIdentity(metadata.namespace, metadata.name, metadata.uid)
        if facts := self._unclaimed.pop(identity, None):
            worker.tell(Seen(tuple(facts), self._sequence))
        return worker

    def listed(self, listing: Listing) -> None:
        """The runtime was listed."""
        self._sequence = listing.sequence
        by_uid = {identity.uid: facts for identity, facts in listing.pods.items()}
        for uid, worker in list(self._workers.items()):
            worker.tell(Relisted(tuple(by_uid.get(uid, ())), listing.sequence))
        self._unclaimed = {
            identity: facts for identity, facts in listing.pods.items() if identity.uid not in self._workers
        }
        if self.complete:
            self.adopt_orphans()

    def facts(self, identity: PodIdentity, facts: tuple[Fact, ...], sequence: int) -> None:
        """The runtime told something about a Pod."""
        if (worker := self._workers.get(identity.uid)) is not None:
            worker.tell(Seen(facts, sequence))

    def adopt_orphans(self) -> None:
        """Give what belongs to no Pod a worker that ends it."""
        for identity in list(self._unclaimed):
            if not identity.uid:
                # Not made by a kubelet.
                continue
            self._log.info("pod.orphan", pod=f"{identity.namespace}/{identity.name}", uid=identity.uid)
            pod = corev1.Pod()
            pod.metadata.namespace, pod.metadata.name = identity.namespace, identity.name
            pod.metadata.uid = identity.uid
            self._add(pod).tell(PodRemoved())

    def references_changed(self, uids: set[str]) -> Iterable[PodWorker]:
        """ConfigMaps or Secrets of these Pods changed. Returns the workers whose volumes are to be refreshed."""
        workers = [worker for uid in uids if (worker := self._workers.get(uid)) is not None]
        for worker in workers:
            worker.tell(ReferencesChanged())
        return [worker for worker in workers if worker.machine.volumes_ready and worker.view.pod.spec.volumes]

    def reap(self, worker: PodWorker, in_api: bool) -> None:
        """Forget a worker that has nothing left to do."""
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]
            self.room_was_made()
            if in_api:
                self._done.add(worker.uid)
            self._drop_worker(worker)
