"""Leases on a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.store import errors
from navarch.services.store.errors import EtcdError
from navarch.services.store.lease import MAX_TTL_S, Lessor


def refused(refusal):
    return pytest.raises(EtcdError, match="^" + refusal.message + "$")


def test_grant_renew_expire_revoke() -> None:
    lessor = Lessor()
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 5, now=0)
    assert lessor.next_expiry() == 5
    assert lessor.renew(2, now=4) == 5
    assert lessor.next_expiry() == 9
    assert lessor.expired(now=8.9) == []
    assert lessor.expired(now=9) == [2]
    assert lessor.expired(now=9) == [2], "an expired lease comes up until it is revoked"
    assert lessor.renew(2, now=9) == 0, "what has expired is not revived"
    lessor.revoke(2)
    assert lessor.next_expiry() == 10


def test_bad_leases() -> None:
    lessor = Lessor()
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
    assert lessor.clamp_ttl(0) == 2


def test_a_key_is_held_by_one_lease() -> None:
    lessor = Lessor()
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 10, now=0)
    lessor.attach(b"a", 1)
    lessor.attach(b"b", 1)
    lessor.attach(b"a", 2)
    assert lessor.revoke(1) == [b"b"]
    lessor.attach(b"a", 0)
    assert lessor.revoke(2) == []


def test_becoming_responsible_gives_every_lease_its_full_time() -> None:
    lessor = Lessor()
    lessor.grant(1, 10, now=0)
    lessor.grant(2, 20, now=0)
    lessor.restart(now=100)
    assert lessor.next_expiry() == 110
    assert [lease.id for lease in lessor.by_expiry()] == [1, 2]


@given(st.lists(st.tuples(st.sampled_from(["grant", "renew", "revoke"]), st.integers(1, 5), st.integers(0, 3))))
def test_expiry_against_a_plain_table(steps: list[tuple[str, int, int]]) -> None:
    lessor, table, now = Lessor(), {}, 0.0
    for action, lease, wait in steps:
        now += wait
        if action == "grant" and lease not in table:
            lessor.grant(lease, 4, now)
            table[lease] = now + 4
        elif action == "renew" and table.get(lease, 0) > now:
            assert lessor.renew(lease, now) == 4
            table[lease] = now + 4
        elif action == "revoke" and lease in table:
            lessor.revoke(lease)
            del table[lease]
        assert lessor.next_expiry() == min(table.values(), default=None)
        assert sorted(lessor.expired(now)) == sorted(lease for lease, end in table.items() if end <= now)
