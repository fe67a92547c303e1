"""What goes into the log: one byte that says which request, then the request's protobuf bytes."""

from typing import Final

from google.protobuf.message import Message

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2

# Numbers are on disk: never reuse one.
_TYPES: Final[dict[int, type[Message]]] = {
    1: rpc_pb2.PutRequest,
    2: rpc_pb2.DeleteRangeRequest,
    3: rpc_pb2.TxnRequest,
    4: rpc_pb2.CompactionRequest,
    5: rpc_pb2.LeaseGrantRequest,
    6: rpc_pb2.LeaseRevokeRequest,
    7: rpc_pb2.AlarmRequest,
    8: store_pb2.LeaseCheckpoint,
    9: store_pb2.MembershipChange,
    10: store_pb2.LeaseExpiry,
}
_TAGS: Final[dict[type[Message], bytes]] = {message: bytes([tag]) for tag, message in _TYPES.items()}


def encode(request: Message) -> bytes:
    """A request as a command of the log."""
    return _TAGS[type(request)] + request.SerializeToString()


def decode(command: bytes) -> Message:
    """The request of a command. Raises KeyError or DecodeError for what `encode` did not make."""
    request = _TYPES[command[0]]()
    request.ParseFromString(command[1:])
    return request
