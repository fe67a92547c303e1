"""What a step of a Pod's machine brings beside orders: Events to record, and when to wake it."""

from typing import Literal

from navarch.services.kubelet.core.orders import Emit

EventType = Literal["Normal", "Warning"]


class Notes:
    """Collected during a step. Announcements are made once in the life of a machine."""

    def __init__(self) -> None:
        self.emitted: list[Emit] = []
        self.wake_at: float | None = None
        self._announced: set[tuple[str, ...]] = set()

    def wake(self, at: float) -> None:
        """Time alone changes something at this moment (Unix seconds)."""
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def emit(self, type_: EventType, reason: str, message: str, container: str = "") -> None:
        """Record an Event."""
        self.emitted.append(Emit(type_, reason, message, container))

    def announce(self, once: tuple[str, ...], type_: EventType, reason: str, message: str, container: str = "") -> None:
        """Record an Event, unless one was recorded for the same `once`."""
        if once not in self._announced:
            self._announced.add(once)
            self.emit(type_, reason, message, container)
