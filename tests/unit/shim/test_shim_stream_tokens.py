"""URLs of streams: good once, for a minute, and not without end."""

from itertools import count

import pytest

from navarch.runtime_shim.errors import ResourceExhausted
from navarch.runtime_shim.streaming.tokens import LIFETIME_S, WAITING, Tokens
from navarch.services.base.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def tokens(clock: VirtualClock) -> Tokens[str]:
    numbers = count()
    return Tokens(clock.monotonic, lambda: str(next(numbers)))


def test_once(tokens: Tokens[str]) -> None:
    token = tokens.put("exec")
    assert tokens.take("none") is None
    assert tokens.take(token) == "exec"
    assert tokens.take(token) is None


def test_for_a_minute(tokens: Tokens[str], clock: VirtualClock) -> None:
    first = tokens.put("exec")
    clock.advance(LIFETIME_S / 2)
    second = tokens.put("attach")
    clock.advance(LIFETIME_S / 2)
    assert tokens.take(first) is None
    assert tokens.take(second) == "attach"


def test_not_more_than_there_is_room_for(tokens: Tokens[str], clock: VirtualClock) -> None:
    for _ in range(WAITING):
        tokens.put("exec")
    with pytest.raises(ResourceExhausted):
        tokens.put("exec")
    clock.advance(LIFETIME_S)
    tokens.put("exec")
