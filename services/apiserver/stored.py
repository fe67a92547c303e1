"""An object as it is stored, at one revision.

The bytes are what matters: readers and watchers are handed the same encoded object, with the resource version
spliced into its metadata once. Messages are parsed only where something has to look inside (selectors,
writes), and not kept; labels and selectable fields are.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError, Message

from navarch.protos.etcd import kv_pb2
from navarch.services.api import codec, envelope
from navarch.services.api.errors import InternalError
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.storage import conversion


class StoredObject:
    """One object at one revision. Immutable but for what it remembers of itself."""

    __slots__ = ("_json_members", "_labels", "_parsed", "kind", "name", "namespace", "raw", "revision")

    def __init__(self, kind: Kind, namespace: str, name: str, revision: int, raw: bytes) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.revision = revision
        # The encoded message, resource version included.
        self.raw = raw
        self._labels: Mapping[str, str] | None = None
        self._parsed: Message | None = None
        self._json_members: bytes | None = None

    @classmethod
    def of_message(cls, kind: Kind, message: Any, revision: int) -> "StoredObject":
        """What `message` is once the store has given it this revision."""
        message.metadata.resource_version = str(revision)
        return cls(kind, message.metadata.namespace, message.metadata.name, revision, message.SerializeToString())

    @classmethod
    def unstored(cls, kind: Kind, message: Any) -> "StoredObject":
        """What a dry run answers with: an object that the store has never seen."""
        return cls(kind, message.metadata.namespace, message.metadata.name, 0, message.SerializeToString())

    @classmethod
    def of_value(cls, kind: Kind, namespace: str, name: str, value: bytes, revision: int) -> "StoredObject":
        """The object of a value of the store. Raises ApiError for anything else."""
        raw = envelope.with_resource_version(conversion.raw_of(value, kind), str(revision))
        return cls(kind, namespace, name, revision, raw)

    @classmethod
    def of_pair(cls, kind: Kind, pair: kv_pb2.KeyValue) -> "StoredObject":
        """The object of a key and value of the store. Raises ApiError for anything else."""
        return cls.of_value(kind, *split_key(kind, pair.key), pair.value, pair.mod_revision)

    @property
    def key(self) -> str:
        """ "namespace/name", or the name of a cluster-scoped object; sorts as the store's keys do."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def decode(self) -> Any:
        """A new message, the caller's own. Raises InternalError for bytes that are none."""
        try:
            return self.kind.message.FromString(self.raw)
        except DecodeError as failure:
            raise InternalError(f"{self.kind.qualified_resource} {self.key} is damaged: {failure}") from failure

    @property
    def message(self) -> Any:
        """A shared message, to look at only. Kept until `forget`."""
        if self._parsed is None:
            self._parsed = self.decode()
        return self._parsed

    def forget(self) -> None:
        """Drop the parsed message: at rest an object is its bytes."""
        self._parsed = None

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        if self._labels is None:
            self._labels = dict(self.message.metadata.labels)
        return self._labels

    @property
    def json_members(self) -> bytes:
        """The object's JSON after apiVersion and kind, closing brace included. Made once, for all who read it."""
        if self._json_members is None:
            message = self._parsed or self.decode()
            self._json_members = codec.to_json_members(message)
        return self._json_members

    def at(self, revision: int) -> "StoredObject":
        """The same content under another revision: an object as it was last, when it was deleted."""
        raw = envelope.with_resource_version(self.raw, str(revision))
        return StoredObject(self.kind, self.namespace, self.name, revision, raw)


def split_key(kind: Kind, key: bytes) -> tuple[str, str]:
    """Namespace ("" where there is none) and name in a key of the store."""
    rest = key.decode("utf-8", "replace").removeprefix(kind.key_prefix)
    namespace, _, name = rest.rpartition("/")
    return namespace, name
