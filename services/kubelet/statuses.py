"""Reports the statuses of Pods to the API server: many in one call, only what changed, the newest always wins.

A Pod is marked; its status is computed when it is sent, so that ten changes cost one report. News that
somebody waits for (a container runs, a Pod has ended) goes at once; other news is often overtaken by such, and
waits for that a moment. One call is under way at a time.
"""

import asyncio
from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client import requests
from navarch.services.client.client import Client
from navarch.services.kubelet.core.orders import PodChanged
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.static_pods import is_static
from navarch.services.kubelet.core.status import NodeFacts, pod_status
from navarch.services.kubelet.pod_worker import PodWorker

# For so long news that nobody waits for may be overtaken by other news of the same Pod.
PATIENCE_S = 1.0
BATCH = 100
RETRY_S = 0.2
LONGEST_RETRY_S = 5.0
FINAL_ATTEMPTS = 5


class StatusReporter:
    """The status reports of one kubelet."""

    def __init__(
        self, client: Client, clock: Clock, node: NodeFacts, mirror_of: Callable[[corev1.Pod], corev1.Pod | None]
    ) -> None:
        """mirror_of: the Pod of the API that shows a static one, if there is one."""
        self._client = client
        self._mirror_of = mirror_of
        self._clock = clock
        self.node = node
        # When each is to be reported at the latest, monotonic.
        self._due: dict[str, tuple[PodWorker, float]] = {}
        # By Pod: of which Pod of the API, for a static one has several one after the other, and what.
        self._sent: dict[str, tuple[str, bytes]] = {}
        self._wake = asyncio.Event()
        self._log = get_logger("kubelet.status")

    def mark(self, worker: PodWorker, urgent: bool) -> None:
        """The status of a Pod may have changed."""
        if worker.machine.stage in (Stage.NEW, Stage.GONE):
            return
        at = self._clock.monotonic() + (0.0 if urgent else PATIENCE_S)
        known = self._due.get(worker.uid)
        self._due[worker.uid] = worker, min(at, known[1]) if known else at
        self._wake.set()

    def forget(self, uid: str) -> None:
        """A Pod is gone."""
        self._due.pop(uid, None)
        self._sent.pop(uid, None)

    async def run(self) -> None:
        """Report, for ever."""
        failures = 0
        while True:
            await self._until_due()
            failures = 0 if await self._report() else failures + 1
            if failures:
                await self._clock.sleep(min(RETRY_S * 2.0 ** min(failures, 10), LONGEST_RETRY_S))

    async def _until_due(self) -> None:
        """Return when there is something to report."""
        while True:
            self._wake.clear()
            if not self._due:
                await self._wake.wait()
                continue
            rest_s = min(at for _, at in self._due.values()) - self._clock.monotonic()
            if rest_s <= 0:
                return
            waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._clock.sleep(rest_s))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _report(self) -> bool:
        """Send what is due. Returns whether all of it has arrived or is obsolete."""
        now = self._clock.monotonic()
        due = [worker for worker, at in self._due.values() if at <= now]
        for worker in due:
            del self._due[worker.uid]
        reports = [(worker, report) for worker in due if (report := self._report_of(worker)) is not None]
        arrived = True
        for start in range(0, len(reports), BATCH):
            part = reports[start : start + BATCH]
            mutations = [requests.mutation(requests.update_request(pod, subresource="status")) for _, pod in part]
            try:
                results: Sequence[Message | ApiError] = await self._client.batch(mutations)
            except ApiError as failure:
                self._log.warning("status.unsent", error=failure, pods=len(part))
                results = [failure] * len(part)
            for (worker, pod), result in zip(part, results, strict=True):
                arrived = await self._settle(worker, pod, result) and arrived
        return arrived

    def _report_of(self, worker: PodWorker) -> corev1.Pod | None:
        """The Pod with its status as it should be; None when the API server has it so."""
        pod = worker.view.pod
        known = self._mirror_of(pod) if is_static(pod) else pod
        if known is None:
            return None
        status = pod_status(worker.view, self.node, self._clock.now())
        if status == known.status or self._sent.get(worker.uid) == _sent(known.metadata.uid, status):
            return None
        return corev1.Pod(metadata=known.metadata, spec=known.spec, status=status)

    async def _settle(self, worker: PodWorker, sent: corev1.Pod, result: Message | ApiError) -> bool:
        if isinstance(result, corev1.Pod):
            self._sent[worker.uid] = _sent(sent.metadata.uid, sent.status)
            pod = worker.view.pod
            is_ours = is_static(pod)
            worker.tell(
                PodChanged(corev1.Pod(metadata=pod.metadata, spec=pod.spec, status=sent.status) if is_ours else result)
            )
            return True
        if isinstance(result, NotFound):
            return True
        if isinstance(result, Conflict):
            return await self._renew(worker)
        self._log.warning("status.refused", pod=worker.view.name, error=result)
        self.mark(worker, urgent=True)
        return False

    async def _renew(self, worker: PodWorker) -> bool:
        """Somebody else changed the Pod: read it, and report on top of that."""
        if is_static(worker.view.pod):
            # The mirror's newest version is on its way here.
            self.mark(worker, urgent=True)
            return False
        metadata = worker.view.pod.metadata
        try:
            newest = await self._client.get(corev1.Pod, metadata.name, metadata.namespace)
        except NotFound:
            return True
        except ApiError as failure:
            self._log.warning("status.unread", pod=worker.view.name, error=failure)
            self.mark(worker, urgent=False)
            return False
        if newest.metadata.uid == worker.uid:
            worker.tell(PodChanged(newest))
            self.mark(worker, urgent=True)
        return True

    async def delete(self, worker: PodWorker) -> None:
        """Report the last status of a Pod and take it out of the API. Raises ApiError when that failed."""
        await self._report_last(worker)
        metadata = worker.view.pod.metadata
        try:
            await self._client.delete(
                corev1.Pod, metadata.name, metadata.namespace, grace_period_seconds=0, uid=metadata.uid
            )
        except NotFound:
            return
        except Conflict:
            # Another Pod has the name by now: ours is gone.
            self._log.info("pod.replaced", pod=worker.view.name)

    async def _report_last(self, worker: PodWorker) -> None:
        for _ in range(FINAL_ATTEMPTS):
            if (report := self._report_of(worker)) is None:
                return
            try:
                worker.tell(PodChanged(await self._client.update_status(report)))
                return
            except NotFound:
                return
            except Conflict:
                await self._renew(worker)


def _sent(uid: str, status: corev1.PodStatus) -> tuple[str, bytes]:
    return uid, status.SerializeToString(deterministic=True)
