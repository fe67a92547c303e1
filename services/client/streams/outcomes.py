"""How a process or a stream ended, as the Status that the error channel carries."""

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError, BadRequest, InternalError

NON_ZERO, EXIT_CODE = "NonZeroExitCode", "ExitCode"


def exited(code: int) -> metav1.Status:
    """Of a process that ran to its end."""
    if code == 0:
        return metav1.Status(metadata=metav1.ListMeta(), status="Success")
    return metav1.Status(
        metadata=metav1.ListMeta(),
        status="Failure",
        message=f"command terminated with non-zero exit code: command terminated with exit code {code}",
        reason=NON_ZERO,
        details=metav1.StatusDetails(causes=[metav1.StatusCause(reason=EXIT_CODE, message=str(code))]),
    )


def to_bytes(status: metav1.Status) -> bytes:
    """The JSON of a Status; on this channel it goes without apiVersion and kind."""
    return b"{" + codec.to_json_members(status)


def exit_code_of(data: bytes) -> int:
    """The exit code that the last message of an error channel tells. Raises ApiError when there was none."""
    try:
        status: Message = codec.from_json_bytes(data, metav1.Status)
    except (BadRequest, ValueError):
        raise InternalError(data.decode(errors="replace")) from None
    assert isinstance(status, metav1.Status)
    if status.status == "Success":
        return 0
    for cause in status.details.causes:
        if status.reason == NON_ZERO and cause.reason == EXIT_CODE and cause.message.isdecimal():
            return int(cause.message)
    raise ApiError.from_status(status)
