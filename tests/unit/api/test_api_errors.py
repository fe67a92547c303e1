"""Refusals: their words, their Status, and their way through gRPC."""

import grpc
import grpc.aio
import pytest

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors as e
from navarch.services.api.errors import FieldError
from navarch.services.api.kinds import KINDS
from navarch.services.api.rpc_status import DETAILS_KEY, from_rpc, to_rpc

POD = KINDS.find("pods")
DEPLOYMENT = KINDS.find("deploy")
ERRORS: list[tuple[e.ApiError, int, str, str]] = [
    (e.NotFound(POD, "x"), 404, "NotFound", 'pods "x" not found'),
    (e.NotFound("deployments.apps", "x"), 404, "NotFound", 'deployments.apps "x" not found'),
    (e.UnknownKind("what?"), 404, "NotFound", "what?"),
    (e.AlreadyExists(DEPLOYMENT, "x"), 409, "AlreadyExists", 'deployments.apps "x" already exists'),
    (
        e.Conflict(POD, "x"),
        409,
        "Conflict",
        'Operation cannot be fulfilled on pods "x": the object has been modified; '
        "please apply your changes to the latest version and try again",
    ),
    (
        e.Invalid(DEPLOYMENT, "x", [FieldError.required("spec.selector")]),
        422,
        "Invalid",
        'Deployment.apps "x" is invalid: spec.selector: Required value',
    ),
    (
        e.Invalid(POD, "x", [FieldError.forbidden("a", "no"), FieldError.duplicate("b", "v")]),
        422,
        "Invalid",
        'Pod "x" is invalid: [a: Forbidden: no, b: Duplicate value: "v"]',
    ),
    (e.BadRequest("what?"), 400, "BadRequest", "what?"),
    (e.Forbidden(POD, "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
    (e.Forbidden(POD, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
    (e.Unauthorized(), 401, "Unauthorized", "Unauthorized"),
    (e.Expired("too old"), 410, "Expired", "too old"),
    (e.Gone("gone"), 410, "Gone", "gone"),
    (e.TooManyRequests("slow down", 7), 429, "TooManyRequests", "slow down"),
    (
        e.ServerTimeout(POD, "get", 2),
        500,
        "ServerTimeout",
        "The get operation against pods could not be completed at this time, please try again.",
    ),
    (e.Timeout("late"), 504, "Timeout", "Timeout: late"),
    (e.InternalError("oops"), 500, "InternalError", "Internal error occurred: oops"),
    (e.ServiceUnavailable("no quorum"), 503, "ServiceUnavailable", "no quorum"),
    (e.MethodNotSupported(POD, "patch"), 405, "MethodNotAllowed", 'patch is not supported on resources of kind "pods"'),
    (e.RequestEntityTooLarge("limit is 1"), 413, "RequestEntityTooLarge", "Request entity is too large: limit is 1"),
    (e.NotAcceptable("html"), 406, "NotAcceptable", "html"),
    (e.UnsupportedMediaType("html"), 415, "UnsupportedMediaType", "html"),
]


def _id(value: object) -> str:
    return type(value).__name__ if isinstance(value, e.ApiError) else ""


@pytest.mark.parametrize(("error", "code", "reason", "message"), ERRORS, ids=_id)
def test_words_and_status(error: e.ApiError, code: int, reason: str, message: str) -> None:
    status = error.to_status()
    assert (status.status, status.code, status.reason, status.message) == ("Failure", code, reason, message)
    assert str(error) == message
    again = e.ApiError.from_status(status)
    assert isinstance(error, type(again))
    assert again.to_status() == status


def _received(error: e.ApiError) -> e.ApiError:
    code, message, trailers = to_rpc(error)
    return from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), message))


@pytest.mark.parametrize(("error", "code", "reason", "message"), ERRORS, ids=_id)
def test_the_way_through_grpc(error: e.ApiError, code: int, reason: str, message: str) -> None:
    again = _received(error)
    assert again.to_status() == error.to_status()
    assert isinstance(error, type(again))
    assert again.retry_after_s == error.retry_after_s


def test_trailers_stay_small() -> None:
    causes = [FieldError.invalid(f"spec.items[{i}]", "ü" * 500, "wrong") for i in range(500)]
    error = e.Invalid(POD, "x", causes)
    _, message, trailers = to_rpc(error)
    assert len(message.encode()) + len(trailers[0][1]) < 6000
    again = _received(error)
    assert (again.reason, again.code) == ("Invalid", 422)
    assert again.causes


FOREIGN = [
    (grpc.StatusCode.UNAVAILABLE, "", e.ServiceUnavailable),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "", e.Timeout),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max (5 vs. 4)", e.RequestEntityTooLarge),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", e.TooManyRequests),
    (grpc.StatusCode.UNAUTHENTICATED, "", e.Unauthorized),
    (grpc.StatusCode.PERMISSION_DENIED, "no", e.Forbidden),
    (grpc.StatusCode.NOT_FOUND, "no", e.NotFound),
    (grpc.StatusCode.ALREADY_EXISTS, "no", e.AlreadyExists),
    (grpc.StatusCode.ABORTED, "no", e.Conflict),
    (grpc.StatusCode.OUT_OF_RANGE, "no", e.Expired),
    (grpc.StatusCode.UNIMPLEMENTED, "no", e.MethodNotSupported),
    (grpc.StatusCode.INVALID_ARGUMENT, "no", e.BadRequest),
    (grpc.StatusCode.UNKNOWN, "", e.InternalError),
]


