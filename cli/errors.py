"""What a person is told when something fails: one line, with what to do, and no traceback."""

import os
import traceback

DEBUG_VARIABLE = "NAVARCH_DEBUG"


class UsageError(Exception):
    """The user asked for something that cannot be; the message says what would do."""


def explain(error: BaseException) -> str:
    """The text for whatever ended a command."""
    from navarch.services.api.errors import ApiError

    if isinstance(error, BaseExceptionGroup):
        return explain(error.exceptions[0])
    if os.environ.get(DEBUG_VARIABLE):
        return "".join(traceback.format_exception(error)).rstrip()
    if isinstance(error, ApiError):
        return refusal(error)
    if isinstance(error, UsageError):
        return f"error: {error}"
    if isinstance(error, OSError):
        return f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return f"error: this is a bug: {type(error).__name__}: {error}\n(where: set {DEBUG_VARIABLE}=1 and repeat)"


def refusal(error: Exception, subject: str = "") -> str:
    """A refusal of the server, with the object it is about where the message does not name it."""
    reason: str = getattr(error, "reason", "")
    message: str = getattr(error, "message", "") or str(error)
    origin = f"Error from server ({reason})" if reason else "Error from server"
    return f"{origin}: {subject}: {message}" if subject else f"{origin}: {message}"
