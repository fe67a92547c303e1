"""Who belongs to a cluster: changes, refusals, what is stored, and ids that all members compute alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.store import commands, errors
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.membership import Members, new_cluster, to_message
from navarch.services.store.peer_urls import parse
from navarch.services.store.replication.log import Entry, Member
from navarch.services.store.state_machine import StateMachine

Change = store_pb2.MembershipChange


def member(number: int, *, name: str | None = None, learner: bool = False) -> Member:
    return Member(number, f"m{number}" if name is None else name, (f"http://10.0.0.{number}:2380",), (), learner)


THREE = Members.of([member(1), member(2), member(3)])
WITH_LEARNER = Members.of([*THREE.by_id.values(), member(4, learner=True)])
GONE = Members.of([member(1), member(2)], removed=[3])


def add(*args, **options) -> Change:
    return Change(add=to_message(member(*args, **options)))


def at(number: int, *urls: str) -> Change:
    return Change(update=store_pb2.Member(id=number, peer_urls=urls))


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (THREE, add(4, name=""), {1: "m1", 2: "m2", 3: "m3", 4: ""}),
        (THREE, add(4, learner=True), {1: "m1", 2: "m2", 3: "m3", 4: "m4 learns"}),
        (WITH_LEARNER, Change(promote=4), {1: "m1", 2: "m2", 3: "m3", 4: "m4"}),
        (WITH_LEARNER, Change(remove=4), {1: "m1", 2: "m2", 3: "m3"}),
        (WITH_LEARNER, add(5, name=""), {1: "m1", 2: "m2", 3: "m3", 4: "m4 learns", 5: ""}),
        (THREE, Change(remove=1), {2: "m2", 3: "m3"}),
        (THREE, Change(publish=store_pb2.Member(id=2, name="other")), {1: "m1", 2: "other", 3: "m3"}),
        (THREE, at(3, "http://10.0.0.33:2380"), {1: "m1", 2: "m2", 3: "m3"}),
        (THREE, at(3, "http://10.0.0.3:2380"), {1: "m1", 2: "m2", 3: "m3"}),
    ],
)
def test_a_change_makes_other_members(before: Members, change: Change, after: dict[int, str]) -> None:
    changed = before.apply(change, 9)
    names = {known.id: f"{known.name}{' learns' * known.is_learner}" for known in changed.by_id.values()}
    assert names == after
    assert changed.as_of == 9
    assert before.as_of == 0, "the members before stay as they were"
    assert changed.by_id is not before.by_id


@pytest.mark.parametrize(
    ("before", "change", "refusal"),
    [
        (THREE, add(3), errors.MEMBER_EXISTS),
        (GONE, add(3), errors.MEMBER_NOT_FOUND),
        (GONE, Change(remove=3), errors.MEMBER_NOT_FOUND),
        (GONE, Change(publish=store_pb2.Member(id=3, name="back")), errors.MEMBER_NOT_FOUND),
        (THREE, Change(add=store_pb2.Member(id=9, peer_urls=["http://10.0.0.2:2380"])), errors.PEER_URL_EXISTS),
        (THREE, at(1, "http://10.0.0.2:2380"), errors.PEER_URL_EXISTS),
        (THREE, at(9, "http://10.0.0.9:2380"), errors.MEMBER_NOT_FOUND),
        (THREE, Change(promote=1), errors.MEMBER_NOT_LEARNER),
        (THREE, Change(promote=9), errors.MEMBER_NOT_FOUND),
        (THREE, Change(remove=9), errors.MEMBER_NOT_FOUND),
        (WITH_LEARNER, add(5, learner=True), errors.TOO_MANY_LEARNERS),
        (Members.of([member(1), member(2, learner=True)]), Change(remove=1), errors.NOT_ENOUGH_MEMBERS),
    ],
)
def test_what_cannot_be_is_refused_in_etcds_words(before: Members, change: Change, refusal: errors.Refusal) -> None:
    with pytest.raises(errors.EtcdError) as refused:
        before.apply(change, 9)
    assert (refused.value.code, refused.value.message) == (refusal.code, refusal.message)


@pytest.mark.parametrize(
    ("started", "voters", "may_add", "may_promote", "may_remove_started"),
    [
        (1, 1, True, True, False),
        (1, 2, False, True, False),
        (2, 2, True, True, True),
        (2, 3, False, True, False),
        (3, 3, True, True, True),
        (3, 4, True, True, True),
        (2, 4, False, True, False),
        (3, 5, False, True, False),
        (5, 5, True, True, True),
    ],
)
def test_a_change_must_leave_a_majority_of_started_members(
    started: int, voters: int, may_add: bool, may_promote: bool, may_remove_started: bool
) -> None:
    members = Members.of([member(n, name=f"m{n}" if n <= started else "") for n in range(1, voters + 1)])
    checks = ((members.check_add_voter, may_add), (members.check_promote, may_promote),
              (lambda: members.check_remove(1), may_remove_started))  # fmt: skip
    for check, allowed in checks:
        if allowed:
            check()
        else:
            with pytest.raises(errors.EtcdError, match="not enough started members"):
                check()


def test_members_are_stored_and_loaded() -> None:
    backend = MemoryBackend()
    assert Members.load(backend) == Members()
    before = Members.of([member(1), member(2**64 - 1), member(3, learner=True)], removed=[7, 2**63], as_of=5)
    before.store(backend)
    assert Members.load(backend) == before
    after = before.apply(Change(remove=3), 6)
    after.store(backend)
    assert Members.load(backend) == after


changes = st.lists(
    st.one_of(
        st.builds(lambda n, learner: add(n, learner=learner), st.integers(1, 5), st.booleans()),
        st.integers(1, 5).map(lambda n: Change(promote=n)),
        st.integers(1, 5).map(lambda n: Change(remove=n)),
        st.builds(lambda n, url: at(n, f"http://10.0.0.{url}:2380"), st.integers(1, 5), st.integers(1, 6)),
    ),
    max_size=20,
)


@given(changes, st.data())
def test_whoever_joins_ahead_of_its_log_comes_to_the_same_members(applied: list[Change], data: st.DataObject) -> None:
    """Members as of some entry, then the whole log: the entries up to there must change nothing again."""

    def run(members: Members, entries: list[tuple[int, Change]]) -> Members:
        for index, change in entries:
            try:
                members = members.apply(change, index)
            except errors.EtcdError:
                continue
        return members

    entries = list(enumerate(applied, 2))
    known = data.draw(st.integers(0, len(entries)))
    assert run(run(THREE, entries[:known]), entries) == run(THREE, entries)


def test_the_state_machine_keeps_members_with_its_applied_index() -> None:
    backend = MemoryBackend()
    THREE.store(backend)
    machine = StateMachine(backend, lambda: 0.0)
    first = machine.members
    outcomes = machine.apply(
        [
            Entry(2, 1, commands.encode(add(4, learner=True))),
            Entry(3, 1, commands.encode(add(5, learner=True))),
            Entry(4, 1, commands.encode(rpc_pb2.PutRequest(key=b"a"))),
            Entry(5, 1, commands.encode(Change(remove=1))),
        ]
    )
    assert isinstance(outcomes[0], store_pb2.MembershipChanged)
    assert [known.id for known in outcomes[0].members] == [1, 2, 3, 4]
    assert isinstance(outcomes[1], errors.EtcdError)
    assert isinstance(outcomes[3], store_pb2.MembershipChanged)
    assert set(machine.members) == {2, 3, 4}
    assert machine.removed == {1}
    assert machine.members is not first
    again = StateMachine(backend, lambda: 0.0)
    assert (again.members, again.removed, again.applied_index) == (machine.members, {1}, 5)


def test_a_full_or_corrupt_cluster_can_still_replace_members() -> None:
    backend = MemoryBackend()
    THREE.store(backend)
    machine = StateMachine(backend, lambda: 0.0)
    alarm = rpc_pb2.AlarmRequest(action="ACTIVATE", memberID=1, alarm="CORRUPT")
    _, outcome = machine.apply([Entry(2, 1, commands.encode(alarm)), Entry(3, 1, commands.encode(Change(remove=1)))])
    assert isinstance(outcome, store_pb2.MembershipChanged)


def test_ids_are_the_same_on_every_member_and_differ_between_clusters() -> None:
    urls = {f"m{n}": (f"http://10.0.0.{n}:2381", f"http://10.0.0.{n}:2380") for n in (1, 2, 3)}
    turned = {name: urls[name][::-1] for name in reversed(urls)}
    cluster_id, members = new_cluster(urls, "token")
    assert new_cluster(turned, "token") == (cluster_id, Members.of([members.by_id[n] for n in members.by_id][::-1]))
    assert len({cluster_id, *members.by_id}) == 4
    assert 0 not in {cluster_id, *members.by_id}
    assert {known.name for known in members.voters} == {"m1", "m2", "m3"}
    other_id, others = new_cluster(urls, "other")
    assert other_id != cluster_id
    assert set(others.by_id).isdisjoint(members.by_id)


def test_two_members_at_one_address_are_no_cluster() -> None:
    with pytest.raises(errors.EtcdError):
        new_cluster({"a": ("http://10.0.0.1:2380",), "b": ("http://10.0.0.1:2380",)}, "")


@pytest.mark.parametrize(
    ("url", "secure", "address"),
    [
        ("http://10.0.0.1:2380", False, "10.0.0.1:2380"),
        ("https://store-0.example:2380", True, "store-0.example:2380"),
        ("https://[::1]:2380", True, "[::1]:2380"),
    ],
)
def test_peer_urls(url: str, secure: bool, address: str) -> None:
    assert parse(url) == (secure, address)


@pytest.mark.parametrize(
    "url",
    ["", "10.0.0.1:2380", "http://10.0.0.1", "ftp://10.0.0.1:1", "http://a:1/path", "http://:2380", "http://a:b", "http://u@a:1"],
)  # fmt: skip
def test_what_is_no_peer_url(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(url)
