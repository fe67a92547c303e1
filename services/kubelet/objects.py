"""The ConfigMaps and Secrets that Pods of this node name, each followed by a watch of its own; Services, trust bundles.

Only what is named is read: a node does not hold the secrets of others. What is immutable is read once and followed no
more; it is read anew for the first Pod that names it when no other does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.kubelet.core.references import CONFIG_MAP, SECRET, references
from navarch.services.kubelet.core.trust_bundles import TrustBundle
from navarch.services.kubelet.trust_bundles import TrustBundles

CLASSES: dict[str, type[Message]] = {CONFIG_MAP: corev1.ConfigMap, SECRET: corev1.Secret}
# (kind, namespace, name)
Key = tuple[str, str, str]


class NodeObjects:
    """A `Lookup` over informers. on_change: called with the uids of the Pods that name a changed object."""

    def __init__(self, client: Client, clock: Clock, on_change: Callable[[set[str]], None]) -> None:
        self._client = client
        self._clock = clock
        self._on_change = on_change
        self._tasks = TaskOwner()
        self._informers: dict[Key, Informer[Message]] = {}
        self._users: dict[Key, set[str]] = {}
        self._trust_bundles = TrustBundles(client, clock, on_change)
        self._services: Informer[corev1.Service] = Informer(client, corev1.Service, clock=clock)

    def start(self) -> None:
        """Begin to follow the Services."""
        self._services.start()

    async def stop(self) -> None:
        """End all watches."""
        informers, self._informers = self._informers, {}
        await self._tasks.close()
        endings = [self._services.stop(), self._trust_bundles.stop()]
        await asyncio.gather(*endings, *(informer.stop() for informer in informers.values()))

    async def acquire(self, pod: corev1.Pod) -> None:
        """Follow all that the Pod names; returns when it can be looked up."""
        uid, namespace = pod.metadata.uid, pod.metadata.namespace
        waits: list[Awaitable[None]] = [self._services.synced(), self._trust_bundles.acquire(pod)]
        for kind, name in references(pod):
            key = (kind, namespace, name)
            self._users.setdefault(key, set()).add(uid)
            waits.append(self._informer(key).synced())
        await asyncio.gather(*waits)

    async def release(self, uid: str) -> None:
        """Cease to follow what only this Pod named."""
        for key in [key for key, users in self._users.items() if uid in users]:
            self._users[key].discard(uid)
            if not self._users[key]:
                del self._users[key]
                if (informer := self._informers.pop(key, None)) is not None:
                    await informer.stop()
        await self._trust_bundles.release(uid)

    def _informer(self, key: Key) -> Informer[Message]:
        if key not in self._informers:
            kind, namespace, name = key
            informer: Informer[Message] = Informer(
                self._client,
                CLASSES[kind],
                namespace=namespace,
                field_selector=f"metadata.name={name}",
                clock=self._clock,
            )
            self._informers[key] = informer
            informer.on_event(lambda _old, new: self._changed(key, informer, new))
            informer.start()
        return self._informers[key]

    def _changed(self, key: Key, informer: Informer[Message], new: Message | None) -> None:
        if isinstance(new, corev1.ConfigMap | corev1.Secret) and new.immutable:
            self._tasks.spawn(_follow_no_more(informer), "immutable-object")
        self._on_change(set(self._users.get(key, ())))

    def _find(self, kind: str, namespace: str, name: str) -> Message | None:
        informer = self._informers.get((kind, namespace, name))
        return informer.get(f"{namespace}/{name}") if informer else None

    def config_map(self, namespace: str, name: str) -> corev1.ConfigMap | None:
        """A ConfigMap that an acquired Pod names."""
        found = self._find(CONFIG_MAP, namespace, name)
        return found if isinstance(found, corev1.ConfigMap) else None

    def secret(self, namespace: str, name: str) -> corev1.Secret | None:
        """A Secret that an acquired Pod names."""
        found = self._find(SECRET, namespace, name)
        return found if isinstance(found, corev1.Secret) else None

    def trust_bundles(self) -> Sequence[TrustBundle] | None:
        """All ClusterTrustBundles, once a Pod that projects some was acquired; None where there are no such objects."""
        return self._trust_bundles.list()

    def services(self) -> Sequence[corev1.Service]:
        """All Services."""
        return self._services.list()


async def _follow_no_more(informer: Informer[Message]) -> None:
    """What it holds stays."""
    await informer.synced()
    await informer.stop()
