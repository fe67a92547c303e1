"""What the runtime says about one Pod.

Facts arrive out of order (events, relists, answers to our own orders), so they are merged by a rule that
does not depend on order: a container only ever goes Created -> Running -> Exited, a sandbox only Ready ->
NotReady. A relist drops what it does not name, except what was first seen after the relist began.
A container that vanished without our doing stays as exited for an unknown reason, so that restart counts
and restart policies still hold.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.kubelet.core.sizes import Sizes, sizes_of

CREATED = criv1.CONTAINER_CREATED
RUNNING = criv1.CONTAINER_RUNNING
EXITED = criv1.CONTAINER_EXITED
UNKNOWN = criv1.CONTAINER_UNKNOWN

NAME_LABEL = "io.kubernetes.pod.name"
NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_LABEL = "io.kubernetes.container.name"
HASH_ANNOTATION = "io.kubernetes.container.hash"
RESTART_COUNT_ANNOTATION = "io.kubernetes.container.restartCount"
MESSAGE_PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"
GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"

LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"
# Life only goes up this ladder; an unknown state outranks running, because it must be stopped to be known.
RANK: dict[int, int] = {CREATED: 0, RUNNING: 1, UNKNOWN: 2, EXITED: 3}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A Pod's sandbox. Times are Unix seconds."""

    id: str
    attempt: int
    ready: bool
    created_at: float
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """One run of a container. `attempt` is the restart count. Times are Unix seconds."""

    id: str
    name: str
    attempt: int
    sandbox_id: str
    state: int
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""
    hash: str = ""
    log_path: str = ""
    user: criv1.LinuxContainerUser | None = None
    # Of what is mounted, by path: the images, and all that is read-only to its depth.
    mounted_images: tuple[tuple[str, str], ...] = ()
    recursive_read_only: frozenset[str] = frozenset()
    # These two where the runtime tells.
    stop_signal: str = ""
    sizes: Sizes | None = None
    # Not in the runtime: reconstructed from the Pod's last reported status.
    lost: bool = False

    @property
    def alive(self) -> bool:
        """Whether it has, or may have, a process."""
        return self.state in (RUNNING, UNKNOWN)

    @property
    def ended_at(self) -> float:
        """When it ended, as well as is known: some runtimes leave a failed start without an end."""
        return self.finished_at or self.started_at or self.created_at


@dataclass(slots=True)
class PodRuntime:
    """Everything known of one Pod's sandboxes and containers."""

    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    # When each was first seen, in the counter that numbers relists.
    born: dict[str, int] = field(default_factory=dict)
    # Removed by us: late facts about these are ignored.
    removed: set[str] = field(default_factory=set)

    def see(self, fact: Sandbox | Container, sequence: int = 0) -> bool:
        """Merge one fact. Returns whether anything changed."""
        if fact.id in self.removed:
            return False
        self.born.setdefault(fact.id, sequence)
        if isinstance(fact, Sandbox):
            merged = _merge_sandbox(self.sandboxes.get(fact.id), fact)
            changed = self.sandboxes.get(fact.id) != merged
            self.sandboxes[fact.id] = merged
            return changed
        known = self.containers.get(fact.id)
        if known is not None and (RANK[known.state] > RANK[fact.state] or (known.lost and fact.state != EXITED)):
            return False
        if known is not None and known.state == EXITED and not known.lost:
            # A list knows less than a status: keep what was read when it ended.
            fact = replace(fact, message=fact.message or known.message, reason=fact.reason or known.reason)
        self.containers[fact.id] = fact
        return known != fact

    def forget(self, id_: str) -> bool:
        """We removed it."""
        self.removed.add(id_)
        self.born.pop(id_, None)
        return self.sandboxes.pop(id_, None) is not None or self.containers.pop(id_, None) is not None

    def relisted(self, ids: Iterable[str], sequence: int, now: float) -> bool:
        """Drop what a relist that began at `sequence` did not name. Returns whether anything changed."""
        named = set(ids)
        absent = [id_ for id_, born in self.born.items() if born < sequence and id_ not in named]
        changed = False
        for id_ in absent:
            if self.sandboxes.pop(id_, None) is not None:
                del self.born[id_]
                changed = True
            elif (container := self.containers.get(id_)) is not None and not container.lost:
                self.containers[id_] = _lost(container, now)
                changed = True
        return changed

    def sandbox(self) -> Sandbox | None:
        """The newest sandbox."""
        return max(self.sandboxes.values(), key=lambda box: (box.attempt, box.created_at), default=None)

    def ready_sandbox(self) -> Sandbox | None:
        """The newest sandbox, if it is ready."""
        newest = self.sandbox()
        return newest if newest is not None and newest.ready else None

    def latest(self, name: str) -> Container | None:
        """The newest run of a container."""
        return max(self.runs(name), key=_age, default=None)

    def previous(self, name: str) -> Container | None:
        """The run before the newest one."""
        runs = sorted(self.runs(name), key=_age)
        return runs[-2] if len(runs) > 1 else None

    def runs(self, name: str) -> list[Container]:
        """All known runs of a container."""
        return [container for container in self.containers.values() if container.name == name]

    def alive(self) -> list[Container]:
        """Containers that have, or may have, a process."""
        return [container for container in self.containers.values() if container.alive]


