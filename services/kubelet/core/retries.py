"""Holds back orders that failed, each kind with its own delays, doubling."""

from navarch.services.kubelet.core.backoff import Backoff
from navarch.services.kubelet.core.orders import Key, Order

# First and longest delay, by kind of order.
DELAYS_S: dict[str, tuple[float, float]] = {
    "volumes": (0.5, 122.0),
    "sandbox": (1.0, 60.0),
    "image": (10.0, 300.0),
    "start": (2.0, 15.0),
}
OTHER_DELAYS_S = (1.0, 30.0)


class Retries:
    """When the orders of one Pod may be given again. Times are Unix seconds."""

    def __init__(self) -> None:
        self._backoffs = {kind: Backoff(*delays) for kind, delays in DELAYS_S.items()}
        self._others = Backoff(*OTHER_DELAYS_S)
        # When it failed, and from when on it may be given again.
        self._held: dict[Key, tuple[float, float]] = {}

    def due(self, order: Order, now: float) -> float:
        """From when on it may be given; 0 for at once. A failure yet to come (the clock was set back) holds nothing."""
        failed_at, due = self._held.get(order.key, (0.0, 0.0))
        return due if failed_at <= now else 0.0

    def held_until(self, key: Key) -> float:
        """From when on a failed order may be given again; 0 for one that did not fail."""
        return self._held.get(key, (0.0, 0.0))[1]

    def has_failed(self, order: Order) -> bool:
        """Whether it failed when it was given last."""
        return order.key in self._held

    def failed(self, order: Order, now: float) -> None:
        """It failed: the next time later."""
        backoff, key = self._of(order)
        backoff.retried(key, now, now)
        self._held[order.key] = now, now + backoff.delay_s(key)

    def succeeded(self, order: Order) -> None:
        """It succeeded: its failures are forgotten."""
        backoff, key = self._of(order)
        backoff.reset(key)
        self._held.pop(order.key, None)

    def allow(self, order: Order) -> None:
        """Something else holds it back from now on."""
        self._held.pop(order.key, None)

    def allow_kinds(self, *kinds: str) -> None:
        """What these orders lacked may be there now."""
        for key in [key for key in self._held if key[0] in kinds]:
            del self._held[key]

    def _of(self, order: Order) -> tuple[Backoff, str]:
        # A stop with a nearer deadline is the same deed.
        return self._backoffs.get(order.key[0], self._others), str(order.key[:2])
