"""What is remembered of upstream servers, for how long, and which of them is asked."""

from random import Random

import pytest

from navarch.services.dns.forward.cache import STALE_TTL_S, Cache
from navarch.services.dns.forward.reply import Question, Reply
from navarch.services.dns.forward.upstreams import MAX_FAILURES, MAX_REST_S, REST_S, Upstream, Upstreams, parse_upstream
from navarch.services.dns.names import from_text
from navarch.services.dns.records import Record
from navarch.services.dns.wire import Body

ADDRESS = 1


def a_question(name: str) -> Question:
    return Question(from_text(name), ADDRESS)


def a_reply(*ttls: int) -> Reply:
    name = from_text("example.com")
    return Reply(0, tuple(Record(name, ADDRESS, ttl, bytes(4)) for ttl in ttls), (), min(ttls))


def test_a_record_grows_old_and_goes() -> None:
    cache = Cache()
    cache.put(a_question("example.com"), a_reply(30, 60), 100.0)
    for now, ttls in ((100.0, (30, 60)), (100.9, (30, 60)), (110.0, (20, 50)), (129.9, (1, 31))):
        found = cache.get(a_question("example.com"), now)
        assert found is not None
        name = from_text("example.com")
        assert found.body(name, now).answers == Body(name, a_reply(*ttls).answers, ()).answers
    assert cache.get(a_question("example.com"), 130.0) is None
    assert (cache.hits, cache.misses) == (4, 1)


def test_of_too_many_the_one_goes_that_was_not_asked_for_the_longest() -> None:
    cache = Cache(max_entries=3)
    for name in ("a", "b", "c"):
        cache.put(a_question(name), a_reply(60), 0.0)
    assert cache.get(a_question("a"), 1.0) is not None
    cache.put(a_question("d"), a_reply(60), 2.0)
    assert len(cache) == 3
    assert [cache.get(a_question(name), 3.0) is not None for name in "abcd"] == [True, False, True, True]


def test_what_may_not_be_remembered_puts_nothing_out() -> None:
    cache = Cache(max_entries=1)
    cache.put(a_question("a"), a_reply(60), 0.0)
    cache.put(a_question("b"), a_reply(0), 0.0)
    assert cache.get(a_question("a"), 0.0) is not None
    assert cache.get(a_question("b"), 0.0) is None


@pytest.mark.parametrize(("stale_s", "now", "given"), [(60.0, 89.9, True), (60.0, 90.0, False), (0.0, 30.0, False)])
def test_what_is_no_longer_good_serves_in_need(stale_s: float, now: float, given: bool) -> None:
    """RFC 8767: with a short time to live of its own."""
    cache = Cache(stale_s=stale_s)
    cache.put(a_question("a"), a_reply(30), 0.0)
    assert cache.get(a_question("a"), now) is None
    found = cache.get_stale(a_question("a"), now)
    assert (found is not None) == given
    if found is not None:
        assert [each.ttl for each in found.answers] == [STALE_TTL_S]
        assert found.ttl_s == 0


FIRST, SECOND, THIRD = (Upstream(f"192.0.2.{number}") for number in (1, 2, 3))


def test_one_that_fails_is_asked_last_for_ever_longer() -> None:
    upstreams = Upstreams((FIRST, SECOND), "sequential", Random(1))
    assert not upstreams.failed(FIRST, 0.0)
    assert upstreams.order(0.0) == [FIRST, SECOND], "once may be chance"
    now, rest_s = 0.0, REST_S
    for failure in range(MAX_FAILURES, 12):
        assert upstreams.failed(FIRST, now) == (failure == MAX_FAILURES), "it is told when it begins"
        assert upstreams.order(now) == [SECOND, FIRST]
        assert upstreams.order(now + rest_s - 0.01) == [SECOND, FIRST]
        now, rest_s = now + rest_s, min(2 * rest_s, MAX_REST_S)
        assert upstreams.order(now) == [FIRST, SECOND]
    upstreams.worked(FIRST)
    assert not upstreams.failed(FIRST, now)


def test_if_all_have_failed_they_are_still_asked() -> None:
    upstreams = Upstreams((FIRST, SECOND, THIRD), "random", Random(1))
    for at, each in enumerate((SECOND, THIRD, FIRST)):
        upstreams.failed(each, float(at) / 10)
        upstreams.failed(each, float(at) / 10)
    assert upstreams.order(0.5) == [SECOND, THIRD, FIRST]
    upstreams.remove(THIRD)
    assert upstreams.order(0.5) == [SECOND, FIRST]
    assert not upstreams.failed(THIRD, 0.5)


def test_chance_spreads_the_load() -> None:
    upstreams = Upstreams((FIRST, SECOND, THIRD), "random", Random(1))
    assert {upstreams.order(0.0)[0] for _ in range(50)} == {FIRST, SECOND, THIRD}


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("192.0.2.1", FIRST),
        ("192.0.2.1:5353", Upstream("192.0.2.1", 5353)),
        ("fd00::1", Upstream("fd00::1")),
        ("[fd00::1]", Upstream("fd00::1")),
        ("[fd00::1]:5353", Upstream("fd00::1", 5353)),
    ],
)
def test_an_upstream_as_users_write_it(text: str, upstream: Upstream) -> None:
    assert parse_upstream(text) == upstream
    assert parse_upstream(str(upstream)) == upstream


@pytest.mark.parametrize("text", ["", "dns.example.com", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "[fd00::1"])
def test_what_is_no_upstream(text: str) -> None:
    with pytest.raises(ValueError, match="accepted is ADDRESS or ADDRESS:PORT"):
        parse_upstream(text)
