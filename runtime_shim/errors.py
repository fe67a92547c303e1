"""What a backend may answer instead of a result. The service turns each into its gRPC code.

Messages are read by people through Events (`FailedCreatePodSandBox`, `RunContainerError`), so they say what
was asked for and what stood in the way.
"""


class ShimError(Exception):
    """Base of all refusals."""


class NotFound(ShimError):
    """No sandbox, container or image of that id or name."""


class AlreadyExists(ShimError):
    """The name is taken, or the same call is still under way."""


class InvalidArgument(ShimError):
    """The request can never succeed as it is."""


class FailedPrecondition(ShimError):
    """The request does not fit the present state of what it names."""


class Unsupported(ShimError):
    """Part of the contract, not served here."""


class Unavailable(ShimError):
    """The runtime beneath cannot be reached now; try again."""


class DeadlineExceeded(ShimError):
    """It took longer than the caller allowed."""


class ResourceExhausted(ShimError):
    """A bound was hit: a stream whose reader is too slow, a disk that is full."""


class RuntimeFailure(ShimError):
    """The runtime beneath refused or failed; its own words are in the message."""
