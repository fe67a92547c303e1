"""Says of each Pod whether the node takes it, and makes room for critical ones.

A Pod that asks for devices gets them first, in the time that their plugin takes; meanwhile it counts as let in.
A critical Pod for which there is too little displaces others, and is judged again when they are gone. Until then what
it asks for counts as taken, so that no other Pod slips into its place. Nothing of this outlives the kubelet: after a
restart the Pod is judged anew.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.log import get_logger
from navarch.services.client.events import EventType
from navarch.services.kubelet.core.admission import NODE_AFFINITY, ShortOfResources, admit
from navarch.services.kubelet.core.events_text import REJECTED
from navarch.services.kubelet.core.orders import Admitted, Rejected
from navarch.services.kubelet.core.preemption import MESSAGE, REASON, preempt, victims, without
from navarch.services.kubelet.core.pressure import is_critical
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.pod_worker import PodWorker


@dataclass(frozen=True, slots=True)
class MakingRoom:
    """A critical Pod, and those that have to be gone before it is let in."""

    critical: PodWorker
    leaving: Sequence[PodWorker]


class GivesDevices(Protocol):
    """The manager of devices, as admission sees it."""

    def counted(self) -> Sequence[str]:
        """The resources that are given away by it alone."""
        ...

    def wanted(self, pod: corev1.Pod) -> bool:
        """Whether a Pod asks for some."""
        ...

    async def allocate(self, pod: corev1.Pod) -> Rejected | None:
        """Give a Pod what it asks for; the refusal when it cannot have it."""
        ...

    def pod_ended(self, uid: str) -> None:
        """A Pod holds nothing any more."""
        ...


class Admissions:
    """The admission of one node. workers: of all its Pods."""

    def __init__(self, workers: Callable[[], Iterable[PodWorker]], node: Callable[[], corev1.Node]) -> None:
        self._workers = workers
        self._node = node
        # The refusal of a Pod for the sake of the node as a whole; None to let it in.
        self.refuse: Callable[[corev1.Pod], Rejected | None] = lambda _: None
        # Has the Node read from the API, as well as that goes, and calls back.
        self.read_node: Callable[[Callable[[], None]], object] = lambda then: then()
        # Reports an Event of a Pod.
        self.tell: Callable[[corev1.Pod, EventType, str, str], None] = lambda *_: None
        # Told of each Pod that has to leave: the resource that there is too little of.
        self.on_preempted: Callable[[str], None] = lambda _: None
        # None: the node has none. spawn: runs what gives them away.
        self.devices: GivesDevices | None = None
        self.spawn: Callable[[Coroutine[None, None, None], str], object] = lambda work, _: work.close()
        # Gives a Pod that is let in CPUs of its own, where it asks for them; the refusal when it cannot have them.
        self.give_cpus: Callable[[corev1.Pod], Rejected | None] = lambda _: None
        self._making_room: dict[str, MakingRoom] = {}
        self._getting_devices: set[str] = set()
        self._log = get_logger("kubelet.admissions")

    def judge(self, worker: PodWorker) -> None:
        """Tell a Pod whether it is taken; a critical one maybe later, when there is room for it."""
        decision = self._decide(worker)
        if isinstance(decision, Rejected) and decision.reason == NODE_AFFINITY:
            # The labels that it asks for may have come just before it.
            self.read_node(lambda: self._judge_again(worker))
        else:
            self._tell(worker, decision)

    def _judge_again(self, worker: PodWorker) -> None:
        if worker.machine.awaits_admission:
            self._tell(worker, self._decide(worker))

    def _decide(self, worker: PodWorker) -> Admitted | Rejected:
        pod = worker.view.pod
        counted = self.devices.counted() if self.devices is not None else ()
        others = [other.view.pod for other in self.others(worker)]
        return self.refuse(pod) or admit(pod, self._node(), others, counted)

    def _tell(self, worker: PodWorker, decision: Admitted | Rejected) -> None:
        answer: Admitted | Rejected | None = decision
        if isinstance(decision, ShortOfResources) and is_critical(worker.view.pod):
            answer = self._make_room(worker, decision)
        if isinstance(answer, Admitted) and (refusal := self.give_cpus(worker.view.pod)) is not None:
            self._tell_of(worker.view.pod, refusal)
            answer = refusal
        if isinstance(answer, Admitted) and self.devices is not None and self.devices.wanted(worker.view.pod):
            self._getting_devices.add(worker.uid)
            self.spawn(self._give_devices(worker, self.devices), "give-devices")
        elif answer is not None:
            worker.tell(answer)

    async def _give_devices(self, worker: PodWorker, devices: GivesDevices) -> None:
        refusal = await devices.allocate(worker.view.pod)
        self._getting_devices.discard(worker.uid)
        if not worker.machine.awaits_admission:
            # Deleted meanwhile.
            devices.pod_ended(worker.uid)
            return
        if refusal is not None:
            self._tell_of(worker.view.pod, refusal)
        worker.tell(refusal or Admitted())

    def _tell_of(self, pod: corev1.Pod, refusal: Rejected) -> None:
        self.tell(pod, "Warning", refusal.reason, refusal.message.removeprefix(REJECTED))

    def pod_changed(self) -> None:
        """Something happened to a Pod: others may have got the room that they wait for."""
        for uid, room in list(self._making_room.items()):
            if not room.critical.machine.awaits_admission:
                del self._making_room[uid]
            elif all(worker.machine.has_left for worker in room.leaving) or self._has_room(room.critical):
                del self._making_room[uid]
                self.judge(room.critical)

    def _has_room(self, worker: PodWorker) -> bool:
        return not isinstance(self._decide(worker), ShortOfResources)

    def others(self, worker: PodWorker) -> list[PodWorker]:
        """Those whose Pods use the node beside a Pod, or are about to."""
        return [other for other in self._workers() if other is not worker and self._takes_place(other)]

    def _takes_place(self, worker: PodWorker) -> bool:
        if worker.machine.stage == Stage.NEW:
            return worker.uid in self._making_room or worker.uid in self._getting_devices
        return not worker.machine.has_left

    def _make_room(self, worker: PodWorker, short: ShortOfResources) -> Rejected | None:
        """Have as few Pods leave as are needed beside those that do so anyway; the refusal when that cannot help."""
        others = self.others(worker)
        ending = [other for other in others if other.view.ending]
        staying = {other.uid: other for other in others if not other.view.ending}
        missing = without(short.missing, [other.view.pod for other in ending])
        chosen = victims(worker.view.pod, [other.view.pod for other in staying.values()], missing)
        if isinstance(chosen, Rejected):
            return chosen
        leaving = [staying[pod.metadata.uid] for pod in chosen]
        # Before they are told: one that runs nothing leaves at once, and that is noticed.
        self._making_room[worker.uid] = MakingRoom(worker, [*ending, *leaving])
        for victim in leaving:
            self._log.info("pod.preempted", pod=victim.view.name, critical=worker.view.name)
            self.tell(victim.view.pod, "Warning", REASON, MESSAGE)
            self.on_preempted(next(iter(short.missing)))
            victim.tell(preempt(victim.view.pod))
        return None
