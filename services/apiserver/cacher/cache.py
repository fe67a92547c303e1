"""The core of a watch cache: the objects of one resource, its recent changes, its watchers.

Changes come in by `apply`, in the order of revisions, and go to the watchers whose bucket they concern, so that
a change costs what its audience costs and nothing that grows with the cluster. The ring keeps recent changes
for watchers that resume; who asks for older ones is told so and lists again. No I/O, no clock.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from operator import attrgetter

from sortedcontainers import SortedDict

from navarch.services.apiserver.cacher.events import Change
from navarch.services.apiserver.cacher.nodes import NodeIndex
from navarch.services.apiserver.cacher.selection import EVERYTHING, Bucket, Selection
from navarch.services.apiserver.cacher.subscription import Subscription
from navarch.services.apiserver.stored import StoredObject

RING_CHANGES = 4096
# Objects may be large: the encodings that each door keeps of them come on top.
RING_BYTES = 16 << 20


class TooOld(Exception):
    """The ring no longer reaches back to the revision asked for."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {requested} ({oldest})")


class WatchCache:
    """All objects of one resource at `revision`."""

    def __init__(self, *, namespaced: bool, on_nodes: bool = False, ring_changes: int = RING_CHANGES) -> None:
        """namespaced: whether the objects are. on_nodes: whether they are found by the node that they name."""
        self._is_namespaced = namespaced
        self._nodes = NodeIndex() if on_nodes else None
        self.revision = 0
        self._objects: SortedDict[str, StoredObject] = SortedDict()
        # Changes after `_ring_since`, oldest first, trimmed when it is twice as long or large as it should be.
        self._ring: list[Change] = []
        self._ring_bytes = 0
        self._ring_since = 0
        self._ring_changes = ring_changes
        # By what a bucket is about, then by its value.
        self._subscriptions: dict[str, dict[Hashable, dict[Subscription, None]]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[str]:
        """The keys of all objects."""
        return iter(self._objects)

    def reset(self, objects: Iterable[StoredObject], revision: int) -> None:
        """Begin anew with a list of the store. Watchers are ended: what lies between is unknown."""
        for subscription in list(self.subscriptions()):
            subscription.end("reset")
        self._subscriptions.clear()
        self._objects = SortedDict((stored.key, stored) for stored in objects)
        if self._nodes is not None:
            self._nodes = NodeIndex()
            for stored in self._objects.values():
                self._nodes.move(stored.key, stored)
                stored.forget()
        self._ring.clear()
        self._ring_bytes = 0
        self._ring_since = self.revision = revision

    def apply(self, key: str, current: StoredObject | None, revision: int) -> None:
        """Take in one change. The cache's own revision moves with `advance`, after all changes of a revision."""
        previous = self._objects.get(key)
        if current is not None:
            self._objects[key] = current
        elif previous is not None:
            del self._objects[key]
        else:
            return
        change = Change(revision, current, previous)
        self._remember(change)
        nodes = [] if self._nodes is None else self._nodes.move(key, current)
        for subscription in self._audience(change, nodes):
            subscription.offer(change)
            if subscription.ended:
                self.unsubscribe(subscription)
        change.forget()

    def advance(self, revision: int) -> None:
        """Everything up to this revision has been applied."""
        self.revision = max(self.revision, revision)

    def get(self, key: str) -> StoredObject | None:
        """The object now."""
        found: StoredObject | None = self._objects.get(key)
        return found

    def on_node(self, node: str) -> Iterator[StoredObject]:
        """The objects that name a node, in order; of kinds that are found so."""
        keys = [] if self._nodes is None else self._nodes.keys_on(node)
        return (self._objects[key] for key in keys)

    def select(self, namespace: str) -> Iterator[StoredObject]:
        """Objects in order of their keys, of one namespace or of all."""
        objects = self._objects
        if not namespace:
            return iter(objects.values())
        # "0" is the character after "/".
        return (objects[key] for key in objects.irange(f"{namespace}/", f"{namespace}0", (True, False)))

    def selected(self, selection: Selection) -> Iterator[StoredObject]:
        """The objects of a selection, in order: without a scan where it names one object or one node."""
        name, node = selection.name(), selection.node()
        if name is not None and (selection.namespace or not self._is_namespaced):
            stored = self.get(f"{selection.namespace}/{name}" if selection.namespace else name)
            return selection.filter([] if stored is None else [stored])
        if node is not None and self._nodes is not None:
            return selection.filter(self.on_node(node))
        return selection.filter(self.select(selection.namespace))

    def since(self, revision: int) -> Sequence[Change]:
        """The changes after a revision. Raises TooOld."""
        if revision < self._ring_since:
            raise TooOld(revision, self._ring_since)
        return self._ring[bisect_right(self._ring, revision, key=attrgetter("revision")) :]

    def subscribe(self, subscription: Subscription) -> None:
        """Let it see all changes after its revision (up to now out of the ring). Raises TooOld."""
        for change in self.since(subscription.after):
            subscription.offer(change)
            change.forget()
        if not subscription.ended:
            about, value = subscription.bucket
            self._subscriptions.setdefault(about, {}).setdefault(value, {})[subscription] = None

    def unsubscribe(self, subscription: Subscription) -> None:
        """No more changes for it. Idempotent."""
        about, value = subscription.bucket
        buckets = self._subscriptions.get(about, {})
        buckets.get(value, {}).pop(subscription, None)
        if not buckets.get(value, True):
            del buckets[value]

    def subscriptions(self) -> Iterator[Subscription]:
        """All watchers."""
        for buckets in self._subscriptions.values():
            for waiting in buckets.values():
                yield from waiting

    def _remember(self, change: Change) -> None:
        self._ring.append(change)
        self._ring_bytes += change.size_bytes
        if len(self._ring) >= 2 * self._ring_changes or self._ring_bytes >= 2 * RING_BYTES:
            self._trim()

    def _trim(self) -> None:
        cut, kept_bytes = len(self._ring), 0
        while len(self._ring) - cut < self._ring_changes and kept_bytes + self._ring[cut - 1].size_bytes <= RING_BYTES:
            cut -= 1
            kept_bytes += self._ring[cut].size_bytes
        # A revision is forgotten as a whole, or not at all.
        self._ring_since = self._ring[cut - 1].revision
        del self._ring[: bisect_right(self._ring, self._ring_since, key=attrgetter("revision"))]
        self._ring_bytes = sum(change.size_bytes for change in self._ring)

    def _audience(self, change: Change, nodes: Iterable[str]) -> list[Subscription]:
        """The watchers that a change may concern. nodes: where the object is and was."""
        stored = change.any
        buckets: list[Bucket] = [
            EVERYTHING,
            ("namespace", stored.namespace),
            ("name", (stored.namespace, stored.name)),
            *(("node", node) for node in nodes),
        ]
        none: dict[Subscription, None] = {}
        return [one for about, value in buckets for one in self._subscriptions.get(about, {}).get(value, none)]
