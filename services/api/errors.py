"""The refusals of the API, worded as Kubernetes words them.

Every way a request can fail is a subclass of ApiError. It carries the reason, the HTTP code and the details
of a meta/v1 Status, and survives the trip ``to_status`` -> wire -> ``from_status`` as the same class, so a
client catches ``NotFound`` no matter through which door the answer came. Validation failures are values
(FieldError) until Invalid gathers them, because a user wants to see all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.field_errors import FieldError as FieldError
from navarch.services.api.field_errors import quoted


class KindLike(Protocol):
    """The names of a kind that error messages need; ``kinds.Kind`` is one."""

    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def resource(self) -> str: ...  # noqa: D102


def _split(kind: KindLike | str, *, plural: bool) -> tuple[str, str]:
    """(name, group) of a kind, or of a string such as "deployments.apps"."""
    if isinstance(kind, str):
        name, _, group = kind.partition(".")
        return name, group
    return (kind.resource if plural else kind.kind), kind.group


def _qualified(kind: KindLike | str, *, plural: bool = True) -> str:
    name, group = _split(kind, plural=plural)
    return f"{name}.{group}" if group else name


class ApiError(Exception):
    """A refusal: reason, HTTP code, message and details of a meta/v1 Status."""

    reason: str = ""
    code: int = 500

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        code: int | None = None,
        details: metav1.StatusDetails | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.reason if reason is None else reason
        self.code = self.code if code is None else code
        self.details = details or metav1.StatusDetails()

    @property
    def retry_after_s(self) -> int:
        """Seconds the server asks to wait before a retry; 0 when it asks nothing."""
        return self.details.retry_after_seconds

    @property
    def causes(self) -> Sequence[metav1.StatusCause]:
        """What is wrong, field by field."""
        return self.details.causes

    def to_status(self) -> metav1.Status:
        """The Status that tells a client about this refusal."""
        status = metav1.Status(status="Failure", message=self.message, code=self.code)
        status.metadata.SetInParent()
        if self.reason:
            status.reason = self.reason
        if self.details.ByteSize():
            status.details.CopyFrom(self.details)
        return status

    @staticmethod
    def from_status(status: metav1.Status) -> ApiError:
        """The error of the class that the status' reason names."""
        cls = _CLASSES.get(status.reason) or _CLASS_OF_CODE.get(status.code, ApiError)
        error = cls.__new__(cls)
        details = metav1.StatusDetails()
        details.CopyFrom(status.details)
        ApiError.__init__(error, status.message, reason=status.reason, code=status.code or cls.code, details=details)
        if isinstance(error, Expired):
            error.continue_token = status.metadata.continue_token
        return error


class _ObjectError(ApiError):
    """A refusal about one object, named by kind and name."""

    template: ClassVar[str]

    def __init__(self, kind: KindLike | str, name: str, message: str | None = None) -> None:
        resource, group = _split(kind, plural=True)
        text = message or self.template.format(kind=_qualified(kind), name=quoted(name))
        super().__init__(text, details=metav1.StatusDetails(name=name, group=group, kind=resource))


class NotFound(_ObjectError):
    """No such object."""

    reason = "NotFound"
    code = 404
    template = "{kind} {name} not found"


class UnknownKind(NotFound):
    """No such kind or resource type."""

    def __init__(self, message: str) -> None:
        ApiError.__init__(self, message)


class AlreadyExists(_ObjectError):
    """An object of that name is there already."""

    reason = "AlreadyExists"
    code = 409
    template = "{kind} {name} already exists"


class Conflict(ApiError):
    """The object changed since it was read, or a precondition failed."""

    reason = "Conflict"
    code = 409
    STALE = "the object has been modified; please apply your changes to the latest version and try again"

    def __init__(self, kind: KindLike | str, name: str, detail: str = STALE) -> None:
        resource, group = _split(kind, plural=True)
        super().__init__(
            f"Operation cannot be fulfilled on {_qualified(kind)} {quoted(name)}: {detail}",
            details=metav1.StatusDetails(name=name, group=group, kind=resource),
        )


class Invalid(ApiError):
    """The object breaks rules of its kind; one cause a rule."""

    reason = "Invalid"
    code = 422

    def __init__(self, kind: KindLike | str, name: str, errors: Sequence[FieldError]) -> None:
        kind_name, group = _split(kind, plural=False)
        details = metav1.StatusDetails(name=name, group=group, kind=kind_name)
        for error in errors:
            details.causes.add(reason=error.type, message=error.body, field=error.field)
        texts = list(dict.fromkeys(str(error) for error in errors))
        text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        super().__init__(f"{_qualified(kind, plural=False)} {quoted(name)} is invalid: {text}", details=details)


