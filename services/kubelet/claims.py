"""Finds the PersistentVolume behind a volume of a Pod.

Claims are read, not watched: a node may do no more. While a Pod waits for a claim that is not ready, the claim is read
again and again, and whoever waits is told when it has changed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.kubelet.core.claims import check_claim, check_volume, claim_name
from navarch.services.kubelet.core.references import ConfigError

FIRST_LOOK_S = 0.2
LONGEST_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A claim and what it is bound to."""

    claim: corev1.PersistentVolumeClaim
    persistent: corev1.PersistentVolume


class Claims:
    """The claims of one node's Pods. on_change: called with the uid of a Pod whose claim may be ready now."""

    def __init__(self, client: Client, clock: Clock, on_change: Callable[[set[str]], None]) -> None:
        self._client = client
        self._clock = clock
        self._on_change = on_change
        self._tasks = TaskOwner()
        self._waits: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def find(self, pod: corev1.Pod, volume: corev1.Volume) -> Bound | None:
        """What a volume is bound to; None for one without a claim. Raises ConfigError while it is not ready."""
        name = claim_name(pod, volume)
        if not name:
            return None
        namespace, uid = pod.metadata.namespace, pod.metadata.uid
        claim: corev1.PersistentVolumeClaim | None = None
        try:
            claim = await self._claim(namespace, name)
            check_claim(pod, volume, claim)
            persistent = await self._persistent(claim.spec.volume_name)
            check_volume(persistent, claim)
        except ConfigError as failure:
            self._await_change(uid, namespace, name, claim.metadata.resource_version if claim is not None else "")
            raise ConfigError(f"error processing PVC {namespace}/{name}: {failure}") from failure
        return Bound(claim, persistent)

    async def _claim(self, namespace: str, name: str) -> corev1.PersistentVolumeClaim:
        try:
            return await self._client.get(corev1.PersistentVolumeClaim, name, namespace)
        except ApiError as failure:
            raise ConfigError(f"failed to fetch PVC from API server: {failure}") from failure

    async def _persistent(self, name: str) -> corev1.PersistentVolume:
        try:
            return await self._client.get(corev1.PersistentVolume, name)
        except ApiError as failure:
            raise ConfigError(f"failed to fetch PV {name} from API server: {failure}") from failure

    def _await_change(self, uid: str, namespace: str, name: str, version: str) -> None:
        key = (uid, name)
        if key not in self._waits:
            wait = self._waits[key] = self._tasks.spawn(self._look(uid, namespace, name, version), "claim-wait")
            wait.add_done_callback(lambda _: self._waits.pop(key, None))

    async def _look(self, uid: str, namespace: str, name: str, version: str) -> None:
        pause_s = FIRST_LOOK_S
        while True:
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_LOOK_S)
            try:
                found = (await self._client.get(corev1.PersistentVolumeClaim, name, namespace)).metadata
            except ApiError:
                # Not reachable, or not yet known to be ours: asked again like what is not there.
                continue
            if found.resource_version != version:
                break
        self._waits.pop((uid, name), None)
        self._on_change({uid})

    def forget(self, uid: str) -> None:
        """The Pod waits no longer."""
        for key in [key for key in self._waits if key[0] == uid]:
            self._waits.pop(key).cancel()

    async def stop(self) -> None:
        """End all waits."""
        await self._tasks.close()
