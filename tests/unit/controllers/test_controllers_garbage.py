"""The garbage collector's graph and decisions."""

import random

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.kinds import KINDS
from navarch.services.controller_manager.garbage_collector.graph import FOREGROUND, ORPHAN, Graph, Node, Owner
from navarch.services.controller_manager.garbage_collector.plan import (
    Action,
    Delete,
    DropOwners,
    RemoveFinalizer,
    Unblock,
    Verify,
    plan,
)
from navarch.services.controller_manager.kinds import namespaced_kinds, stored_kinds

KIND = KINDS.of(corev1.ConfigMap)


def owner(uid: str, blocks: bool = False) -> Owner:
    return Owner(uid, "v1", "ConfigMap", uid, blocks)


def a_node(
    uid: str, *owners: Owner, finalizers: tuple[str, ...] = (), deleting: bool = False, namespace: str = "default"
) -> Node:
    return Node(uid, KIND, namespace, uid, "1", owners, finalizers, deleting)


def a_graph(*nodes: Node, gone: tuple[str, ...] = ()) -> Graph:
    graph = Graph()
    for node in nodes:
        graph.observe(node)
    for uid in gone:
        graph.forget(uid)
    return graph


foreground = {"finalizers": (FOREGROUND,), "deleting": True}
orphaning = {"finalizers": (ORPHAN,), "deleting": True}
child = a_node("child", owner("a"))
blocking = a_node("child", owner("a", blocks=True))

CASES = {
    "no owners": ((a_node("child"),), (), []),
    "owner exists": ((a_node("a"), child), (), []),
    "owner is a cluster object": ((a_node("a", namespace=""), child), (), []),
    "owner gone": ((child,), ("a",), [Delete(child, "Background")]),
    "owner never seen": ((child,), (), [Verify(child, owner("a"))]),
    "owner in another namespace": ((a_node("a", namespace="x"), child), (), [Delete(child, "Background")]),
    "owner waits in the foreground": ((a_node("a", **foreground), child), (), [Delete(child, "Background")]),
    "owner being deleted in the background": ((a_node("a", deleting=True), child), (), []),
    "already being deleted": ((a_node("child", owner("a"), deleting=True),), ("a",), []),
    "wants to orphan": (
        (a_node("child", owner("a"), finalizers=(ORPHAN,)),),
        ("a",),
        [Delete(a_node("child", owner("a"), finalizers=(ORPHAN,)), "Orphan")],
    ),
    "wants the foreground": (
        (a_node("child", owner("a"), finalizers=(FOREGROUND,)),),
        ("a",),
        [Delete(a_node("child", owner("a"), finalizers=(FOREGROUND,)), "Foreground")],
    ),
    "one of two owners gone": (
        (a_node("b"), a_node("child", owner("a"), owner("b"))),
        ("a",),
        [DropOwners(a_node("child", owner("a"), owner("b")), ("a",))],
    ),
    "one of two owners waits": (
        (a_node("a", **foreground), a_node("b"), a_node("child", owner("a"), owner("b"))),
        (),
        [DropOwners(a_node("child", owner("a"), owner("b")), ("a",))],
    ),
    "with dependents of its own, for a waiting owner": (
        (a_node("a", **foreground), child, a_node("grandchild", owner("child"))),
        (),
        [Delete(child, "Foreground")],
    ),
    "in a circle with a waiting owner": (
        (a_node("a", owner("child"), **foreground), a_node("child", owner("a", blocks=True))),
        (),
        [
            Unblock(a_node("child", owner("a", blocks=True))),
            Delete(a_node("child", owner("a", blocks=True)), "Foreground"),
        ],
    ),
    "in a circle, blocking nobody": (
        (a_node("a", owner("child"), **foreground), child),
        (),
        [Delete(child, "Foreground")],
    ),
    "two that wait for each other": (
        (
            a_node("a", owner("child", blocks=True), **foreground),
            a_node("child", owner("a", blocks=True), **foreground),
        ),
        (),
        [Unblock(a_node("child", owner("a", blocks=True), **foreground))],
    ),
    "its own owner": (
        (a_node("child", owner("child", blocks=True), **foreground),),
        (),
        [RemoveFinalizer(a_node("child", owner("child", blocks=True), **foreground), FOREGROUND)],
    ),
    "foreground, blocked": ((a_node("child", **foreground), a_node("x", owner("child", blocks=True))), (), []),
    "foreground, dependents that do not block": (
        (a_node("child", **foreground), a_node("x", owner("child"))),
        (),
        [RemoveFinalizer(a_node("child", **foreground), FOREGROUND)],
    ),
    "foreground, no dependents": (
        (a_node("child", **foreground),),
        (),
        [RemoveFinalizer(a_node("child", **foreground), FOREGROUND)],
    ),
    "orphaning": (
        (a_node("child", **orphaning), a_node("x", owner("child")), a_node("y", owner("child"))),
        (),
        [
            DropOwners(a_node("x", owner("child")), ("child",)),
            DropOwners(a_node("y", owner("child")), ("child",)),
            RemoveFinalizer(a_node("child", **orphaning), ORPHAN),
        ],
    ),
    "unknown object": ((), (), []),
}


