"""What comes in through the native door, as the registry takes it."""

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from navarch.protos.navarch import objects_pb2
from navarch.services.api.codec import StrictError, check_text
from navarch.services.api.custom import objects
from navarch.services.api.errors import BadRequest, RequestEntityTooLarge
from navarch.services.api.kinds import CUSTOM_OBJECT, KindTable
from navarch.services.apiserver.registry.core import Target, WriteOptions
from navarch.services.apiserver.registry.patch import PatchType

REQUEST_LIMIT_BYTES = 3 * 1024 * 1024
Request = Any
PATCH_TYPES = {
    objects_pb2.PatchRequest.JSON: PatchType.JSON,
    objects_pb2.PatchRequest.MERGE: PatchType.MERGE,
    objects_pb2.PatchRequest.STRATEGIC_MERGE: PatchType.STRATEGIC,
    objects_pb2.PatchRequest.APPLY: PatchType.APPLY,
}


def deserializer(request_class: type[Message], limit_bytes: int) -> Any:
    """A function from the bytes of a request to the request.

    gRPC turns what a deserializer raises into INTERNAL, so a bad request is handed on as a value and raised
    where it can be answered (`checked`).
    """

    def deserialize(data: bytes) -> Message | BadRequest | RequestEntityTooLarge:
        if len(data) > limit_bytes:
            return RequestEntityTooLarge(f"limit is {limit_bytes}")
        try:
            return request_class.FromString(data)
        except DecodeError as failure:
            return BadRequest(f"the request is no {request_class.DESCRIPTOR.full_name}: {failure}")

    return deserialize


def checked(request: Request) -> Request:
    """The request, or the refusal that its bytes deserve, raised."""
    if isinstance(request, Exception):
        raise request
    return request


def target_of(kinds: KindTable, request: Request) -> Target:
    """What a request is about."""
    resource = request.resource
    return Target.at(
        kinds,
        resource.group,
        resource.version,
        resource.resource,
        request.namespace,
        getattr(request, "name", ""),
        getattr(request, "subresource", ""),
    )


def options_of(request: Request) -> WriteOptions:
    """How a request wants to be written."""
    options = request.options
    return WriteOptions(
        options.dry_run,
        options.field_manager,
        options.field_validation,
        force=getattr(request, "force", False) or None,
    )


def object_of(target: Target, packed: AnyMessage) -> Any:
    """The message in an Any, which has to be what the target is made of. Raises BadRequest."""
    name = packed.type_url.rpartition("/")[2]
    expected = target.message_class
    if not name:
        raise BadRequest(f"the request holds no object; {expected.DESCRIPTOR.full_name} was expected")
    if name != expected.DESCRIPTOR.full_name:
        raise BadRequest(f"the request holds a {name}; {expected.DESCRIPTOR.full_name} was expected")
    try:
        message = expected.FromString(packed.value)
    except DecodeError as failure:
        raise BadRequest(f"the {name} cannot be decoded: {failure}") from failure
    # As in Kubernetes, fields of contracts that this server does not know are not kept.
    message.DiscardUnknownFields()
    check_text(message)
    return message


def settled_fields(target: Target, message: Any, options: WriteOptions) -> list[str]:
    """Drop what a custom object's schema does not know; what is to be told about it. Raises StrictError."""
    if not target.kind.is_custom or message.DESCRIPTOR.full_name != CUSTOM_OBJECT:
        return []
    problems = objects.settle(message, target.kind)
    if problems and options.field_validation == "Strict":
        raise StrictError(problems)
    return problems if options.field_validation != "Ignore" else []
