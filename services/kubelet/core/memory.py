"""What a Pod's machine remembers and could not read back; losing it costs time, never correctness."""

from dataclasses import dataclass, field

from navarch.services.kubelet.core.backoff import Backoff
from navarch.services.kubelet.core.notes import Notes
from navarch.services.kubelet.core.observed import Container
from navarch.services.kubelet.core.orders import EnsureImage, Key, Order
from navarch.services.kubelet.core.retries import Retries


@dataclass(frozen=True, slots=True)
class Kill:
    """A live container that must go, and by when (Unix seconds)."""

    message: str
    deadline: float


@dataclass(slots=True)
class Memory:
    """Of one Pod. `released`: sandboxes that were stopped. `images`: references ready for the next start."""

    in_flight: dict[Key, Order] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    kills: dict[str, Kill] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    # Containers whose image became another while it was fetched: what comes of that is of no use.
    outdated: set[str] = field(default_factory=set)
    retries: Retries = field(default_factory=Retries)
    crashes: Backoff = field(default_factory=Backoff)
    notes: Notes = field(default_factory=Notes)

    def kill(self, run: Container, message: str, deadline: float) -> None:
        """A container must go; of two deadlines the nearer one holds."""
        known = self.kills.get(run.id)
        if known is None or deadline < known.deadline:
            self.kills[run.id] = Kill(message, deadline)

    def image_changed(self, name: str) -> None:
        """A container is to run another image: what failed with the one before holds nothing back."""
        pull = EnsureImage(name)
        self.images.pop(name, None)
        self.crashes.reset(name)
        self.retries.succeeded(pull)
        if pull.key in self.in_flight:
            self.outdated.add(name)

    def is_free(self, order: Order, now: float) -> bool:
        """Whether an order may be given: not under way, not held back."""
        due = self.retries.due(order, now)
        if due > now:
            self.notes.wake(due)
            return False
        return order.key not in self.in_flight