@pytest.mark.parametrize(("nodes", "gone", "expected"), CASES.values(), ids=CASES.keys())
def test_decisions(nodes: tuple[Node, ...], gone: tuple[str, ...], expected: list[Action]) -> None:
    assert plan(a_graph(*nodes, gone=gone), "child") == expected


def test_a_denied_reference_says_nothing_of_the_uid() -> None:
    graph = a_graph(child, a_node("other", Owner("a", "v1", "Secret", "a", False)))
    graph.deny(owner("a"), "default")
    assert plan(graph, "child") == [Delete(child, "Background")]
    assert [type(each) for each in plan(graph, "other")] == [Verify]


def test_a_confirmed_owner_does_not_come_back_from_the_dead() -> None:
    graph = a_graph(a_node("a"), child, gone=("a",))
    graph.confirm(a_node("a"))
    assert plan(graph, "child") == [Delete(child, "Background")]


@pytest.mark.parametrize(
    ("change", "affected"),
    [
        pytest.param(lambda graph: graph.observe(a_node("lone")), [], id="nothing owned"),
        pytest.param(lambda graph: graph.observe(a_node("new", owner("a"))), ["new"], id="a new dependent"),
        pytest.param(lambda graph: graph.forget("a"), ["b", "child"], id="an owner is gone"),
        pytest.param(
            lambda graph: graph.observe(a_node("a", **foreground)), ["a", "b", "child"], id="an owner begins to wait"
        ),
        pytest.param(lambda graph: graph.forget("w-child"), ["w"], id="a blocker is gone"),
        pytest.param(
            lambda graph: graph.observe(a_node("w-child", owner("w"))), ["w-child", "w"], id="a blocker lets go"
        ),
    ],
)
def test_who_is_looked_at(change, affected: list[str]) -> None:
    graph = a_graph(
        a_node("a"),
        child,
        a_node("b", owner("a")),
        a_node("w", **foreground),
        a_node("w-child", owner("w", blocks=True)),
    )
    assert change(graph) == affected
    graph.check_invariants()


def test_edges_follow_any_history() -> None:
    rng, graph = random.Random(7), Graph()
    uids = [f"u{number}" for number in range(8)]
    for _ in range(2000):
        uid = rng.choice(uids)
        if rng.random() < 0.3:
            graph.forget(uid)
        else:
            owners = (owner(each) for each in rng.sample(uids, rng.randrange(3)))
            graph.observe(a_node(uid, *owners, deleting=rng.random() < 0.1))
        graph.check_invariants()


def test_every_stored_object_is_seen_once() -> None:
    prefixes = [kind.key_prefix for kind in stored_kinds()]
    assert len(prefixes) == len(set(prefixes))
    resources = {kind.resource for kind in stored_kinds()}
    assert {"pods", "replicasets", "configmaps", "secrets", "jobs", "nodes"} <= resources
    assert "events" not in resources
    assert "events" in {kind.resource for kind in namespaced_kinds()}
