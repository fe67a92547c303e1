"""The typed client of the API server.

One client serves all kinds: methods take or give the Kubernetes messages themselves. Refusals are raised as
the `ApiError` that the server meant, with its causes. Every call has a deadline; within it the client waits
for the connection, so a server that restarts is a pause, not an error. A read that the connection lost is
asked again; a write is not, since it may have happened.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Self, cast

import grpc
from google.protobuf.message import Message

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api.errors import ApiError, ServiceUnavailable
from navarch.services.api.kinds import Kind
from navarch.services.api.rpc_status import from_rpc
from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import channel
from navarch.services.client import requests
from navarch.services.client.requests import M, Patch, PatchType

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

DEADLINE_S = 30.0
READ_RETRIES = 4
READ_RETRY_S = 0.05
# The verb of HTTP that does the same; others are POST.
VERBS = {
    "GetRequest": "GET",
    "ListRequest": "GET",
    "UpdateRequest": "PUT",
    "PatchRequest": "PATCH",
    "DeleteRequest": "DELETE",
    "DeleteCollectionRequest": "DELETE",
}


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[M]):
    """A page of objects. resource_version: a watch goes on from here."""

    items: list[M]
    resource_version: str
    continue_token: str = ""
    remaining_item_count: int | None = None


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[M]):
    """A change. Of a BOOKMARK's object only metadata is set."""

    type: EventType
    object: M


@dataclass(frozen=True, slots=True)
class Revision(Generic[M]):
    """A revision of an object. unix_s: when it was written, 0 where that is not known. object: None for a deletion."""

    revision: int
    unix_s: int
    object: M | None


