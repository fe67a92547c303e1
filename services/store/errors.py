"""Refusals in etcd's words: the gRPC code and message that etcd's clients compare against."""

from dataclasses import dataclass

import grpc


class EtcdError(Exception):
    """A request that is refused; code and message go on the wire as they are."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CorruptionError(Exception):
    """Stored bytes are not what was written; the member must not serve."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal. Called, it makes the exception: a shared one would gather tracebacks for ever."""

    code: grpc.StatusCode
    message: str

    def __call__(self) -> EtcdError:
        """The exception to raise."""
        return EtcdError(self.code, self.message)


def _refusal(code: grpc.StatusCode, message: str) -> Refusal:
    return Refusal(code, f"etcdserver: {message}")


_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_RANGE = grpc.StatusCode.OUT_OF_RANGE
_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE

EMPTY_KEY = _refusal(_INVALID, "key is not provided")
KEY_NOT_FOUND = _refusal(_INVALID, "key not found")
VALUE_PROVIDED = _refusal(_INVALID, "value is provided")
LEASE_PROVIDED = _refusal(_INVALID, "lease is provided")
TOO_MANY_OPS = _refusal(_INVALID, "too many operations in txn request")
DUPLICATE_KEY = _refusal(_INVALID, "duplicate key given in txn request")
INVALID_SORT_OPTION = _refusal(_INVALID, "invalid sort option")
REQUEST_TOO_LARGE = _refusal(_INVALID, "request is too large")
COMPACTED = _refusal(_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION = _refusal(_RANGE, "mvcc: required revision is a future revision")
NO_SPACE = _refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")
TOO_MANY_REQUESTS = _refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests")
LEASE_NOT_FOUND = _refusal(grpc.StatusCode.NOT_FOUND, "requested lease not found")
LEASE_EXISTS = _refusal(_PRECONDITION, "lease already exists")
LEASE_TTL_TOO_LARGE = _refusal(_RANGE, "too large lease TTL")
MEMBER_NOT_FOUND = _refusal(grpc.StatusCode.NOT_FOUND, "member not found")
MEMBER_EXISTS = _refusal(_PRECONDITION, "member ID already exist")
MEMBER_BAD_URLS = _refusal(_INVALID, "given member URLs are invalid")
MEMBER_NOT_LEARNER = _refusal(_PRECONDITION, "can only promote a learner member")
PEER_URL_EXISTS = _refusal(_PRECONDITION, "Peer URLs already exists")
LEARNER_NOT_READY = _refusal(_PRECONDITION, "can only promote a learner member which is in sync with leader")
TOO_MANY_LEARNERS = _refusal(_PRECONDITION, "too many learner members in cluster")
NOT_SUPPORTED_FOR_LEARNER = _refusal(_UNAVAILABLE, "rpc not supported for learner")
BAD_LEADER_TRANSFEREE = _refusal(_PRECONDITION, "bad leader transferee")
NOT_ENOUGH_MEMBERS = _refusal(_PRECONDITION, "re-configuration failed due to not enough started members")
NOT_LEADER = _refusal(_PRECONDITION, "not leader")
UNHEALTHY = _refusal(_UNAVAILABLE, "unhealthy cluster")
TRANSFER_TIMEOUT = _refusal(_UNAVAILABLE, "request timed out, leader transfer took too long")
NO_LEADER = _refusal(_UNAVAILABLE, "no leader")
LEADER_CHANGED = _refusal(_UNAVAILABLE, "leader changed")
STOPPED = _refusal(_UNAVAILABLE, "server stopped")
TIMEOUT = _refusal(_UNAVAILABLE, "request timed out")
NOT_SUPPORTED = _refusal(grpc.StatusCode.UNIMPLEMENTED, "not supported by this store")
CORRUPT = _refusal(grpc.StatusCode.DATA_LOSS, "corrupt cluster")

# What a watch that cannot be created is cancelled with.
WATCH_RANGE_EMPTY = "mvcc: watcher range is empty"
WATCH_ID_DUPLICATE = "mvcc: duplicate watch ID provided on the WatchStream"
