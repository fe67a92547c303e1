"""The verbs on resources: an HTTP method and a path, carried out by the registry."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta
from navarch.services.api.errors import MethodNotSupported
from navarch.services.api.kinds import Kind
from navarch.services.api.strategy import strategy_for
from navarch.services.apiserver.doors.rest import bodies, options, watches
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.media import content_type
from navarch.services.apiserver.doors.rest.paths import ResourcePath
from navarch.services.apiserver.doors.rest.responses import format_of, respond, respond_list, warning_header
from navarch.services.apiserver.registry.core import Target
from navarch.services.apiserver.registry.create import create
from navarch.services.apiserver.registry.delete import delete
from navarch.services.apiserver.registry.deletecollection import delete_collection
from navarch.services.apiserver.registry.get import get
from navarch.services.apiserver.registry.list import list_objects
from navarch.services.apiserver.registry.modify import Modified
from navarch.services.apiserver.registry.patch import PatchType, patch
from navarch.services.apiserver.registry.read_options import check_list
from navarch.services.apiserver.registry.update import update
from navarch.services.apiserver.stored import StoredObject

# Kinds of which Kubernetes shows the object that is gone, instead of a Status.
SHOWN_WHEN_DELETED = frozenset(
    {
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    }
)
# What Kubernetes says to whoever uses a kind that is on its way out.
DEPRECATED = {
    ("", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}


async def serve(call: Call, path: ResourcePath) -> web.StreamResponse:
    """Carry out what a call on a resource asks for."""
    target = Target.at(
        call.core.kinds, path.group, path.version, path.resource, path.namespace, path.name, path.subresource
    )
    method = call.request.method
    serve_method = _OF_OBJECTS.get(method) if target.name else _OF_COLLECTIONS.get(method)
    if target.subresource and method == "POST":
        serve_method = _create
    if serve_method is None:
        raise MethodNotSupported(target.kind, method.lower())
    response = await serve_method(call, target)
    if (advice := DEPRECATED.get((target.kind.group, target.kind.kind))) and not response.prepared:
        response.headers.add("Warning", warning_header(advice))
    return response


async def _read(call: Call, target: Target) -> web.StreamResponse:
    is_watch = call.path is not None and call.path.is_watch
    if is_watch or (not target.subresource and call.flag("watch")):
        if call.request.method == "HEAD":
            raise MethodNotSupported(target.kind, "head")
        return await watches.serve(call, target)
    format_of(call.request, target.kind)
    if not target.name:
        return await respond_list(
            call, target.kind, await list_objects(call.core, call.user, target, options.list_options(call))
        )
    result = await get(call.core, call.user, target, call.text("resourceVersion"), at=call.text("at"))
    return await respond(call, result)


async def _create(call: Call, target: Target) -> web.StreamResponse:
    message, warnings = await _body(call, target, "create")
    result = await create(call.core, call.user, target, message, options.write_options(call))
    return await respond(call, result, 201, _with_advice(target, message, warnings))


async def _update(call: Call, target: Target) -> web.StreamResponse:
    message, warnings = await _body(call, target, "update")
    result = await update(call.core, call.user, target, message, options.write_options(call))
    return await respond(call, result, 200, _with_advice(target, message, warnings))


async def _body(call: Call, target: Target, verb: str) -> tuple[Any, list[str]]:
    """The object that a request brings, and what was ignored in it."""
    format_of(call.request, target.kind)
    # Reading and decoding is work; nobody has it done who may not do what it is for.
    call.core.admit_user(call.user, verb, target)
    warnings: list[str] = []
    data = await bodies.read(call.request)
    header = call.request.headers.get("Content-Type", "")
    return await bodies.decode(target, header, data, call.text("fieldValidation"), warnings), warnings


def _with_advice(target: Target, message: Any, warnings: list[str]) -> Sequence[str]:
    if message is None or target.subresource:
        return warnings
    return [*warnings, *strategy_for(target.kind).warnings(message)]


async def _patch(call: Call, target: Target) -> web.StreamResponse:
    format_of(call.request, target.kind)
    header = call.request.headers.get("Content-Type", "")
    call.core.admit_user(call.user, "patch", target)
    medias = tuple(one.value for one in PatchType)
    patch_type = PatchType(content_type(header or "none", medias))
    warnings: list[str] = []
    data = await bodies.read(call.request)
    wanted = options.write_options(call)
    result, created = await patch(call.core, call.user, target, patch_type, data, wanted, warnings)
    message = result.decode() if isinstance(result, StoredObject) else None
    return await respond(call, result, 201 if created else 200, _with_advice(target, message, warnings))


async def _delete(call: Call, target: Target) -> web.StreamResponse:
    format_of(call.request, target.kind)
    call.core.admit_user(call.user, "delete" if target.name else "deletecollection", target)
    data = await bodies.read(call.request)
    header = call.request.headers.get("Content-Type", "")
    wanted = bodies.delete_options(header, data) if data else options.delete_options(call)
    if target.subresource:
        raise MethodNotSupported(target.kind, "delete")
    if target.name:
        modified = await delete(call.core, call.user, target, wanted)
        return await respond(call, _deleted(target.kind, modified))
    listed = options.list_options(call)
    check_list(
        listed.resource_version_match, listed.resource_version, listed.continue_token, listed.send_initial_events
    )
    page = await delete_collection(call.core, call.user, target, listed.label_selector, listed.field_selector, wanted)
    return await respond_list(call, target.kind, page)


def _deleted(kind: Kind, modified: Modified) -> Any:
    """What a deletion answers: the object while it lives on, else mostly a Status that says it is gone."""
    if not modified.removed or (not kind.group and kind.resource in SHOWN_WHEN_DELETED):
        return modified.stored
    metadata = meta.metadata_of(modified.stored.decode())
    details = metav1.StatusDetails(name=metadata.name, group=kind.group, kind=kind.resource, uid=metadata.uid)
    status = metav1.Status(status="Success", details=details)
    status.metadata.SetInParent()
    return status


Serve = Callable[[Call, Target], Awaitable[web.StreamResponse]]
_OF_OBJECTS: dict[str, Serve] = {"GET": _read, "HEAD": _read, "PUT": _update, "PATCH": _patch, "DELETE": _delete}
_OF_COLLECTIONS: dict[str, Serve] = {"GET": _read, "HEAD": _read, "POST": _create, "DELETE": _delete}