@pytest.mark.parametrize(("code", "message", "cls"), FOREIGN, ids=lambda value: str(value))
@pytest.mark.parametrize("trailers", [(), ((DETAILS_KEY, b"\xff"),), ((DETAILS_KEY, b""),), (("x", "y"),)], ids=len)
def test_peers_that_send_no_status(
    code: grpc.StatusCode, message: str, cls: type[e.ApiError], trailers: tuple[tuple[str, bytes], ...]
) -> None:
    error = from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), message))
    assert type(error) is cls
    assert error.message


def test_a_status_without_reason_is_known_by_its_code() -> None:
    assert type(e.ApiError.from_status(metav1.Status(code=409))) is e.Conflict
    assert type(e.ApiError.from_status(metav1.Status(code=418, reason="Teapot"))) is e.ApiError


FIELD_ERRORS = [
    (FieldError.required("f", "why"), "FieldValueRequired", "f: Required value: why"),
    (FieldError.invalid("f", "v", "why"), "FieldValueInvalid", 'f: Invalid value: "v": why'),
    (FieldError.invalid("f", 5, "why"), "FieldValueInvalid", "f: Invalid value: 5: why"),
    (FieldError.invalid("f", True, "why"), "FieldValueInvalid", "f: Invalid value: true: why"),
    (FieldError.invalid("f", {"a": [1]}, "why"), "FieldValueInvalid", 'f: Invalid value: {"a":[1]}: why'),
    (FieldError.invalid("f", None, "why"), "FieldValueInvalid", "f: Invalid value: null: why"),
    (
        FieldError.not_supported("f", "v", ["B", "A"]),
        "FieldValueNotSupported",
        'f: Unsupported value: "v": supported values: "A", "B"',
    ),
    (FieldError.duplicate("f", "v"), "FieldValueDuplicate", 'f: Duplicate value: "v"'),
    (FieldError.not_found("f", "v"), "FieldValueNotFound", 'f: Not found: "v"'),
    (FieldError.forbidden("f", "why"), "FieldValueForbidden", "f: Forbidden: why"),
    (FieldError.too_long("f", "v", 63), "FieldValueTooLong", "f: Too long: may not be more than 63 bytes"),
    (FieldError.too_many("f", 5, 1), "FieldValueTooMany", "f: Too many: 5: must have at most 1 item"),
]


@pytest.mark.parametrize(("error", "type", "text"), FIELD_ERRORS, ids=lambda value: str(value)[:30])
def test_field_errors(error: FieldError, type: str, text: str) -> None:
    assert str(error) == text
    (cause,) = e.Invalid(POD, "x", [error]).causes
    assert (cause.reason, f"{cause.field}: {cause.message}") == (type, text)
