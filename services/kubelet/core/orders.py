"""What a Pod's machine orders, and what it is told. The rim carries orders out and answers each one.

Orders are idempotent by key: the machine never has two orders of one key under way, and it may give the same
order again after a restart of the kubelet. A stop whose deadline was brought forward has a new key.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.granted import Pending
from navarch.services.kubelet.core.observed import Container, Sandbox
from navarch.services.kubelet.core.sizes import Sizes

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    """Make the Pod's directories and volumes."""

    @property
    def key(self) -> Key:
        """One at a time for a Pod."""
        return ("volumes",)


@dataclass(frozen=True, slots=True)
class RunSandbox:
    """Create the sandbox."""

    attempt: int

    @property
    def key(self) -> Key:
        """One at a time for a Pod."""
        return ("sandbox",)


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Have the image of a container on the node, as its pull policy says."""

    container: str

    @property
    def key(self) -> Key:
        """One at a time for a container."""
        return ("image", self.container)


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container, then run its postStart hook. created: the id of one that waits for its start."""

    container: str
    attempt: int
    sandbox: Sandbox
    image_ref: str
    created: str = ""

    @property
    def key(self) -> Key:
        """One at a time for a container."""
        return ("start", self.container)


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give a running container other resources."""

    id: str
    container: str
    sizes: Sizes

    @property
    def key(self) -> Key:
        """One at a time for a container."""
        return ("resize", self.id)


@dataclass(frozen=True, slots=True)
class ResizeSandbox:
    """Give the Pod's cgroup other resources."""

    id: str
    sizes: Sizes

    @property
    def key(self) -> Key:
        """One at a time for a sandbox."""
        return ("resize-sandbox", self.id)


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Run preStop, then stop the container: all of it by the deadline (Unix seconds)."""

    id: str
    container: str
    deadline: float
    message: str

    @property
    def key(self) -> Key:
        """A nearer deadline is another order."""
        return ("stop", self.id, f"{self.deadline:.3f}")


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove a dead container and its log."""

    id: str

    @property
    def key(self) -> Key:
        """One at a time for a container."""
        return ("remove", self.id)


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop the sandbox: network gone, everything inside killed."""

    id: str

    @property
    def key(self) -> Key:
        """One at a time for a sandbox."""
        return ("stop-sandbox", self.id)


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Remove a stopped sandbox."""

    id: str

    @property
    def key(self) -> Key:
        """One at a time for a sandbox."""
        return ("remove-sandbox", self.id)


@dataclass(frozen=True, slots=True)
class ReleaseVolumes:
    """Unmount the Pod's volumes; `everything` removes its directories and logs too."""

    everything: bool

    @property
    def key(self) -> Key:
        """Unmounting and removing are two orders."""
        return ("release", str(self.everything))


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Report the last status and take the Pod out of the API."""

    @property
    def key(self) -> Key:
        """One at a time for a Pod."""
        return ("delete",)


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event; fire and forget, it is never answered. container: "" for the Pod itself."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""

    @property
    def key(self) -> Key:
        """Never held back."""
        return ()


Order = (
    PrepareVolumes
    | RunSandbox
    | EnsureImage
    | StartContainer
    | ResizeContainer
    | ResizeSandbox
    | StopContainer
    | RemoveContainer
    | StopSandbox
    | RemoveSandbox
    | ReleaseVolumes
    | DeletePod
    | Emit
)


@dataclass(frozen=True, slots=True)
class PodChanged:
    """The Pod as the API server has it now. Lent: never changed by the machine."""

    pod: corev1.Pod


@dataclass(frozen=True, slots=True)
class PodRemoved:
    """The Pod is no longer in the API."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The node accepts the Pod."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The node refuses the Pod for good."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ResizeJudged:
    """Whether the node gives the Pod the resources that its spec asks for now; None if so."""

    pending: Pending | None


@dataclass(frozen=True, slots=True)
class Evict:
    """The Pod is to end and to have failed. condition: to be shown from now on, beside those of the kubelet."""

    reason: str
    message: str
    grace_s: float
    condition: corev1.PodCondition | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Facts about sandboxes and containers, in any order."""

    facts: tuple[Sandbox | Container, ...]
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Relisted:
    """A whole list, begun at `sequence`: what it does not name is gone."""

    facts: tuple[Sandbox | Container, ...]
    sequence: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A container or sandbox was removed from the runtime."""

    id: str


@dataclass(frozen=True, slots=True)
class Done:
    """An order was carried out. `facts`: what it brought about; `image_ref`: of EnsureImage."""

    order: Order
    facts: tuple[Sandbox | Container, ...] = ()
    image_ref: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """An order failed. `reason` as Kubernetes names it in a waiting container; `image`: which could not be had."""

    order: Order
    reason: str
    message: str
    facts: tuple[Sandbox | Container, ...] = ()
    sequence: int = 0
    image: str = ""


class ProbeKind(StrEnum):
    """The three probes of a container."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's verdict on one run of a container changed, thresholds applied."""

    container_id: str
    kind: ProbeKind
    healthy: bool


@dataclass(frozen=True, slots=True)
class ReferencesChanged:
    """A ConfigMap or Secret that the Pod names has appeared or changed."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    PodChanged
    | PodRemoved
    | Admitted
    | Rejected
    | ResizeJudged
    | Evict
    | Seen
    | Relisted
    | Removed
    | Done
    | Failed
    | Probed
    | ReferencesChanged
    | Tick
)
