"""What happens to sandboxes and containers, told to all who follow it."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, statuses
from navarch.runtime_shim.records import ContainerRecord, SandboxRecord

# A reader who falls this far behind must list anew.
EVENT_QUEUE = 4096


class Events:
    """The readers of GetContainerEvents."""

    def __init__(self) -> None:
        self._readers: set[asyncio.Queue[criv1.ContainerEventResponse]] = set()

    def publish(
        self,
        kind: "criv1.ContainerEventType",
        changed_id: str,
        now_ns: int,
        sandbox: SandboxRecord,
        containers: Iterable[ContainerRecord],
    ) -> None:
        """Tell all readers what happened to the sandbox itself or to a container of it."""
        if not self._readers:
            return
        event = criv1.ContainerEventResponse(
            container_id=changed_id,
            container_event_type=kind,
            created_at=now_ns,
            pod_sandbox_status=statuses.sandbox_status(sandbox),
            containers_statuses=map(statuses.container_status, containers),
        )
        for queue in self._readers:
            if not queue.full():
                queue.put_nowait(event)

    async def follow(self) -> AsyncIterator[criv1.ContainerEventResponse]:
        """All events from now on. Raises ResourceExhausted for a reader who is too slow, once it has read on."""
        queue: asyncio.Queue[criv1.ContainerEventResponse] = asyncio.Queue(EVENT_QUEUE)
        self._readers.add(queue)
        try:
            while True:
                full = queue.full()
                yield await queue.get()
                if full:
                    raise errors.ResourceExhausted(f"more than {EVENT_QUEUE} events behind: list, then subscribe again")
        finally:
            self._readers.discard(queue)
