"""`navarch.v1.Objects`: decode, call the registry, encode."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2
from navarch.services.api.errors import ApiError, BadRequest
from navarch.services.api.strategy import strategy_for
from navarch.services.apiserver.auth.authentication import Authentication
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.doors.grpc import wire
from navarch.services.apiserver.doors.grpc.decode import (
    PATCH_TYPES,
    REQUEST_LIMIT_BYTES,
    checked,
    deserializer,
    object_of,
    options_of,
    settled_fields,
    target_of,
)
from navarch.services.apiserver.registry.batch import run_batch
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.create import create
from navarch.services.apiserver.registry.delete import delete
from navarch.services.apiserver.registry.deletecollection import delete_collection
from navarch.services.apiserver.registry.get import get
from navarch.services.apiserver.registry.history import history
from navarch.services.apiserver.registry.list import ListOptions, ObjectList, fitting, list_objects
from navarch.services.apiserver.registry.patch import patch
from navarch.services.apiserver.registry.update import update
from navarch.services.apiserver.registry.watch import WatchOptions, watch
from navarch.services.base.dialing import MESSAGE_BYTES

SERVICE = "navarch.v1.Objects"
# A batch is many requests; each of them has the limit of one.
BATCH_LIMIT_BYTES = 64 << 20
Context = grpc.aio.ServicerContext[Any, Any]
Request = Any


class ObjectsServicer:
    """The verbs of the native door."""

    def __init__(self, core: Core, authentication: Authentication) -> None:
        self._core = core
        self._authentication = authentication

    async def get(self, request: Request, context: Context) -> bytes:
        """One object."""
        user = await self._authentication.of_call(context)
        checked(request)
        target = target_of(self._core.kinds, request)
        return wire.object_response(await get(self._core, user, target, request.resource_version, at=request.at))

    async def list(self, request: Request, context: Context) -> bytes:
        """The objects of a resource."""
        user = await self._authentication.of_call(context)
        checked(request)
        options = ListOptions(
            request.label_selector,
            request.field_selector,
            request.limit,
            request.continue_token,
            request.resource_version,
            request.resource_version_match,
            request.at,
        )
        answer = wire.list_response(await list_objects(self._core, user, target_of(self._core.kinds, request), options))
        if len(answer) > MESSAGE_BYTES:
            raise BadRequest(f"the list takes {len(answer)} bytes, more than one answer may: read it in pages (limit)")
        return answer

    async def watch(self, request: Request, context: Context) -> AsyncIterator[bytes]:
        """The changes of a resource."""
        user = await self._authentication.of_call(context)
        checked(request)
        options = WatchOptions(
            request.label_selector,
            request.field_selector,
            request.resource_version,
            request.resource_version_match,
            request.allow_bookmarks,
            request.send_initial_events if request.HasField("send_initial_events") else None,
            request.timeout_seconds,
        )
        stream = await watch(self._core, user, target_of(self._core.kinds, request), options)
        try:
            # Tells the client that the watch stands, however long the first event takes.
            await context.send_initial_metadata(())
            async for events in stream.events(options):
                for response in wire.watch_responses(events):
                    yield response
        except ApiError as refusal:
            yield wire.error_response(refusal.to_status())
        finally:
            stream.close()

    async def history(self, request: Request, context: Context) -> AsyncIterator[bytes]:
        """The revisions of one object."""
        user = await self._authentication.of_call(context)
        checked(request)
        async with aclosing(history(self._core, user, target_of(self._core.kinds, request))) as groups:
            async for revisions in groups:
                for response in wire.history_responses(revisions):
                    yield response

    async def create(self, request: Request, context: Context) -> bytes:
        """A new object."""
        return await self._create(await self._authentication.of_call(context), checked(request))

    async def update(self, request: Request, context: Context) -> bytes:
        """An object in place of the stored one."""
        return await self._update(await self._authentication.of_call(context), checked(request))

    async def patch(self, request: Request, context: Context) -> bytes:
        """A part of an object."""
        return await self._patch(await self._authentication.of_call(context), checked(request))

    async def delete(self, request: Request, context: Context) -> bytes:
        """The end of an object."""
        return await self._delete(await self._authentication.of_call(context), checked(request))

    async def delete_collection(self, request: Request, context: Context) -> bytes:
        """The end of many objects."""
        user = await self._authentication.of_call(context)
        checked(request)
        found = await delete_collection(
            self._core,
            user,
            target_of(self._core.kinds, request),
            request.label_selector,
            request.field_selector,
            request.options,
        )
        # All of them are deleted; those that fit are shown.
        shown = found.items[: fitting(found.items, MESSAGE_BYTES // 2)]
        return wire.list_response(ObjectList(shown, found.revision))

    async def batch(self, request: Request, context: Context) -> bytes:
        """Many mutations, each answered on its own."""
        user = await self._authentication.of_call(context)
        checked(request)
        results = await run_batch([self._work(user, mutation) for mutation in request.mutations])
        response = objects_pb2.BatchResponse()
        for result in results:
            if isinstance(result, ApiError):
                response.results.add(status=result.to_status())
            else:
                response.results.add().response.MergeFromString(result)
        return response.SerializeToString()

    def _work(self, user: User, mutation: Request) -> tuple[Hashable, Callable[[], Awaitable[bytes]]]:
        verb = mutation.WhichOneof("mutation")
        request = getattr(mutation, verb) if verb else None
        if request is None:
            return object(), _refuse_empty
        run = {"create": self._create, "update": self._update, "patch": self._patch, "delete": self._delete}[verb]
        resource = request.resource
        key = (resource.group, resource.resource, request.namespace, request.name or _name_of(request))
        # An object that gets its name on the way depends on nothing.
        return key if key[-1] else object(), lambda: run(user, request)

    async def _create(self, user: User, request: Request) -> bytes:
        target = target_of(self._core.kinds, request)
        message = object_of(target, request.object)
        options = options_of(request)
        problems = settled_fields(target, message, options)
        result = await create(self._core, user, target, message, options)
        return wire.object_response(result, [*problems, *_warnings(target, message)])

    async def _update(self, user: User, request: Request) -> bytes:
        target = target_of(self._core.kinds, request)
        message = object_of(target, request.object)
        options = options_of(request)
        problems = settled_fields(target, message, options)
        result = await update(self._core, user, target, message, options)
        return wire.object_response(result, [*problems, *_warnings(target, message)])

    async def _patch(self, user: User, request: Request) -> bytes:
        if request.type not in PATCH_TYPES:
            raise BadRequest("the patch has no type")
        warnings: list[str] = []
        result, _ = await patch(
            self._core,
            user,
            target_of(self._core.kinds, request),
            PATCH_TYPES[request.type],
            request.patch,
            options_of(request),
            warnings,
        )
        return wire.object_response(result, warnings)

    async def _delete(self, user: User, request: Request) -> bytes:
        modified = await delete(self._core, user, target_of(self._core.kinds, request), request.options)
        return wire.object_response(modified.stored)


async def _refuse_empty() -> bytes:
    raise BadRequest("the mutation is empty")


def _warnings(target: Target, message: Any) -> Sequence[str]:
    """What is allowed in the object and still worth telling."""
    return () if target.subresource else strategy_for(target.kind).warnings(message)


def _name_of(request: Request) -> Hashable:
    """The name in the object of a request; "" for none, or for no object (carrying it out will say what is wrong)."""
    if not hasattr(request, "object"):
        return ""
    try:
        return metav1.PartialObjectMetadata.FromString(request.object.value).metadata.name
    except DecodeError:
        return ""


def add_objects_to_server(servicer: ObjectsServicer, server: Any) -> None:
    """Register the servicer; like the generated function, but for answers that are bytes already."""
    unary = grpc.unary_unary_rpc_method_handler
    limit = REQUEST_LIMIT_BYTES
    rows: list[tuple[str, Callable[..., Any], Any, int]] = [
        ("Get", servicer.get, objects_pb2.GetRequest, limit),
        ("List", servicer.list, objects_pb2.ListRequest, limit),
        ("Create", servicer.create, objects_pb2.CreateRequest, limit),
        ("Update", servicer.update, objects_pb2.UpdateRequest, limit),
        ("Patch", servicer.patch, objects_pb2.PatchRequest, limit),
        ("Delete", servicer.delete, objects_pb2.DeleteRequest, limit),
        ("DeleteCollection", servicer.delete_collection, objects_pb2.DeleteCollectionRequest, limit),
        ("Batch", servicer.batch, objects_pb2.BatchRequest, BATCH_LIMIT_BYTES),
    ]
    handlers: dict[str, Any] = {
        name: unary(behavior, request_deserializer=deserializer(request, bytes_limit))
        for name, behavior, request, bytes_limit in rows
    }
    handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
        servicer.watch, request_deserializer=deserializer(objects_pb2.WatchRequest, limit)
    )
    handlers["History"] = grpc.unary_stream_rpc_method_handler(
        servicer.history, request_deserializer=deserializer(objects_pb2.HistoryRequest, limit)
    )
    server.add_registered_method_handlers(SERVICE, handlers)
