"""What a person is told when something fails: one line, with what to do, and no traceback."""

import os
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from navarch.services.api.errors import ApiError

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


def refusal(error: "ApiError", subject: str = "") -> str:
    """A refusal of the server; ``subject``: where the object comes from. Several faults are a line each."""
    origin = f"Error from server ({error.reason})" if error.reason else "Error from server"
    if len(error.causes) > 1 and error.reason == "Invalid":
        faults = "".join(f"\n* {cause.field}: {cause.message}" for cause in error.causes)
        return f"{origin}: {subject or error.message.partition(' is invalid')[0]} is invalid:{faults}"
    return f"{origin}: {subject}: {error.message}" if subject else f"{origin}: {error.message}"