class BadRequest(ApiError):
    """The request cannot be understood."""

    reason = "BadRequest"
    code = 400


class Forbidden(ApiError):
    """The caller, or a policy, does not allow it."""

    reason = "Forbidden"
    code = 403

    def __init__(self, kind: KindLike | str, name: str, detail: str) -> None:
        resource, group = _split(kind, plural=True)
        subject = f"{_qualified(kind)} {quoted(name)}" if name else _qualified(kind)
        super().__init__(
            f"{subject} is forbidden: {detail}" if subject else f"forbidden: {detail}",
            details=metav1.StatusDetails(name=name, group=group, kind=resource),
        )


class Unauthorized(ApiError):
    """The caller did not prove who it is."""

    reason = "Unauthorized"
    code = 401

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Expired(ApiError):
    """The resource version or continue token is older than what the server keeps.

    continue_token: goes on with a list all the same, with what is there now.
    """

    reason = "Expired"
    code = 410

    def __init__(self, message: str, *, continue_token: str = "") -> None:
        super().__init__(message)
        self.continue_token = continue_token

    def to_status(self) -> metav1.Status:
        """See ApiError."""
        status = super().to_status()
        if self.continue_token:
            status.metadata.continue_token = self.continue_token
        return status


class Gone(ApiError):
    """The thing was here and will not come back."""

    reason = "Gone"
    code = 410


class TooManyRequests(ApiError):
    """Not now; ask again after ``retry_after_s``."""

    reason = "TooManyRequests"
    code = 429

    def __init__(self, message: str, retry_after_s: int = 1, causes: Iterable[metav1.StatusCause] = ()) -> None:
        super().__init__(message, details=metav1.StatusDetails(retry_after_seconds=retry_after_s, causes=causes))


class ServerTimeout(ApiError):
    """The server could not finish in time; the outcome may be unknown."""

    reason = "ServerTimeout"
    code = 500

    def __init__(self, kind: KindLike | str, operation: str, retry_after_s: int = 0) -> None:
        resource, group = _split(kind, plural=True)
        super().__init__(
            f"The {operation} operation against {_qualified(kind)} could not be completed at this time, "
            "please try again.",
            details=metav1.StatusDetails(name=operation, group=group, kind=resource, retry_after_seconds=retry_after_s),
        )


class Timeout(ApiError):
    """The request's own deadline passed."""

    reason = "Timeout"
    code = 504

    def __init__(self, message: str, retry_after_s: int = 0) -> None:
        details = metav1.StatusDetails(retry_after_seconds=retry_after_s) if retry_after_s else None
        super().__init__(f"Timeout: {message}", details=details)


class InternalError(ApiError):
    """A fault of the server, not of the request."""

    reason = "InternalError"
    code = 500

    def __init__(self, message: str) -> None:
        details = metav1.StatusDetails(causes=[metav1.StatusCause(message=message)])
        super().__init__(f"Internal error occurred: {message}", details=details)


class ServiceUnavailable(ApiError):
    """The server, or what it stands on, cannot answer now."""

    reason = "ServiceUnavailable"
    code = 503


class MethodNotSupported(ApiError):
    """The kind does not have this verb."""

    reason = "MethodNotAllowed"
    code = 405

    def __init__(self, kind: KindLike | str, verb: str) -> None:
        resource, group = _split(kind, plural=True)
        super().__init__(
            f'{verb} is not supported on resources of kind "{_qualified(kind)}"',
            details=metav1.StatusDetails(group=group, kind=resource),
        )


class RequestEntityTooLarge(ApiError):
    """The object or request is over the limit."""

    reason = "RequestEntityTooLarge"
    code = 413

    def __init__(self, message: str) -> None:
        super().__init__(f"Request entity is too large: {message}")


class NotAcceptable(ApiError):
    """No representation that the caller accepts."""

    reason = "NotAcceptable"
    code = 406


class UnsupportedMediaType(ApiError):
    """The body's content type is not understood."""

    reason = "UnsupportedMediaType"
    code = 415


_ALL: tuple[type[ApiError], ...] = (
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid,
    BadRequest,
    Forbidden,
    Unauthorized,
    Expired,
    Gone,
    TooManyRequests,
    ServerTimeout,
    Timeout,
    InternalError,
    ServiceUnavailable,
    MethodNotSupported,
    RequestEntityTooLarge,
    NotAcceptable,
    UnsupportedMediaType,
)
_CLASSES = {cls.reason: cls for cls in _ALL}
# For a status without a reason; where classes share a code the more general one.
_CLASS_OF_CODE = {cls.code: cls for cls in _ALL} | {409: Conflict, 410: Gone, 500: InternalError}
