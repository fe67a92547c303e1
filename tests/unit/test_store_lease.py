"""Leases on a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.store import errors
from navarch.services.store.errors import EtcdError
from navarch.services.store.lease import MAX_TTL_S, NEVER, Lessor, min_ttl_s


def refused(refusal):
    return pytest.raises(EtcdError, match="^" + refusal.message + "$")


def ids(leases) -> list[int]:
    return [lease.id for lease in leases]


@pytest.fixture
def lessor() -> Lessor:
    """One that leads."""
    lessor = Lessor()
    lessor.promote(now=0, slack_s=0)
    return lessor


def test_grant_renew_expire_revoke(lessor: Lessor) -> None:
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 5, now=0)
    assert lessor.next_due() == 5
    assert lessor.renew(2, now=4) == 5
    assert lessor.next_due() == 9
    assert ids(lessor.expired(now=8.9)) == []
    assert ids(lessor.expired(now=9)) == [2]
    assert ids(lessor.expired(now=9)) == [2], "an expired lease comes up until it is revoked"
    assert lessor.renew(2, now=9) == 0, "what has expired is not revived"
    lessor.revoke(2)
    assert lessor.next_due() == 10


def test_bad_leases(lessor: Lessor) -> None:
    lessor.grant(1, 10, now=0)
    with refused(errors.LEASE_EXISTS):
        lessor.grant(1, 10, now=0)
    with refused(errors.LEASE_NOT_FOUND):
        lessor.grant(0, 10, now=0)
    with refused(errors.LEASE_NOT_FOUND):
        lessor.revoke(9)
    with refused(errors.LEASE_TTL_TOO_LARGE):
        lessor.clamp_ttl(MAX_TTL_S + 1)
    assert lessor.renew(9, now=0) == 0
    assert lessor.checkpoint(9, 5) is None
    assert lessor.clamp_ttl(0) == 2


@pytest.mark.parametrize(("election_s", "least"), [(0.6, 2), (1.0, 2), (1.2, 2), (1.5, 3), (10, 15)])
def test_the_least_ttl_outlives_an_election(election_s: float, least: int) -> None:
    assert min_ttl_s(election_s) == least


def test_a_key_is_held_by_one_lease(lessor: Lessor) -> None:
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 10, now=0)
    lessor.attach(b"a", 1)
    lessor.attach(b"b", 1)
    lessor.attach(b"a", 2)
    assert lessor.revoke(1) == [b"b"]
    lessor.attach(b"a", 0)
    assert lessor.revoke(2) == []


def test_time_runs_only_where_the_log_is_led() -> None:
    lessor = Lessor()
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 20, now=0)
    assert (lessor.next_due(), ids(lessor.expired(now=1000)), lessor.renew(1, now=1)) == (NEVER, [], 0)
    lessor.promote(now=100, slack_s=1.5)
    assert lessor.next_due() == 111.5
    assert ids(lessor.by_expiry()) == [1, 2]
    lessor.demote()
    assert (lessor.next_due(), ids(lessor.expired(now=1000)), lessor.renew(1, now=1)) == (NEVER, [], 0)


def test_long_leases_are_checkpointed_and_the_next_leader_begins_there(lessor: Lessor) -> None:
    lessor.grant(1, 1000, now=0)
    lessor.grant(2, 300, now=0)
    assert lessor.next_due() == 300
    assert lessor.to_checkpoint(now=299) == []
    assert lessor.to_checkpoint(now=300.5) == [(1, 700)], "rounded up: never less than a holder counts on"
    assert lessor.get(1).checkpointing
    assert lessor.to_checkpoint(now=301) == []
    lessor.checkpoint(1, 700)
    lessor.promote(now=400, slack_s=1)
    assert [lease.remaining_s(400) for lease in lessor.by_expiry()] == [301, 701]
    lessor.checkpoint(1, 0)
    lessor.promote(now=400, slack_s=1)
    assert lessor.get(1).remaining_s(400) == 1001


def test_a_renewal_puts_the_checkpoint_off(lessor: Lessor) -> None:
    lessor.grant(1, 1000, now=0)
    lessor.renew(1, now=200)
    assert lessor.next_due() == 500
    assert lessor.to_checkpoint(now=300) == []
    assert lessor.to_checkpoint(now=500) == [(1, 700)]


@pytest.mark.parametrize("remaining", [0, -1, 10, 11])
def test_a_checkpoint_of_nothing_or_all_is_none(lessor: Lessor, remaining: int) -> None:
    lessor.grant(1, 10, now=0)
    lessor.checkpoint(1, 3)
    assert lessor.checkpoint(1, remaining).checkpointed_s == 0


STEPS = st.tuples(
    st.sampled_from(["grant", "renew", "revoke", "promote", "demote"]), st.integers(1, 5), st.integers(0, 3)
)


@given(st.lists(STEPS))
def test_expiry_against_a_plain_table(steps: list[tuple[str, int, int]]) -> None:
    lessor, table, now, leading = Lessor(), {}, 0.0, False
    for action, lease, wait in steps:
        now += wait
        if action == "grant" and lease not in table:
            lessor.grant(lease, 4, now)
            table[lease] = now + 4 if leading else NEVER
        elif action == "renew":
            assert lessor.renew(lease, now) == (4 if leading and table.get(lease, 0) > now else 0)
            if leading and table.get(lease, 0) > now:
                table[lease] = now + 4
        elif action == "revoke" and lease in table:
            lessor.revoke(lease)
            del table[lease]
        elif action == "promote":
            lessor.promote(now, 1)
            table, leading = dict.fromkeys(table, now + 5), True
        elif action == "demote":
            lessor.demote()
            table, leading = dict.fromkeys(table, NEVER), False
        assert lessor.next_due() == min(table.values(), default=NEVER)
        assert sorted(ids(lessor.expired(now))) == sorted(lease for lease, end in table.items() if end <= now)
