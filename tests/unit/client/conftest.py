"""An Objects service in memory, behind a real gRPC server, whose failures a test can order."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api import errors, rpc_status
from navarch.services.api.kinds import KINDS
from navarch.services.base.serving import GrpcServer
from navarch.services.client import requests
from navarch.services.client.client import Client

Key = tuple[str, str, str]
WatchEvent = objects_pb2.WatchEvent


class FakeObjects(objects_pb2_grpc.ObjectsServicer):
    """Revisions, a history to watch from, compaction; no validation, no selectors."""

    def __init__(self) -> None:
        self.revision = 100
        self.compacted = 0
        # While set, watches deliver nothing.
        self.silent = False
        self.calls: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.watched_from: list[str] = []
        self._objects: dict[Key, Message] = {}
        self._history: list[tuple[int, str, Any, Message]] = []
        self._changed = asyncio.Condition()
        self._failures: defaultdict[str, list[Exception]] = defaultdict(list)
        self._generation = 0
        self._uids = itertools.count(1)

    def fail(self, method: str, *failures: Exception) -> None:
        """The next calls of a method raise these."""
        self._failures[method].extend(failures)

    async def put(self, obj: Message, *, recreate: bool = False) -> Message:
        """Create or change an object as if somebody else had."""
        key = self._key_of(obj)
        old = self._objects.get(key)
        copy = type(obj)()
        copy.CopyFrom(obj)
        meta: metav1.ObjectMeta = copy.metadata  # type: ignore[attr-defined]
        meta.uid = old.metadata.uid if old is not None and not recreate else f"uid-{next(self._uids)}"  # type: ignore[attr-defined]
        await self._record(WatchEvent.ADDED if old is None else WatchEvent.MODIFIED, key, copy)
        return copy

    async def remove(self, obj: Message) -> Message:
        """Delete an object as if somebody else had."""
        key = self._key_of(obj)
        copy = type(obj)()
        copy.CopyFrom(self._objects[key])
        await self._record(WatchEvent.DELETED, key, copy)
        return copy

    async def bookmark(self, cls: type[Message]) -> None:
        """Tell watchers of a kind that they are up to date."""
        obj = cls()
        await self._record(WatchEvent.BOOKMARK, (KINDS.of(cls).resource, "", ""), obj)

    async def compact(self) -> None:
        """Forget the history, speak again, and end all watches."""
        self.silent = False
        self.revision += 1
        self.compacted = self.revision
        self._history.clear()
        await self.break_streams()

    async def break_streams(self) -> None:
        """End all watches."""
        async with self._changed:
            self._generation += 1
            self._changed.notify_all()

    async def Get(self, request: objects_pb2.GetRequest, context: Any) -> objects_pb2.ObjectResponse:
        self._begin("Get", request)
        return objects_pb2.ObjectResponse(object=requests.pack(self._get(request)))

    async def List(self, request: objects_pb2.ListRequest, context: Any) -> objects_pb2.ListResponse:
        self._begin("List", request)
        keys = sorted(k for k in self._objects if k[0] == request.resource.resource)
        keys = [k for k in keys if request.namespace in ("", k[1])]
        begin = int(request.continue_token or 0)
        end = begin + request.limit if request.limit else len(keys)
        return objects_pb2.ListResponse(
            resource_version=str(self.revision),
            items=[requests.pack(self._objects[key]) for key in keys[begin:end]],
            continue_token=str(end) if end < len(keys) else "",
            remaining_item_count=len(keys) - end if end < len(keys) else None,
        )

    async def Watch(self, request: objects_pb2.WatchRequest, context: Any) -> AsyncIterator[objects_pb2.WatchResponse]:
        self._begin("Watch", request)
        self.watched_from.append(request.resource_version)
        generation, seen = self._generation, int(request.resource_version)
        while generation == self._generation:
            if seen < self.compacted:
                status = errors.Expired("too old resource version").to_status()
                event = objects_pb2.WatchEvent(type=WatchEvent.ERROR, object=requests.pack(status))
                yield objects_pb2.WatchResponse(events=[event])
                return
            news = [e for e in self._history if e[0] > seen and e[1] == request.resource.resource]
            if news and not self.silent:
                seen = news[-1][0]
                events = [objects_pb2.WatchEvent(type=kind, object=requests.pack(obj)) for _, _, kind, obj in news]
                yield objects_pb2.WatchResponse(events=events)
                continue
            async with self._changed:
                await self._changed.wait()

    async def Create(self, request: objects_pb2.CreateRequest, context: Any) -> objects_pb2.ObjectResponse:
        self._begin("Create", request)
        return await self._create(request)

    async def _create(self, request: objects_pb2.CreateRequest) -> objects_pb2.ObjectResponse:
        obj = requests.unpack(request.object)
        if request.subresource:
            return objects_pb2.ObjectResponse(object=requests.pack(metav1.Status(status="Success")))
        if self._key_of(obj) in self._objects:
            raise errors.AlreadyExists(KINDS.of(obj), obj.metadata.name)  # type: ignore[attr-defined]
        return objects_pb2.ObjectResponse(object=requests.pack(await self.put(obj)))

    async def Update(self, request: objects_pb2.UpdateRequest, context: Any) -> objects_pb2.ObjectResponse:
        self._begin("Update", request)
        if request.subresource == "scale":
            return objects_pb2.ObjectResponse(object=request.object)
        old, new = self._get(request), requests.unpack(request.object)
        if new.metadata.resource_version not in ("", old.metadata.resource_version):  # type: ignore[attr-defined]
            raise errors.Conflict(KINDS.of(new), request.name)
        return objects_pb2.ObjectResponse(object=requests.pack(await self.put(new)))

    async def Patch(self, request: objects_pb2.PatchRequest, context: Any) -> objects_pb2.ObjectResponse:
        self._begin("Patch", request)
        return await self._patch(request)

    async def _patch(self, request: objects_pb2.PatchRequest) -> objects_pb2.ObjectResponse:
        """Of all patches only what the recorder of Events sends: a count."""
        obj = self._get(request)
        if isinstance(obj, corev1.Event):
            obj.count = orjson.loads(request.patch)["count"]
        return objects_pb2.ObjectResponse(object=requests.pack(await self.put(obj)))

    async def Delete(self, request: objects_pb2.DeleteRequest, context: Any) -> objects_pb2.ObjectResponse:
        self._begin("Delete", request)
        gone = await self.remove(self._get(request))
        if request.options.HasField("grace_period_seconds"):
            return objects_pb2.ObjectResponse(object=requests.pack(gone))
        return objects_pb2.ObjectResponse(object=requests.pack(metav1.Status(status="Success")))

    async def DeleteCollection(
        self, request: objects_pb2.DeleteCollectionRequest, context: Any
    ) -> objects_pb2.ListResponse:
        self._begin("DeleteCollection", request)
        every = objects_pb2.ListRequest(resource=request.resource, namespace=request.namespace)
        gone = await self.List(every, context)
        for item in gone.items:
            await self.remove(requests.unpack(item))
        return gone

    async def Batch(self, request: objects_pb2.BatchRequest, context: Any) -> objects_pb2.BatchResponse:
        self._begin("Batch", request)
        response = objects_pb2.BatchResponse()
        for mutation in request.mutations:
            result = response.results.add()
            try:
                if mutation.HasField("create"):
                    result.response.CopyFrom(await self._create(mutation.create))
                else:
                    result.response.CopyFrom(await self._patch(mutation.patch))
            except errors.ApiError as failure:
                result.status.CopyFrom(failure.to_status())
        return response

    def _begin(self, method: str, request: Message) -> None:
        self.calls[method] += 1
        self.requests.append(request)
        if self._failures[method]:
            raise self._failures[method].pop(0)

    def _get(self, request: Any) -> Any:
        found = self._objects.get((request.resource.resource, request.namespace, request.name))
        if found is None:
            raise errors.NotFound(request.resource.resource, request.name)
        return found

    def _key_of(self, obj: Message) -> Key:
        meta: metav1.ObjectMeta = obj.metadata  # type: ignore[attr-defined]
        return (KINDS.of(obj).resource, meta.namespace, meta.name)

    async def _record(self, kind: Any, key: Key, obj: Message) -> None:
        self.revision += 1
        obj.metadata.resource_version = str(self.revision)  # type: ignore[attr-defined]
        if kind == WatchEvent.DELETED:
            del self._objects[key]
        elif kind != WatchEvent.BOOKMARK:
            self._objects[key] = obj
        self._history.append((self.revision, key[0], kind, obj))
        async with self._changed:
            self._changed.notify_all()


def translate(failure: Exception) -> Any:
    return rpc_status.to_rpc(failure) if isinstance(failure, errors.ApiError) else None


@pytest.fixture
def fake() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Serves a fake; returns the server and its port. May be called again on the same port."""
    servers: list[GrpcServer] = []

    async def serve(servicer: FakeObjects, port: int = 0) -> tuple[GrpcServer, int]:
        server = GrpcServer(None, translate=translate)
        server.add(objects_pb2_grpc.add_ObjectsServicer_to_server, servicer)
        servers.append(server)
        return server, await server.start(f"127.0.0.1:{port}")

    yield serve
    for server in servers:
        await server.stop(0)


@pytest.fixture
async def client(fake: FakeObjects, serve: Callable[..., Any]) -> AsyncIterator[Client]:
    _, port = await serve(fake)
    connected = Client.connect(f"127.0.0.1:{port}", None, "test", deadline_s=10)
    yield connected
    await connected.close()
