"""The garbage collector's decisions on random families, with news that come late: nothing wrong goes, nothing stays.

The API is a model of a few lines. What users delete and create is random; the collector hears of each change
some time later, in order, and acts with the preconditions it sends in earnest.
"""

import random
from collections import deque
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

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

KIND = KINDS.of(corev1.ConfigMap)
FINALIZER = {"Foreground": (FOREGROUND,), "Orphan": (ORPHAN,), "Background": ()}


class Refused(Exception):
    """A precondition does not hold, or the object is gone."""


class Api:
    def __init__(self) -> None:
        self.objects: dict[str, Node] = {}
        self.news: deque[tuple[str, Node | None]] = deque()
        self.version = 0
        self.ever = 0
        # Asked to go after their dependents.
        self.foreground: set[str] = set()

    def write(self, node: Node) -> None:
        if node.deleting and not node.finalizers:
            del self.objects[node.uid]
            self.news.append((node.uid, None))
            return
        if self.objects.get(node.uid) == node:
            return
        self.version += 1
        self.objects[node.uid] = replace(node, resource_version=str(self.version))
        self.news.append((node.uid, self.objects[node.uid]))

    def create(self, owners: tuple[Owner, ...], finalizers: tuple[str, ...] = ()) -> None:
        self.ever += 1
        self.write(Node(f"u{self.ever}", KIND, "default", f"n{self.ever}", "", owners, finalizers))

    def get(self, uid: str, version: str = "") -> Node:
        node = self.objects.get(uid)
        if node is None or version not in ("", node.resource_version):
            raise Refused
        return node

    def delete(self, uid: str, policy: str, version: str = "") -> None:
        node = self.get(uid, version)
        if policy == "Foreground":
            self.foreground.add(uid)
        others = tuple(each for each in node.finalizers if each not in (FOREGROUND, ORPHAN))
        self.write(replace(node, deleting=True, finalizers=others + FINALIZER[policy]))


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.api = Api()
        self.graph = Graph()
        self.due: dict[str, None] = {}

    def hear(self) -> None:
        uid, node = self.api.news.popleft()
        for each in self.graph.forget(uid) if node is None else self.graph.observe(node):
            self.due[each] = None

    def collect(self) -> None:
        uid = self.rng.choice(list(self.due))
        del self.due[uid]
        while actions := plan(self.graph, uid):
            try:
                for action in actions:
                    self.carry_out(action)
            except Refused:
                self.due[uid] = None
                return
            if not isinstance(actions[0], Verify):
                return

    def carry_out(self, action: Action) -> None:
        match action:
            case Verify(node, owner):
                if (found := self.api.objects.get(owner.uid)) is not None and found.name == owner.name:
                    self.graph.confirm(found)
                else:
                    self.graph.deny(owner, node.namespace)
            case Delete(node, policy):
                owners = [self.api.objects.get(each.uid) for each in node.owners]
                holding = [each for each in owners if each is not None and each.uid not in self.api.foreground]
                if self.api.get(node.uid, node.resource_version):
                    assert not holding, f"{node.name} is deleted, and {holding[0].name} owns it"
                self.api.delete(node.uid, policy, node.resource_version)
            case DropOwners(node, gone):
                current = self.api.get(node.uid)
                kept = tuple(each for each in current.owners if each.uid not in gone)
                self.api.write(replace(current, owners=kept))
            case Unblock(node):
                current = self.api.get(node.uid)
                self.api.write(replace(current, owners=tuple(replace(each, blocks=False) for each in current.owners)))
            case RemoveFinalizer(node, finalizer):
                current = self.api.get(node.uid, node.resource_version)
                kept = tuple(each for each in current.finalizers if each != finalizer)
                self.api.write(replace(current, finalizers=kept))

    def user_acts(self) -> None:
        rng, api = self.rng, self.api
        names = sorted(api.objects)
        if not names or rng.random() < 0.5:
            # Owners that are there, that are gone, itself, and now and then one that never was.
            owners = set(rng.sample(range(api.ever + 2), k=min(api.ever + 2, rng.randrange(1, 4))))
            references = tuple(
                Owner(f"u{each}", KIND.api_version, KIND.kind, f"n{each}", rng.random() < 0.6)
                for each in sorted(owners)
            )
            api.create(references if rng.random() < 0.8 else (), ("example.com/own",) if rng.random() < 0.1 else ())
        elif rng.random() < 0.8:
            name = rng.choice(names)
            if not api.objects[name].deleting:
                api.delete(name, rng.choice(["Foreground", "Foreground", "Background", "Orphan"]))
        else:
            node = api.objects[rng.choice(names)]
            api.write(replace(node, finalizers=tuple(each for each in node.finalizers if "/" not in each)))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            choices = [
                self.user_acts,
                *([self.hear] * 2 if self.api.news else ()),
                *([self.collect] if self.due else ()),
            ]
            self.rng.choice(choices)()

    def settle(self) -> None:
        for node in list(self.api.objects.values()):
            self.api.write(replace(node, finalizers=tuple(each for each in node.finalizers if "/" not in each)))
        for _ in range(5000):
            if self.api.news:
                self.hear()
            elif self.due:
                self.collect()
            else:
                return
        raise AssertionError("the collector does not come to rest")


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 60))
def test_in_the_end_everything_has_an_owner_that_exists_or_wants_none(seed: int, steps: int) -> None:
    world = World(seed)
    world.run(steps)
    world.settle()
    world.graph.check_invariants()
    objects = world.api.objects
    for node in objects.values():
        assert not node.deleting, f"{node} is held back"
        assert not node.owners or any(owner.uid in objects for owner in node.owners), f"{node} is left over"
        assert all(owner.uid in objects for owner in node.owners), f"{node} names an owner that is gone"
