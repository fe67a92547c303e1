"""Carries ApiError through gRPC and back.

The gRPC status code is for clients that know nothing of Kubernetes; the truth is the meta/v1 Status, packed
into google.rpc.Status in the ``grpc-status-details-bin`` trailer, where the gRPC libraries of all languages
look for it. Trailers are small: causes and text over the budget are cut, never the reason and the code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import (
    ApiError,
    BadRequest,
    Conflict,
    InternalError,
    MethodNotSupported,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
)

DETAILS_KEY: Final = "grpc-status-details-bin"
# gRPC refuses metadata over 8 KiB unless told otherwise; message and details share it, base64 costs a third.
_MESSAGE_LIMIT: Final = 1024
_DETAILS_LIMIT: Final = 3072

_CODES: Final = {
    "NotFound": grpc.StatusCode.NOT_FOUND,
    "AlreadyExists": grpc.StatusCode.ALREADY_EXISTS,
    "Conflict": grpc.StatusCode.ABORTED,
    "Invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "BadRequest": grpc.StatusCode.INVALID_ARGUMENT,
    "NotAcceptable": grpc.StatusCode.INVALID_ARGUMENT,
    "UnsupportedMediaType": grpc.StatusCode.INVALID_ARGUMENT,
    "Forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "Unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "Expired": grpc.StatusCode.OUT_OF_RANGE,
    "Gone": grpc.StatusCode.OUT_OF_RANGE,
    "TooManyRequests": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "RequestEntityTooLarge": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ServerTimeout": grpc.StatusCode.UNAVAILABLE,
    "ServiceUnavailable": grpc.StatusCode.UNAVAILABLE,
    "Timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "MethodNotAllowed": grpc.StatusCode.UNIMPLEMENTED,
}


def to_rpc(error: ApiError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """(code, message, trailing metadata) with which an RPC is to be aborted."""
    code = _CODES.get(error.reason, grpc.StatusCode.INTERNAL)
    status = _fitted(error.to_status())
    rich = status_pb2.Status(code=code.value[0], message=status.message)
    rich.details.add().Pack(status)
    return code, status.message, ((DETAILS_KEY, rich.SerializeToString()),)


def translate(failure: Exception) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]] | None:
    """What a gRPC server answers to an ApiError; None for any other exception, which is a bug."""
    return to_rpc(failure) if isinstance(failure, ApiError) else None


def from_rpc(error: grpc.aio.AioRpcError) -> ApiError:
    """The ApiError that a failed call carries; one made from the code where the peer sent no Status."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            status = _unpack(value)
            if status is not None:
                return ApiError.from_status(status)
    message = error.details() or ""
    make = _BY_CODE.get(error.code(), InternalError)
    return make(message or error.code().name.lower().replace("_", " "))


def _too_much(message: str) -> ApiError:
    # The library uses one code for its own size limit and for overload.
    return RequestEntityTooLarge(message) if "larger than max" in message else TooManyRequests(message)


def _plain(reason: str, code: int) -> Callable[[str], ApiError]:
    def make(message: str) -> ApiError:
        return ApiError.from_status(metav1.Status(message=message, reason=reason, code=code))

    return make


_BY_CODE: Final[dict[grpc.StatusCode, Callable[[str], ApiError]]] = {
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailable,
    grpc.StatusCode.CANCELLED: ServiceUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Timeout,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _too_much,
    grpc.StatusCode.UNAUTHENTICATED: Unauthorized,
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.PERMISSION_DENIED: _plain("Forbidden", 403),
    grpc.StatusCode.NOT_FOUND: _plain("NotFound", 404),
    grpc.StatusCode.ALREADY_EXISTS: _plain("AlreadyExists", 409),
    grpc.StatusCode.ABORTED: _plain("Conflict", Conflict.code),
    grpc.StatusCode.OUT_OF_RANGE: _plain("Expired", 410),
    grpc.StatusCode.UNIMPLEMENTED: _plain(MethodNotSupported.reason, MethodNotSupported.code),
}


def _unpack(value: str | bytes) -> metav1.Status | None:
    """The Status inside a details trailer; None for a peer's garbage or another kind of detail."""
    rich, status = status_pb2.Status(), metav1.Status()
    try:
        rich.ParseFromString(value if isinstance(value, bytes) else value.encode())
        return status if any(detail.Unpack(status) for detail in rich.details) else None
    except DecodeError:
        return None


def _fitted(status: metav1.Status) -> metav1.Status:
    status.message = _cut(status.message, _MESSAGE_LIMIT)
    causes = status.details.causes
    for cause in causes:
        cause.message = _cut(cause.message, _MESSAGE_LIMIT)
    while causes and status.ByteSize() > _DETAILS_LIMIT:
        del causes[len(causes) // 2 :]
    return status


def _cut(text: str, limit: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "..."
