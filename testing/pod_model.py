"""Every life that a small Pod can live on a node: its machine, a runtime that is only facts, and an API server.

`World` is one moment. `World.choices` are all that may happen next: an order is carried out, or fails; a container
ends; the sandbox is lost; somebody deletes the Pod; time passes; the kubelet dies, with the order it was at done or
not, and X
"""

import copy
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.container_hash import container_hash
from navarch.services.kubelet.core.machine import PodMachine
from navarch.services.kubelet.core.observed import CREATED, EXITED, RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Admitted,
    DeletePod,
    Done,
    Emit,
    EnsureImage,
    Event,
    Failed,
    Order,
    PodChanged,
    PodRemoved,
    Relisted,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    Seen,
    StartContainer,
    StopContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.status import NodeFacts, pod_status

START = 1_700_000_000.0
NODE = NodeFacts(("192.0.2.1",))
TERMINAL = ("Succeeded", "Failed")
# What an undisturbed life takes at most: then it is one that never ends.
MOST_STEPS = 400


class Broken(AssertionError):
    """A promise of Pods is broken."""


@dataclass
class Budget:
    """How often what disturbs may still happen."""

    failures: int = 1
    exits: int = 1
    losses: int = 1
    restarts: int = 1
    deletions: int = 1


@dataclass
class World:
    """One moment. pod: as the API server has it; None once it is gone. ways: what has happened, for people."""

    pod: corev1.Pod | None
    machine: PodMachine
    budget: Budget
    now: float = START
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    starts: "Counter[str]" = field(default_factory=Counter)
    ways: list[str] = field(default_factory=list)
    made: int = 0
    sequence: int = 1

    @classmethod
    def of(cls, pod: corev1.Pod, budget: Budget) -> "World":
        """A Pod that was just bound to the node."""
        world = cls(pod, PodMachine(pod), budget)
        world._begin()
        return world

    def _begin(self) -> None:
        """A kubelet looks at the runtime first, then at the API server, as after each of its starts."""
        facts: tuple[Sandbox | Container, ...] = (*self.sandboxes.values(), *self.containers.values())
        if facts:
            self.tell(Seen(facts, self.sequence))
        if self.pod is None:
            self.tell(PodRemoved())
            return
        self.tell(PodChanged(self.pod))
        if self.machine.awaits_admission:
            self.tell(Admitted())

    # What happens

    def choices(self) -> Iterator[str]:
        """Names of all that may happen next."""
        for index, order in enumerate(self.orders):
            yield f"do {index} {'-'.join(order.key)}"
            if self.budget.failures and not isinstance(order, StopContainer | RemoveContainer | RemoveSandbox):
                yield f"fail {index} {'-'.join(order.key)}"
        for run in self._alive():
            if run.name in self._inits():
                yield f"end {run.id}"
        if self.budget.exits:
            for run in self._alive():
                yield f"exit {run.id} 0"
                yield f"exit {run.id} 1"
        if self.budget.losses and any(box.ready for box in self.sandboxes.values()):
            yield "lose"
        if self.budget.deletions and self.pod is not None:
            yield "delete"
        if self.budget.restarts:
            yield "restart before"
            if self.orders:
                yield "restart after"
                if isinstance(self.orders[0], StartContainer) and not self.orders[0].created:
                    yield "restart created"
        for run in self.containers.values():
            if run.state == CREATED:
                yield f"late {run.id}"
        if not self.orders and self.machine.wake_at is not None:
            yield "wait"

    def after(self, choice: str) -> "World":
        """The moment that follows."""
        world = copy.deepcopy(self)
        world.ways.append(choice)
        world._happen(choice.split(" "))
        world.check()
        return world

    def _happen(self, words: list[str]) -> None:
        match words:
            case ["do", index, _]:
                order = self.orders.pop(int(index))
                self.tell(self._carry_out(order))
            case ["fail", index, _]:
                self.budget.failures -= 1
                self.tell(Failed(self.orders.pop(int(index)), "Error", "no"))
            case ["exit", id_, code]:
                self.budget.exits -= 1
                self.tell(Seen((self._exit(id_, int(code)),), self.sequence))
            case ["end", id_]:
                self.tell(Seen((self._exit(id_, 0),), self.sequence))
            case ["lose"]:
                self.budget.losses -= 1
                self.tell(Seen(tuple(self._lose()), self.sequence))
            case ["delete"]:
                self.budget.deletions -= 1
                self.delete()
            case ["restart", when]:
                self.budget.restarts -= 1
                if when == "after":
                    self._carry_out(self.orders[0])
                elif when == "created":
                    self._create(self.orders[0])
                self.restart()
            case ["late", id_]:
                # The start that the dead kubelet had asked for.
                self.starts[self.containers[id_].name] += 1
                self.containers[id_] = replace(self.containers[id_], state=RUNNING, started_at=self.now)
                self.tell(Seen((self.containers[id_],), self.sequence))
            case ["wait"]:
                assert self.machine.wake_at is not None
                self.now = max(self.now, self.machine.wake_at)
                self.tell(Tick())

    def tell(self, event: Event) -> None:
        """An event for the machine; what it orders is under way, and its status is reported."""
        was_ending = self.machine.view.ending
        given = [order for order in self.machine.handle(event, self.now) if not isinstance(order, Emit)]
        if was_ending and any(isinstance(order, StartContainer | RunSandbox) for order in given):
            raise Broken(f"something is started in a Pod that ends: {given}")
        self.orders += given
        self.machine.check_invariants()
        if self.pod is not None and self.machine.stage not in (Stage.NEW, Stage.GONE):
            self._report(self.pod)

    def _report(self, pod: corev1.Pod) -> None:
        status = pod_status(self.machine.view, NODE, self.now)
        if pod.status.phase in TERMINAL and status.phase != pod.status.phase:
            raise Broken(f"phase {pod.status.phase} became {status.phase}")
        reported = corev1.Pod(metadata=pod.metadata, spec=pod.spec, status=status)
        if reported != pod:
            self.pod = reported
            self.machine.handle(PodChanged(reported), self.now)

    def delete(self) -> None:
        """Somebody asks for the Pod's end."""
        assert self.pod is not None
        pod = corev1.Pod()
        pod.CopyFrom(self.pod)
        pod.metadata.deletion_timestamp.seconds = int(self.now) + 30
        pod.metadata.deletion_grace_period_seconds = 30
        self.pod = pod
        self.tell(PodChanged(pod))

    def restart(self) -> None:
        """The kubelet dies, and another begins."""
        pod = self.pod
        if pod is None:
            pod = corev1.Pod()
            pod.CopyFrom(self.machine.view.pod)
        self.machine, self.orders = PodMachine(pod), []
        self.sequence += 1
        self._begin()

    # The runtime

    def _carry_out(self, order: Order) -> Done | Failed:
        match order:
            case RunSandbox(attempt):
                box = Sandbox(self._id("box"), attempt, True, self.now, ("10.0.0.9",))
                self.sandboxes[box.id] = box
                return Done(order, (box,), sequence=self.sequence)
            case EnsureImage():
                return Done(order, image_ref="sha256:1")
            case StartContainer(_, _, box) if not (box.id in self.sandboxes and self.sandboxes[box.id].ready):
                return Failed(order, "CreateContainerError", "the sandbox is lost")
            case StartContainer(created=id_) if id_ and id_ not in self.containers:
                return Failed(order, "RunContainerError", "there is no such container")
            case StartContainer(created=id_) if id_ and self.containers[id_].state != CREATED:
                return Done(order, (self.containers[id_],), sequence=self.sequence)
            case StartContainer():
                return Done(order, (self._start(order),), sequence=self.sequence)
            case StopContainer(id_) if id_ in self.containers:
                return Done(order, (self._exit(id_, 143),))
            case RemoveContainer(id_):
                self.containers.pop(id_, None)
            case StopSandbox(id_):
                self._stop(id_)
            case RemoveSandbox(id_):
                self.sandboxes.pop(id_, None)
                for run in [run for run in self.containers.values() if run.sandbox_id == id_]:
                    del self.containers[run.id]
            case DeletePod():
                self.pod = None
        return Done(order)

    def _id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    def _start(self, order: StartContainer) -> Container:
        name = order.container
        if any(run.name == name for run in self._alive()):
            raise Broken(f"{name} runs twice")
        self._check_turn(name, order.sandbox.id)
        self.starts[name] += 1
        made = self.containers[order.created] if order.created else self._create(order)
        run = self.containers[made.id] = replace(made, state=RUNNING, started_at=self.now)
        return run

    def _create(self, order: Order) -> Container:
        assert isinstance(order, StartContainer)
        name, container = order.container, self.machine.view.container(order.container)
        assert container is not None
        run = Container(
            self._id(f"{name}-"),
            name,
            order.attempt,
            order.sandbox.id,
            CREATED,
            self.now,
            hash=container_hash(container),
        )
        self.containers[run.id] = run
        return run

    def _check_turn(self, name: str, box: str) -> None:
        """Init containers before it are through in this sandbox, and sidecars run; it is not through itself."""
        for run in self.containers.values():
            if name in self._inits() and (run.name, run.sandbox_id, run.state, run.exit_code) == (name, box, EXITED, 0):
                raise Broken(f"{name} is through, and is started again")
        for container in self.machine.view.pod.spec.init_containers:
            if container.name == name:
                return
            runs = [run for run in self.containers.values() if run.name == container.name and run.sandbox_id == box]
            begun = any(run.name in self._mains() and run.sandbox_id == box for run in self.containers.values())
            if is_sidecar(container):
                fine = begun or any(run.state != CREATED for run in runs)
            else:
                fine = begun or any(run.state == EXITED and run.exit_code == 0 for run in runs)
            if not fine:
                raise Broken(f"{name} is started before {container.name} is through")

    def _mains(self) -> set[str]:
        return {container.name for container in self.machine.view.pod.spec.containers}

    def _inits(self) -> set[str]:
        """Init containers that end by themselves."""
        return {one.name for one in self.machine.view.pod.spec.init_containers if not is_sidecar(one)}

    def _alive(self) -> list[Container]:
        return [run for run in self.containers.values() if run.alive]

    def _exit(self, id_: str, code: int) -> Container:
        run = self.containers[id_]
        if run.alive:
            run = self.containers[id_] = replace(run, state=EXITED, exit_code=code, finished_at=self.now)
        return run

    def _stop(self, id_: str) -> None:
        if id_ in self.sandboxes:
            self.sandboxes[id_] = replace(self.sandboxes[id_], ready=False)
            for run in self._alive():
                if run.sandbox_id == id_:
                    self._exit(run.id, 137)

    def _lose(self) -> Iterator[Sandbox | Container]:
        for box in [box for box in self.sandboxes.values() if box.ready]:
            lost = [run.id for run in self._alive() if run.sandbox_id == box.id]
            self._stop(box.id)
            yield self.sandboxes[box.id]
            yield from (self.containers[id_] for id_ in lost)

    # What must be

    def check(self) -> None:
        """Raise Broken where a promise is broken."""
        spec = self.machine.view.pod.spec
        if spec.restart_policy == "Never":
            for name in self._mains():
                if self.starts[name] > 1:
                    raise Broken(f"{name} of a Pod that never restarts was started {self.starts[name]} times")
        if self.machine.stage == Stage.GONE and (self.sandboxes or self.containers):
            raise Broken("it is gone, and has left something")

    def end(self) -> None:
        """Nothing disturbs it any more, and it is deleted: it comes to its end and leaves nothing. Raises Broken."""
        world = copy.deepcopy(self)
        world.ways.append("end")
        is_told = False
        for _ in range(MOST_STEPS):
            if world.machine.stage == Stage.GONE and not world.orders:
                break
            if world.orders:
                world.tell(world._carry_out(world.orders.pop(0)))
            elif world.pod is None and not is_told:
                is_told = True
                world.tell(PodRemoved())
            elif world.pod is not None and not world.pod.metadata.HasField("deletion_timestamp"):
                world.delete()
            elif world.machine.wake_at is not None:
                world.now = max(world.now, world.machine.wake_at)
                world.tell(Tick())
            else:
                # What a relist would find.
                world.sequence += 1
                world.tell(Relisted((*world.sandboxes.values(), *world.containers.values()), world.sequence))
            world.check()
        else:
            raise Broken(f"no end after {MOST_STEPS} steps: {world.machine.stage}, {world.orders}, {world.pod}")
        world.check()

    def undisturbed(self) -> "World":
        """The moment at which all of it runs, where nothing disturbs it."""
        world = copy.deepcopy(self)
        while world.orders or world.machine.stage != Stage.RUNNING:
            if world.orders:
                world.tell(world._carry_out(world.orders.pop(0)))
            else:
                ending = next(run.id for run in world._alive() if run.name in world._inits())
                world.tell(Seen((world._exit(ending, 0),), world.sequence))
        return world

    def fingerprint(self) -> tuple[object, ...]:
        """Equal for moments from which the same follows. Ids and times do not count, but their order does."""
        view, memory = self.machine.view, self.machine._memory
        names = {id_: number for number, id_ in enumerate([*self.sandboxes, *self.containers])}
        known = {id_: (run.state, run.exit_code) for id_, run in view.runtime.containers.items()}
        return (
            self.machine.stage,
            self.pod is None,
            None if self.pod is None else (self.pod.status.phase, self.pod.metadata.HasField("deletion_timestamp")),
            tuple((box.attempt, box.ready) for box in self.sandboxes.values()),
            tuple((run.name, run.attempt, run.state, run.exit_code) for run in self.containers.values()),
            tuple(sorted((names.get(id_, -1), *facts) for id_, facts in known.items())),
            tuple(sorted(order.key[0] + str(order.key[1:2]) for order in self.orders)),
            tuple(sorted(memory.images)),
            tuple(sorted(memory.retries._held)),
            len(memory.kills),
            len(memory.released),
            view.verdict,
            view.ending,
            tuple(vars(self.budget).values()),
            tuple(sorted(self.starts.items())),
        )


def explore(start: World, most: int, every: int = 1) -> tuple[int, set[tuple[Stage, Stage]]]:
    """Follow all that may happen, breadth first, until `most` moments have been seen.

    every: of how many moments one is followed to its undisturbed end. Returns how many moments there were, and which
    stages followed each other. Raises Broken with the way that led there.
    """
    seen = {start.fingerprint()}
    queue = deque([start])
    count, transitions = 0, set()
    while queue and count < most:
        world = queue.popleft()
        count += 1
        try:
            if count % every == 0:
                world.end()
        except AssertionError as failure:
            raise Broken(f"{failure}; the way there: {world.ways}") from failure
        for choice in world.choices():
            try:
                following = world.after(choice)
            except AssertionError as failure:
                raise Broken(f"{failure}; the way there: {[*world.ways, choice]}") from failure
            if not choice.startswith("restart"):
                transitions.add((world.machine.stage, following.machine.stage))
            mark = following.fingerprint()
            if mark not in seen:
                seen.add(mark)
                queue.append(following)
    return count, transitions
