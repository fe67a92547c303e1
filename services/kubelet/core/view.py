"""What the kubelet knows of one Pod: the input of planning and of status generation."""

from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.granted import Pending
from navarch.services.kubelet.core.observed import EXITED, Container, PodRuntime, Sandbox
from navarch.services.kubelet.core.orders import ProbeKind
from navarch.services.kubelet.core.restart import is_sidecar, policy_of, restarts_all, should_restart
from navarch.services.kubelet.core.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run. image: of the volume or container that could not be had."""

    reason: str
    message: str = ""
    since: float = 0.0
    image: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The Pod failed as a whole: refused by the node, over its deadline, or evicted. condition: shown with it."""

    reason: str
    message: str
    condition: corev1.PodCondition | None = None


@dataclass(slots=True)
class View:
    """One Pod as it should be and as it is."""

    pod: corev1.Pod
    runtime: PodRuntime = field(default_factory=PodRuntime)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    probes: dict[tuple[str, ProbeKind], bool] = field(default_factory=dict)
    # postStart hooks that have not ended: their containers have not started yet.
    starting: set[str] = field(default_factory=set)
    verdict: Verdict | None = None
    # No container of it will ever run again.
    ending: bool = False
    # When all containers were to start anew: runs made before are those of an earlier round (Unix seconds).
    round_began: float = 0.0
    # The Pod as its spec asks for it, while `pod` has other resources: those that the node has granted.
    asked: corev1.Pod | None = None
    pending: Pending | None = None
    # Of running containers and of sandboxes, where others than `pod` has, or where known after a resize.
    sizes: dict[str, Sizes] = field(default_factory=dict)
    resize_errors: dict[str, str] = field(default_factory=dict)
    # Runs that ended so that their container gets other resources or another image: another follows whatever
    # the policy, and at once.
    resized: set[str] = field(default_factory=set)
    # Runs ended for a probe: another follows whatever their exit code, held back as after a crash.
    replaced: set[str] = field(default_factory=set)

    def take(self, granted: corev1.Pod, asked: corev1.Pod) -> None:
        """The Pod has changed: as the node has granted it, and as its spec asks for it, the same object if alike."""
        self.pod = granted
        self.asked = None if asked is granted else asked
        if self.asked is None:
            self.pending = None

    @property
    def name(self) -> str:
        """namespace/name, for messages."""
        return f"{self.pod.metadata.namespace}/{self.pod.metadata.name}"

    @property
    def deleted(self) -> bool:
        """Whether the API server asks for its end."""
        return self.pod.metadata.HasField("deletion_timestamp")

    def container(self, name: str) -> corev1.Container | None:
        """A container of the Pod's spec of any sort, by name."""
        spec = self.pod.spec
        every = [*spec.containers, *spec.init_containers, *ephemeral_containers(self.pod)]
        return next((one for one in every if one.name == name), None)

    def is_past(self, run: Container) -> bool:
        """Whether a run belongs to an earlier round: it is to end, and says nothing of its container any more."""
        return run.created_at < self.round_began

    def ended_by_us(self, container: corev1.Container, run: Container) -> bool:
        """Whether a run ended so that another follows: no policy is asked, and it is not held back as a crash is."""
        return run.id in self.resized or (self.is_past(run) and not restarts_all(container, run))

    def policy(self, container: corev1.Container) -> str:
        """The restart policy that holds for a container of this Pod."""
        return policy_of(self.pod, container, init=container in self.pod.spec.init_containers)

    def follows(self, container: corev1.Container, run: Container) -> bool:
        """Whether another run follows one that has ended."""
        return run.id in self.resized | self.replaced or should_restart(self.policy(container), container, run)

    def current(self, name: str) -> Container | None:
        """The newest run of a container in this round."""
        run = self.runtime.latest(name)
        return None if run is None or self.is_past(run) else run

    def begin_rounds(self, now: float) -> None:
        """Find when the last round began. An end in the future shows that the clock was set back: it begins none."""
        spec = self.pod.spec
        ends = [
            run.ended_at
            for container in [*spec.init_containers, *spec.containers]
            if container.restart_policy_rules
            for run in self.runtime.runs(container.name)
            if run.state == EXITED and not run.lost and run.ended_at <= now and restarts_all(container, run)
        ]
        self.round_began = max(ends, default=0.0)

    def actual_sizes(self, run: Container) -> Sizes | None:
        """What a run has; None for what it should have."""
        # Only a change of its spec can make a difference.
        return (self.sizes.get(run.id) or run.sizes) if self.pod.metadata.generation > 1 else None

    def started(self, container: corev1.Container, run: Container) -> bool:
        """Whether a run is up: its hook has ended and its startup probe has succeeded."""
        if not run.alive or run.name in self.starting:
            return False
        return not container.HasField("startup_probe") or self.probes.get((run.id, ProbeKind.STARTUP), False)

    def ready(self, container: corev1.Container, run: Container) -> bool:
        """Whether a run may get traffic."""
        if not self.started(container, run):
            return False
        return not container.HasField("readiness_probe") or self.probes.get((run.id, ProbeKind.READINESS), False)

    def initialization(self, box: Sandbox | None) -> "Initialization":
        """How far the init containers are in this sandbox."""
        inits = list(self.pod.spec.init_containers)
        mains = {container.name for container in self.pod.spec.containers}
        if box is None:
            return Initialization(0, None)
        runs = [run for run in self.runtime.containers.values() if run.sandbox_id == box.id and not self.is_past(run)]
        if any(run.name in mains for run in runs):
            return Initialization(len(inits), None)
        for index, container in enumerate(inits):
            run = self.current(container.name)
            if run is None or run.sandbox_id != box.id:
                return Initialization(index, None)
            if is_sidecar(container):
                if not self.started(container, run):
                    return Initialization(index, None)
            elif run.state != EXITED:
                return Initialization(index, None)
            elif run.exit_code != 0:
                policy = policy_of(self.pod, container, init=True)
                return Initialization(index, None if should_restart(policy, container, run) else container.name)
        return Initialization(len(inits), None)

    def has_ended(self) -> bool:
        """Whether the Pod has run to its end by itself: nothing of it is to run (again)."""
        if self.initialization(self.runtime.sandbox()).failed:
            return True
        if self._lost_its_only_chance():
            return True
        return bool(self.pod.spec.containers) and all(map(self._over, self.pod.spec.containers))

    def _over(self, container: corev1.Container) -> bool:
        run = self.current(container.name)
        if run is None or run.state != EXITED:
            return False
        return not self.follows(container, run)

    def _lost_its_only_chance(self) -> bool:
        """A Pod that never restarts does not get a second sandbox once any container has run."""
        box = self.runtime.sandbox()
        return (
            self.pod.spec.restart_policy == "Never"
            and bool(self.runtime.containers)
            and (box is None or not box.ready)
            and not self.runtime.alive()
        )


@dataclass(frozen=True, slots=True)
class Initialization:
    """Init containers before `position` are through; `failed` names one that failed for good."""

    position: int
    failed: str | None

    def complete(self, pod: corev1.Pod) -> bool:
        """Whether the main containers may start."""
        return self.position == len(pod.spec.init_containers)
