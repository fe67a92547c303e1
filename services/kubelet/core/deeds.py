"""What was ordered for a Pod lately and what came of it: for people who ask why. Nothing decides by it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from navarch.services.kubelet.core.orders import (
    Done,
    EnsureImage,
    Failed,
    Key,
    Order,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)

REMEMBERED = 24


@dataclass(slots=True)
class Deed:
    """One order and its answer. Times are Unix seconds; answered_at: None while it is under way."""

    order: str
    subject: str
    key: Key
    given_at: float
    answered_at: float | None = None
    failed: bool = False
    reason: str = ""
    message: str = ""


class Deeds:
    """The newest orders of one Pod."""

    def __init__(self) -> None:
        self._deeds: deque[Deed] = deque(maxlen=REMEMBERED)

    def given(self, order: Order, now: float) -> None:
        """An order was given."""
        self._deeds.append(Deed(type(order).__name__, subject_of(order), order.key, now))

    def answered(self, answer: Done | Failed, now: float) -> None:
        """It was carried out, or could not be."""
        for deed in reversed(self._deeds):
            if deed.key == answer.order.key and deed.answered_at is None:
                deed.answered_at = now
                if isinstance(answer, Failed):
                    deed.failed, deed.reason, deed.message = True, answer.reason, answer.message
                return

    def all(self) -> Iterable[Deed]:
        """The oldest first."""
        return tuple(self._deeds)


def subject_of(order: Order) -> str:
    """The container by name, or what else it is about by id; "" for the Pod."""
    match order:
        case EnsureImage(container) | StartContainer(container):
            return container
        case StopContainer():
            return order.container
        case RemoveContainer(id_) | StopSandbox(id_) | RemoveSandbox(id_):
            return id_
    return ""
