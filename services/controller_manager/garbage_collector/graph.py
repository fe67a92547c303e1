"""The graph of owners and dependents, over all kinds, by uid.

Fed with every object's metadata; tells whose fate may have changed. Owners that were never seen need no node:
an edge leads to their uid all the same. Holds no I/O and decides nothing (see `plan`).
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.kinds import Kind
from navarch.services.api.meta import is_being_deleted, metadata_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

# Uids known to be gone; only saves lookups, so it may forget.
_ABSENT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Owner:
    """A reference from a dependent. blocks: the owner, when deleted in the foreground, waits for the dependent."""

    uid: str
    api_version: str
    kind: str
    name: str
    blocks: bool

    @classmethod
    def of(cls, reference: metav1.OwnerReference) -> "Owner":
        """From the API's form."""
        return cls(reference.uid, reference.api_version, reference.kind, reference.name, reference.block_owner_deletion)


@dataclass(frozen=True, slots=True)
class Node:
    """What matters here of one object."""

    uid: str
    kind: Kind
    namespace: str
    name: str
    resource_version: str = ""
    owners: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @classmethod
    def of(cls, kind: Kind, obj: Message) -> "Node":
        """From an object."""
        metadata = metadata_of(obj)
        return cls(
            metadata.uid,
            kind,
            metadata.namespace,
            metadata.name,
            metadata.resource_version,
            tuple(map(Owner.of, metadata.owner_references)),
            tuple(metadata.finalizers),
            is_being_deleted(obj),
        )

    @property
    def waits_for_dependents(self) -> bool:
        """Whether it is being deleted in the foreground."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """Whether it is being deleted and leaves its dependents behind."""
        return self.deleting and ORPHAN in self.finalizers


class Graph:
    """Nodes and edges. Methods that take news return the uids to look at because of them."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}
        self._absent: OrderedDict[str | tuple[str, Owner], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        """The object of this uid, if it exists."""
        return self._nodes.get(uid)

    def is_absent(self, owner: Owner, namespace: str) -> bool:
        """Whether this owner of an object in this namespace is known to be gone. Uids never come back."""
        return owner.uid in self._absent or (namespace, owner) in self._absent

    def deny(self, owner: Owner, namespace: str) -> None:
        """The API has no such owner. This says nothing about its uid: the reference itself may be wrong."""
        self._note_absent((namespace, owner))

    def confirm(self, node: Node) -> None:
        """The API has this object, though no event told of it yet (or its deletion did, just now)."""
        if node.uid not in self._absent and node.uid not in self._nodes:
            self.observe(node)

    def dependents(self, uid: str) -> list[Node]:
        """The objects that name this uid as an owner, in a stable order."""
        return [self._nodes[each] for each in sorted(self._dependents.get(uid, ()))]

    def observe(self, node: Node) -> list[str]:
        """An object was added or changed."""
        old = self._nodes.get(node.uid)
        self._nodes[node.uid] = node
        before = {owner.uid for owner in old.owners} if old else set()
        after = {owner.uid for owner in node.owners}
        self._unlink(node.uid, before - after)
        for uid in after - before:
            self._dependents.setdefault(uid, set()).add(node.uid)
        affected = [node.uid] if node.owners or node.deleting else []
        if node.waits_for_dependents and not (old and old.waits_for_dependents):
            affected += sorted(self._dependents.get(node.uid, ()))
        # An owner that waits for this one may have one blocker less; those it lost do not see it any more.
        return affected + self._waiting(before | after if old and old.owners != node.owners else ())

    def forget(self, uid: str) -> list[str]:
        """An object is gone for good."""
        self._note_absent(uid)
        node = self._nodes.pop(uid, None)
        owners = [owner.uid for owner in node.owners] if node else []
        self._unlink(uid, owners)
        return sorted(self._dependents.get(uid, ())) + self._waiting(owners)

    def check_invariants(self) -> None:
        """Every edge leads from a node that has it, and every node has all its edges."""
        edges = {(owner, each) for owner, dependents in self._dependents.items() for each in dependents}
        wanted = {(owner.uid, node.uid) for node in self._nodes.values() for owner in node.owners}
        if edges != wanted:
            raise AssertionError(f"graph edges differ: {sorted(edges ^ wanted)}")

    def _note_absent(self, who: str | tuple[str, Owner]) -> None:
        self._absent[who] = None
        if len(self._absent) > _ABSENT_LIMIT:
            self._absent.popitem(last=False)

    def _waiting(self, owners: Iterable[str]) -> list[str]:
        return sorted(uid for uid in owners if (owner := self._nodes.get(uid)) is not None and owner.deleting)

    def _unlink(self, uid: str, owners: Iterable[str]) -> None:
        for owner in owners:
            dependents = self._dependents.get(owner, set())
            dependents.discard(uid)
            if not dependents:
                self._dependents.pop(owner, None)
