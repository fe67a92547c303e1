"""What to do about one object: a pure function of the graph.

An object without an owner left is deleted. An owner that exists keeps it; references to others are dropped.
Where all that is left are owners which are being deleted in the foreground, it is deleted for their sake. An
object being deleted itself first lets its dependents go (orphan) or waits for those that block (foreground).
"""

from dataclasses import dataclass
from typing import Literal

from navarch.services.controller_manager.garbage_collector.graph import FOREGROUND, ORPHAN, Graph, Node, Owner

Policy = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class Verify:
    """The graph does not know whether this owner exists: ask the API, then plan again."""

    node: Node
    owner: Owner


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, as it was seen."""

    node: Node
    policy: Policy


@dataclass(frozen=True, slots=True)
class DropOwners:
    """Remove references from an object to these owners."""

    node: Node
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unblock:
    """Keep an object from blocking its owners: breaks circles of owners that wait for one another."""

    node: Node


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let go of an object that was held back."""

    node: Node
    finalizer: str


Action = Verify | Delete | DropOwners | Unblock | RemoveFinalizer


def plan(graph: Graph, uid: str) -> list[Action]:
    """Actions in order; each must succeed before the next. Empty where nothing is to be done now."""
    node = graph.get(uid)
    if node is None:
        return []
    if node.orphans_dependents:
        drops: list[Action] = [DropOwners(each, (uid,)) for each in graph.dependents(uid)]
        return [*drops, RemoveFinalizer(node, ORPHAN)]
    if node.waits_for_dependents:
        if not _blockers(graph, uid):
            return [RemoveFinalizer(node, FOREGROUND)]
        return [Unblock(node)] if _blocks(node) and _waits_for_itself(graph, uid) else []
    if node.deleting or not node.owners:
        return []
    return _judge_owned(graph, node)


def _blocks(node: Node) -> bool:
    return any(owner.blocks for owner in node.owners)


def _blockers(graph: Graph, uid: str) -> list[Node]:
    """The dependents that an object waits for when deleted in the foreground. It never waits for itself."""
    return [
        each
        for each in graph.dependents(uid)
        if each.uid != uid and any(owner.uid == uid and owner.blocks for owner in each.owners)
    ]


def _waits_for_itself(graph: Graph, uid: str) -> bool:
    """Whether some of those that it waits for wait, perhaps by way of others, for it."""
    seen, todo = {uid}, [uid]
    while todo:
        current = todo.pop()
        for each in _blockers(graph, current):
            if each.uid == uid:
                return True
            if each.waits_for_dependents and each.uid not in seen:
                seen.add(each.uid)
                todo.append(each.uid)
    return False


def _judge_owned(graph: Graph, node: Node) -> list[Action]:
    solid: list[Owner] = []
    waiting: list[Owner] = []
    dangling: list[Owner] = []
    unknown: list[Owner] = []
    for owner in node.owners:
        known = graph.get(owner.uid)
        if known is not None and known.namespace in ("", node.namespace):
            (waiting if known.waits_for_dependents else solid).append(owner)
        elif known is not None or graph.is_absent(owner, node.namespace):
            dangling.append(owner)
        else:
            unknown.append(owner)
    if unknown:
        return [Verify(node, owner) for owner in unknown]
    if solid:
        gone = tuple(owner.uid for owner in (*dangling, *waiting))
        return [DropOwners(node, gone)] if gone else []
    dependents = graph.dependents(node.uid)
    if waiting and dependents:
        circle = _blocks(node) and any(each.waits_for_dependents for each in dependents)
        unblock: list[Action] = [Unblock(node)] if circle else []
        return [*unblock, Delete(node, "Foreground")]
    return [Delete(node, _policy(node))]


def _policy(node: Node) -> Policy:
    """Finalizers put there beforehand say how the object wants to be deleted."""
    if ORPHAN in node.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in node.finalizers else "Background"
