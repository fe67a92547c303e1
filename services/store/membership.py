"""Who belongs to a cluster, and which changes of that are refused. No I/O.

A `Members` never changes; each change makes another. What is refused here is refused on every member alike, when the
change is applied; what depends on who is alive right now is asked before, where the change is proposed (`rpc.cluster`).
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from navarch.protos.navarch import store_pb2
from navarch.services.store.backend import Backend
from navarch.services.store.errors import (
    MEMBER_EXISTS,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    NOT_ENOUGH_MEMBERS,
    PEER_URL_EXISTS,
    TOO_MANY_LEARNERS,
)
from navarch.services.store.replication.log import Member

_MEMBER = b"member/"
_REMOVED = b"removed/"
_AS_OF = b"members"
_NUMBER = struct.Struct(">Q")

# etcd's default: each learner costs the leader as much as a follower.
MAX_LEARNERS = 1


@dataclass(frozen=True, slots=True)
class Members:
    """The members by id, and the ids that must not come back.

    as_of: the entry of the log that they follow from. A member that joins takes them from the others, ahead of its own
    log, and must not apply the changes that led to them once more.
    """

    by_id: Mapping[int, Member] = field(default_factory=dict)
    removed: Set[int] = frozenset()
    as_of: int = 0

    @classmethod
    def of(cls, members: Iterable[Member], removed: Iterable[int] = (), as_of: int = 0) -> "Members":
        """These members."""
        return cls({member.id: member for member in members}, frozenset(removed), as_of)

    @classmethod
    def load(cls, backend: Backend) -> "Members":
        """What `store` has kept."""
        as_of = backend.get_value(_AS_OF)
        return cls.of(
            (from_message(store_pb2.Member.FromString(value)) for _, value in backend.values(_MEMBER)),
            (_NUMBER.unpack(name[len(_REMOVED) :])[0] for name, _ in backend.values(_REMOVED)),
            _NUMBER.unpack(as_of)[0] if as_of else 0,
        )

    def store(self, backend: Backend) -> None:
        """Keep these members, and no others, among a backend's values."""
        kept = {_MEMBER + _NUMBER.pack(member.id): to_message(member) for member in self.by_id.values()}
        gone = {_REMOVED + _NUMBER.pack(member_id) for member_id in self.removed}
        for name, _ in (*backend.values(_MEMBER), *backend.values(_REMOVED)):
            if name not in kept and name not in gone:
                backend.delete_value(name)
        for name, message in kept.items():
            backend.put_value(name, message.SerializeToString(deterministic=True))
        for name in gone:
            backend.put_value(name, b"")
        backend.put_value(_AS_OF, _NUMBER.pack(self.as_of))

    @property
    def voters(self) -> list[Member]:
        """All but the learners."""
        return [member for member in self.by_id.values() if not member.is_learner]

    def __getitem__(self, member_id: int) -> Member:
        """Raises EtcdError for an unknown or removed id."""
        member = self.by_id.get(member_id)
        if member is None:
            raise MEMBER_NOT_FOUND()
        return member

    def apply(self, change: store_pb2.MembershipChange, index: int) -> "Members":
        """The members after the change that is entry `index`. Raises EtcdError, in etcd's words, when it cannot be."""
        return self if index <= self.as_of else replace(self._changed(change), as_of=index)

    def _changed(self, change: store_pb2.MembershipChange) -> "Members":
        match change.WhichOneof("change"):
            case "add":
                return self.add(from_message(change.add))
            case "promote":
                return self.promote(change.promote)
            case "remove":
                return self.remove(change.remove)
            case "update":
                return self.update(change.update.id, tuple(change.update.peer_urls))
            case "publish":
                return self.publish(change.publish.id, change.publish.name, tuple(change.publish.client_urls))
        raise ValueError("a membership change without a change")

    def add(self, member: Member) -> "Members":
        """With one more."""
        if member.id in self.removed:
            raise MEMBER_NOT_FOUND()
        if member.id in self.by_id:
            raise MEMBER_EXISTS()
        self._check_urls(member.peer_urls, self.by_id.values())
        if member.is_learner and len(self.by_id) - len(self.voters) >= MAX_LEARNERS:
            raise TOO_MANY_LEARNERS()
        return self._with(member)

    def promote(self, member_id: int) -> "Members":
        """With a learner as a voter."""
        member = self[member_id]
        if not member.is_learner:
            raise MEMBER_NOT_LEARNER()
        return self._with(replace(member, is_learner=False))

    def remove(self, member_id: int) -> "Members":
        """Without a member, for good. The last voter cannot go."""
        member = self[member_id]
        if self.voters == [member]:
            raise NOT_ENOUGH_MEMBERS()
        others = {known: other for known, other in self.by_id.items() if known != member_id}
        return replace(self, by_id=others, removed=self.removed | {member_id})

    def update(self, member_id: int, peer_urls: tuple[str, ...]) -> "Members":
        """With a member at other peer URLs."""
        member = self[member_id]
        self._check_urls(peer_urls, (other for other in self.by_id.values() if other.id != member_id))
        return self._with(replace(member, peer_urls=peer_urls))

    def publish(self, member_id: int, name: str, client_urls: tuple[str, ...]) -> "Members":
        """With what a member says of itself."""
        return self._with(replace(self[member_id], name=name, client_urls=client_urls))

    def _with(self, member: Member) -> "Members":
        return replace(self, by_id={**self.by_id, member.id: member})

    @staticmethod
    def _check_urls(peer_urls: Sequence[str], others: Iterable[Member]) -> None:
        if any(not set(peer_urls).isdisjoint(other.peer_urls) for other in others):
            raise PEER_URL_EXISTS()

    # The strict reconfiguration check: a change must leave a majority of members that have started.

    def check_add_voter(self) -> None:
        """Raises EtcdError when one more voter, not started yet, could leave no majority."""
        started, after = self._started(self.voters), len(self.voters) + 1
        # From one to two there is no other way.
        if (started, after) != (1, 2):
            _check_majority(started, after)

    def check_promote(self) -> None:
        """The same for a learner, which has started."""
        _check_majority(self._started(self.voters) + 1, len(self.voters) + 1)

    def check_remove(self, member_id: int) -> None:
        """The same for one voter less; learners may always go."""
        if not self[member_id].is_learner:
            rest = [member for member in self.voters if member.id != member_id]
            _check_majority(self._started(rest), len(rest))

    @staticmethod
    def _started(members: Iterable[Member]) -> int:
        """How many have told their name, which they do once they run."""
        return sum(bool(member.name) for member in members)


