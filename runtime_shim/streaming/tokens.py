"""Requests that wait for their client to come: each is good for one use, within a minute."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from navarch.runtime_shim.errors import ResourceExhausted

LIFETIME_S = 60.0
WAITING = 1000

R = TypeVar("R")


class Tokens(Generic[R]):
    """Requests by token. monotonic: seconds. make: a token that nobody can guess."""

    def __init__(self, monotonic: Callable[[], float], make: Callable[[], str]) -> None:
        self._monotonic = monotonic
        self._make = make
        # Oldest first, with the moment of its end.
        self._waiting: OrderedDict[str, tuple[float, R]] = OrderedDict()

    def put(self, request: R) -> str:
        """The token of a request. Raises ResourceExhausted when too many wait."""
        self._expire()
        if len(self._waiting) >= WAITING:
            raise ResourceExhausted(f"{WAITING} streams that were asked for wait for their clients")
        token = self._make()
        self._waiting[token] = self._monotonic() + LIFETIME_S, request
        return token

    def take(self, token: str) -> R | None:
        """The request of a token, once; None for one that is unknown, used or too old."""
        self._expire()
        _, request = self._waiting.pop(token, (0.0, None))
        return request

    def _expire(self) -> None:
        now = self._monotonic()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now:
            self._waiting.popitem(last=False)
