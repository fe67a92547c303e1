"""The Namespace loop: deletes the contents of Terminating Namespaces, then their finalizer.

The caches tell what is left, and deletions of content wake the loop, so nothing polls. Only when the caches
look empty does it ask the API kind by kind, since an object may have come in just before the door was shut.
"""

from collections import Counter

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.kinds import Kind
from navarch.services.api.meta import is_being_deleted, metadata_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.client.informer import by_namespace
from navarch.services.controller_manager import parallel
from navarch.services.controller_manager.kinds import namespaced_kinds
from navarch.services.controller_manager.namespace.plan import Content, is_ours, released, status

WORKERS = 2
# Calls to the API at once, of one Namespace.
CONCURRENCY = 8
# Should an event that announces the last deletion be missed, look again after this long.
RECHECK_S = 15.0
SOON_S = 0.02


class NamespaceController:
    """Reconciles Namespaces by name."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("namespace", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._namespaces = context.informers.of(corev1.Namespace)
        self._kinds = namespaced_kinds()
        self._contents = {
            kind: context.informers.of(kind.message, {"namespace": by_namespace})
            for kind in self._kinds
            if kind.resource != "events"
        }
        self._namespaces.on_event(self._on_namespace)
        for informer in self._contents.values():
            informer.on_event(self._on_content)
        self._informers = context.informers
        context.kinds.on_kind(self._on_kind)

    async def reconcile(self, name: str) -> Result | None:
        """Bring one Namespace's deletion forward."""
        namespace = self._namespaces.get(name)
        if namespace is None or not is_ours(namespace):
            return None
        cached = {kind: found for kind, each in self._contents.items() if (found := each.by_index("namespace", name))}
        doomed = [kind for kind, found in cached.items() if not all(map(is_being_deleted, found))]
        if not cached:
            doomed = await self._still_filled(name)
        failures = await self._empty(doomed, name)
        if not cached and not doomed:
            await self._release(namespace)
            return None
        await self._report(namespace, _content(cached, doomed, failures))
        if failures:
            raise next(iter(failures.values()))
        # Without anything in the caches no event may come: what was there went at once, or is about to show.
        return Result(RECHECK_S if cached else SOON_S)

    async def _still_filled(self, name: str) -> list[Kind]:
        """The kinds of which the API has objects in the Namespace."""

        async def holds(kind: Kind) -> bool:
            return bool((await self._client.list(kind.message, name, limit=1)).items)

        answers = await parallel.each(self._kinds, holds, CONCURRENCY)
        return [kind for kind, answer in answers.items() if answer]

    async def _empty(self, kinds: list[Kind], name: str) -> dict[Kind, errors.ApiError]:
        """Ask for the deletion of all objects of these kinds. Returns the refusals."""

        async def empty(kind: Kind) -> errors.ApiError | None:
            try:
                await self._client.delete_collection(kind.message, name, propagation_policy="Background")
            except errors.ApiError as failure:
                return failure
            return None

        answers = await parallel.each(kinds, empty, CONCURRENCY)
        return {kind: answer for kind, answer in answers.items() if answer is not None}

    async def _report(self, namespace: corev1.Namespace, content: Content) -> None:
        after = status(namespace, content, self._clock.now())
        if after is not None:
            changed = corev1.Namespace()
            changed.CopyFrom(namespace)
            changed.status.CopyFrom(after)
            await self._client.update_status(changed)

    async def _release(self, namespace: corev1.Namespace) -> None:
        try:
            await self._client.update(released(namespace), subresource="finalize")
        except errors.NotFound:
            return

    def _on_namespace(self, old: corev1.Namespace | None, new: corev1.Namespace | None) -> None:
        if new is not None and is_ours(new):
            self.controller.queue.add(new.metadata.name)

    def _on_kind(self, kind: Kind, is_served: bool) -> None:
        if not kind.namespaced:
            return
        if is_served:
            self._kinds.append(kind)
            informer = self._contents[kind] = self._informers.of(kind.message, {"namespace": by_namespace})
            informer.on_event(self._on_content)
        elif kind in self._contents:
            self._kinds.remove(kind)
            del self._contents[kind]
            for namespace in filter(is_ours, self._namespaces.list()):
                self.controller.queue.add(namespace.metadata.name)

    def _on_content(self, old: Message | None, new: Message | None) -> None:
        """Something is gone: perhaps it was the last."""
        if new is None and old is not None:
            namespace = self._namespaces.get(metadata_of(old).namespace)
            if namespace is not None and is_ours(namespace):
                self.controller.queue.add(namespace.metadata.name)


def _content(cached: dict[Kind, list[Message]], doomed: list[Kind], failures: dict[Kind, errors.ApiError]) -> Content:
    remaining = Counter({kind.qualified_resource: len(found) for kind, found in cached.items()})
    for kind in doomed:
        remaining.setdefault(kind.qualified_resource, 1)
    finalizers = Counter(
        finalizer for found in cached.values() for each in found for finalizer in metadata_of(each).finalizers
    )
    return Content(remaining, finalizers, tuple(sorted(f"{kind.resource}: {why}" for kind, why in failures.items())))