def _check_majority(started: int, voters: int) -> None:
    if started < voters // 2 + 1:
        raise NOT_ENOUGH_MEMBERS()


def new_cluster(peer_urls_by_name: Mapping[str, Sequence[str]], token: str) -> tuple[int, Members]:
    """The id of a cluster that begins with these members, and them; the same wherever it is computed."""
    members = [
        Member(_id_of(token, *sorted(urls)), name, tuple(sorted(urls))) for name, urls in peer_urls_by_name.items()
    ]
    cluster = Members()
    for member in members:
        cluster = cluster.add(member)
    return _id_of(token, *sorted(f"{member.id:x}" for member in members)), cluster


def _id_of(*parts: str) -> int:
    """A number of 64 bits, never 0, which means nobody."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big") or 1


def to_message(member: Member) -> store_pb2.Member:
    """A member as it is stored and sent."""
    return store_pb2.Member(
        id=member.id,
        name=member.name,
        peer_urls=member.peer_urls,
        client_urls=member.client_urls,
        is_learner=member.is_learner,
    )


def from_reply(reply: store_pb2.MembersReply) -> Members:
    """The members that another one tells of."""
    return Members.of(map(from_message, reply.members), reply.removed, reply.as_of)


def from_message(message: store_pb2.Member) -> Member:
    """The member of a message."""
    return Member(message.id, message.name, tuple(message.peer_urls), tuple(message.client_urls), message.is_learner)