def _age(container: Container) -> tuple[int, float]:
    return container.attempt, container.created_at


def _merge_sandbox(known: Sandbox | None, fact: Sandbox) -> Sandbox:
    if known is None:
        return fact
    return replace(known, ready=known.ready and fact.ready, ips=fact.ips or known.ips)


def _lost(container: Container, now: float) -> Container:
    if container.state == EXITED:
        return replace(container, lost=True)
    return replace(
        container,
        state=EXITED,
        lost=True,
        exit_code=137,
        reason=LOST_REASON,
        message=LOST_MESSAGE,
        finished_at=now,
    )


def sandbox_of(status: criv1.PodSandboxStatus) -> Sandbox:
    """Read a CRI sandbox status."""
    addresses = [status.network.ip, *(extra.ip for extra in status.network.additional_ips)]
    return Sandbox(
        id=status.id,
        attempt=status.metadata.attempt,
        ready=status.state == criv1.SANDBOX_READY,
        created_at=status.created_at / 1e9,
        ips=tuple(address for address in addresses if address),
    )


def _image_name(image: criv1.ImageSpec) -> str:
    """The name that people know; runtimes answer with the id they were given."""
    return image.user_specified_image if image.image.startswith("sha256:") else image.image


def _image_id(status: criv1.ContainerStatus) -> str:
    """What pins the image: a digest of its repository, else its own id; a mere name pins nothing."""
    ref = status.image_ref
    return ref if "@" in ref or ref.startswith("sha256:") else status.image_id or ref


def container_of(status: criv1.ContainerStatus, sandbox_id: str) -> Container:
    """Read a CRI container status, which does not name its sandbox."""
    return Container(
        id=status.id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        sandbox_id=sandbox_id,
        state=status.state,
        created_at=status.created_at / 1e9,
        started_at=status.started_at / 1e9,
        finished_at=status.finished_at / 1e9,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=_image_name(status.image),
        image_id=_image_id(status),
        hash=status.annotations.get(HASH_ANNOTATION, ""),
        log_path=status.log_path,
        stop_signal=criv1.Signal.Name(status.stop_signal) if status.stop_signal else "",
        sizes=sizes_of(status.resources.linux) if status.resources.HasField("linux") else None,
        mounted_images=tuple(
            (mount.container_path, mount.image.image_ref) for mount in status.mounts if mount.image.image_ref
        ),
        recursive_read_only=frozenset(mount.container_path for mount in status.mounts if mount.recursive_read_only),
        user=status.user.linux if status.HasField("user") and status.user.HasField("linux") else None,
    )