@dataclass(slots=True)
class Client:
    """A connection to the API server, or to several that are each as good."""

    channel: grpc.aio.Channel
    deadline_s: float = DEADLINE_S
    wait_for_ready: bool = True
    # Told of each answer but those of watches: the verb, the code as of HTTP, how many seconds it took.
    on_answer: Callable[[str, int, float], None] | None = None
    _stub: objects_pb2_grpc.ObjectsAsyncStub = field(init=False, repr=False)
    _watches: set[Any] = field(default_factory=set, init=False, repr=False)
    # What was before the last move: the connection, and the watches over it.
    _left: tuple[grpc.aio.Channel, set[Any]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._stub = objects_pb2_grpc.ObjectsStub(self.channel)

    @classmethod
    def connect(
        cls,
        address: str,
        credentials: Credentials | None,
        user_agent: str = "",
        *,
        deadline_s: float = DEADLINE_S,
        wait_for_ready: bool = True,
    ) -> Self:
        """A client on the running loop. Connects at its first call.

        deadline_s: for each call but watches. wait_for_ready: whether calls wait for a server that does not
        answer until their deadline, or fail at once.
        """
        return cls(channel(address, credentials, user_agent=user_agent), deadline_s, wait_for_ready)

    async def close(self) -> None:
        """End all calls and the connection."""
        if self._left is not None:
            await self._left[0].close()
        await self.channel.close()

    async def move(self, channel: grpc.aio.Channel) -> None:
        """Make new calls over another connection, as with a new certificate.

        Calls that are under way go on over the old one until the next move: a watch is not cut off because of it.
        """
        left, self._left = self._left, (self.channel, self._watches)
        self.channel, self._watches = channel, set()
        self._stub = objects_pb2_grpc.ObjectsStub(channel)
        if left is not None:
            for call in tuple(left[1]):
                call.cancel()
            await left[0].close(self.deadline_s)

    async def get(self, cls: type[M], name: str, namespace: str = "", *, resource_version: str = "", at: str = "") -> M:
        """Read one object, the newest unless a resource version allows an older.

        at: as it was at a revision ("4711"), a time (RFC 3339) or some time ago ("5m").
        """
        request = objects_pb2.GetRequest(
            resource=requests.resource_of(cls), namespace=namespace, name=name, resource_version=resource_version, at=at
        )
        return requests.unpack_as(cls, (await self._read(self._stub.Get, request)).object)

    async def list(
        self,
        cls: type[M],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
        at: str = "",
    ) -> ObjectList[M]:
        """Read all objects of a kind, or one page of at most `limit`; at: as they were, see `get`."""
        request = objects_pb2.ListRequest(
            resource=requests.resource_of(cls),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
            resource_version_match=resource_version_match,
            at=at,
        )
        page = await self._read(self._stub.List, request)
        return ObjectList(
            [requests.unpack_as(cls, item) for item in page.items],
            page.resource_version,
            page.continue_token,
            page.remaining_item_count if page.HasField("remaining_item_count") else None,
        )

    async def history(self, cls: type[M], name: str, namespace: str = "") -> builtins.list[Revision[M]]:
        """The revisions of an object that the store still has, oldest first."""
        request = objects_pb2.HistoryRequest(resource=requests.resource_of(cls), namespace=namespace, name=name)
        found: list[Revision[M]] = []
        try:
            async for response in self._stub.History(
                request, timeout=self.deadline_s, wait_for_ready=self.wait_for_ready
            ):
                for one in response.revisions:
                    obj = requests.unpack_as(cls, one.object) if one.HasField("object") else None
                    found.append(Revision(one.revision, one.unix_seconds, obj))
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None
        return found

    async def watch(
        self,
        cls: type[M],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        send_initial_events: bool | None = None,
        allow_bookmarks: bool = True,
        timeout_seconds: int = 0,
    ) -> AsyncGenerator[WatchEvent[M], None]:
        """Changes after a resource version, until the server ends the stream.

        Close it (`contextlib.aclosing`) when leaving early. Raises Expired when the version is too old, other
        ApiErrors when the stream breaks.
        """
        request = objects_pb2.WatchRequest(
            resource=requests.resource_of(cls),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            allow_bookmarks=allow_bookmarks,
            send_initial_events=send_initial_events,
            resource_version_match="NotOlderThan" if send_initial_events is not None else "",
            timeout_seconds=timeout_seconds,
        )
        call = self._stub.Watch(request, wait_for_ready=self.wait_for_ready)
        watches = self._watches
        watches.add(call)
        try:
            async for response in call:
                for event in response.events:
                    if event.type == objects_pb2.WatchEvent.ERROR:
                        raise ApiError.from_status(requests.unpack_as(metav1.Status, event.object))
                    name = cast("EventType", objects_pb2.WatchEvent.Type.Name(event.type))
                    yield WatchEvent(name, requests.unpack_as(cls, event.object))
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if watches is self._watches or (task is not None and task.cancelling()):
                raise
            raise ServiceUnavailable("the connection of this watch was given up for another") from None
        finally:
            watches.discard(call)
            call.cancel()

    async def create(self, obj: M, *, namespace: str = "", dry_run: bool = False, kind: Kind | None = None) -> M:
        """Store a new object; the answer has its name, uid and resource version. kind: of a custom object."""
        request = requests.create_request(obj, namespace=namespace, dry_run=dry_run, kind=kind)
        return requests.unpack_as(type(obj), (await self._write(self._stub.Create, request)).object)

    async def update(self, obj: M, *, subresource: str = "", dry_run: bool = False, kind: Kind | None = None) -> M:
        """Replace an object. Raises Conflict when it changed since the resource version it carries."""
        request = requests.update_request(obj, subresource=subresource, dry_run=dry_run, kind=kind)
        return requests.unpack_as(type(obj), (await self._write(self._stub.Update, request)).object)

    async def update_status(self, obj: M) -> M:
        """Replace the status of an object and nothing else of it."""
        return await self.update(obj, subresource="status")

    async def patch(
        self,
        cls: type[M],
        name: str,
        namespace: str,
        patch: Patch,
        type: PatchType = "strategic",
        *,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        force: bool = False,
    ) -> M:
        """Change a part of an object. patch: Python values to be sent as JSON, or JSON bytes."""
        request = requests.patch_request(
            cls,
            name,
            namespace,
            patch,
            type,
            subresource=subresource,
            dry_run=dry_run,
            field_manager=field_manager,
            force=force,
        )
        return requests.unpack_as(cls, (await self._write(self._stub.Patch, request)).object)

    async def delete(
        self,
        cls: type[M],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> M | None:
        """Delete an object, or begin to. Returns it as it was last, where the server still shows it."""
        options = requests.delete_options(
            grace_period_seconds=grace_period_seconds,
            propagation_policy=propagation_policy,
            uid=uid,
            resource_version=resource_version,
            dry_run=dry_run,
        )
        response = await self._write(self._stub.Delete, requests.delete_request(cls, name, namespace, options))
        left = requests.unpack(response.object) if response.HasField("object") else None
        return cast("M", left) if left is not None and left.DESCRIPTOR is cls.DESCRIPTOR else None

    async def delete_collection(
        self,
        cls: type[M],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
    ) -> ObjectList[M]:
        """Delete all selected objects. Returns them."""
        request = objects_pb2.DeleteCollectionRequest(
            resource=requests.resource_of(cls),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            options=requests.delete_options(
                grace_period_seconds=grace_period_seconds, propagation_policy=propagation_policy
            ),
        )
        response = await self._write(self._stub.DeleteCollection, request)
        return ObjectList([requests.unpack_as(cls, item) for item in response.items], response.resource_version)

    async def batch(self, mutations: Sequence[objects_pb2.Mutation]) -> builtins.list[Message | ApiError]:
        """Many writes in one call. Each has its own result, at its own place; they are not atomic together."""
        if not mutations:
            return []
        response = await self._write(self._stub.Batch, objects_pb2.BatchRequest(mutations=mutations))
        return [
            ApiError.from_status(result.status)
            if result.HasField("status")
            else requests.unpack(result.response.object)
            for result in response.results
        ]

    async def bind(self, namespace: str, pod: str, node: str, uid: str = "") -> None:
        """Assign a Pod to a node. uid: only if it is still that Pod."""
        await self._write(self._stub.Create, requests.bind_request(namespace, pod, node, uid))

    async def evict(self, namespace: str, pod: str, *, grace_period_seconds: int | None = None) -> None:
        """Delete a Pod if its disruption budgets allow it; else raises TooManyRequests."""
        options = requests.delete_options(grace_period_seconds=grace_period_seconds)
        await self._write(self._stub.Create, requests.evict_request(namespace, pod, options))

    async def request_token(
        self, namespace: str, account: str, spec: authenticationv1.TokenRequestSpec
    ) -> authenticationv1.TokenRequestStatus:
        """A new token of a service account."""
        request = requests.token_request(namespace, account, authenticationv1.TokenRequest(spec=spec))
        response = await self._write(self._stub.Create, request)
        return requests.unpack_as(authenticationv1.TokenRequest, response.object).status

    async def get_scale(self, cls: type[Message], name: str, namespace: str) -> autoscalingv1.Scale:
        """The replicas of a scalable object, wanted and present."""
        request = objects_pb2.GetRequest(
            resource=requests.resource_of(cls), namespace=namespace, name=name, subresource="scale"
        )
        return requests.unpack_as(autoscalingv1.Scale, (await self._read(self._stub.Get, request)).object)

    async def update_scale(self, cls: type[Message], scale: autoscalingv1.Scale) -> autoscalingv1.Scale:
        """Set the wanted replicas."""
        response = await self._write(self._stub.Update, requests.scale_request(cls, scale))
        return requests.unpack_as(autoscalingv1.Scale, response.object)

    async def _write(self, method: grpc.aio.UnaryUnaryMultiCallable[Any, Any], request: Message) -> Any:
        began = asyncio.get_running_loop().time()
        try:
            answer = await method(request, timeout=self.deadline_s, wait_for_ready=self.wait_for_ready)
        except grpc.aio.AioRpcError as failure:
            raise self._refused(request, failure, began) from None
        self._tell(request, 200, began)
        return answer

    async def _read(self, method: grpc.aio.UnaryUnaryMultiCallable[Any, Any], request: Message) -> Any:
        began = asyncio.get_running_loop().time()
        deadline = began + self.deadline_s
        for attempt in range(READ_RETRIES + 1):
            left_s = deadline - asyncio.get_running_loop().time()
            try:
                answer = await method(request, timeout=left_s, wait_for_ready=self.wait_for_ready)
            except grpc.aio.AioRpcError as failure:
                lost = failure.code() is grpc.StatusCode.UNAVAILABLE and self.wait_for_ready
                if not lost or attempt == READ_RETRIES:
                    raise self._refused(request, failure, began) from None
            else:
                self._tell(request, 200, began)
                return answer
            await asyncio.sleep(READ_RETRY_S * 2**attempt)
        raise AssertionError("the last attempt answers or raises")

    def _refused(self, request: Message, failure: grpc.aio.AioRpcError, began: float) -> ApiError:
        refusal = from_rpc(failure)
        self._tell(request, refusal.code, began)
        return refusal

    def _tell(self, request: Message, code: int, began: float) -> None:
        if self.on_answer is not None:
            seconds = asyncio.get_running_loop().time() - began
            self.on_answer(VERBS.get(type(request).__name__, "POST"), code, seconds)
