"""What the verbs share: the parts of the server they work on, and what a request is about."""

import random
from dataclasses import dataclass

from google.protobuf.message import Message

from navarch.services.api.errors import BadRequest, MethodNotSupported, NotFound, UnknownKind
from navarch.services.api.kinds import Kind, KindTable, message_class
from navarch.services.apiserver.allocation.services import ServiceAllocator
from navarch.services.apiserver.auth.authorizer import Attributes, Authorizer, authorize
from navarch.services.apiserver.auth.tokens import Tokens
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.apiserver.storage.revision import RevisionReader
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.clock import Clock


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: a resource, one object of it, or a part of that."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> str:
        """The object's key in caches."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def message_class(self) -> type[Message]:
        """What a write to it carries: the kind's message, or that of the part (a Scale, a Binding)."""
        kind = self.kind
        part = kind.subresource(self.subresource) if self.subresource else None
        if part is None or part.kind == kind.kind:
            return kind.message
        return message_class(part.api_version or kind.api_version, part.kind)

    @classmethod
    def at(
        cls,
        kinds: KindTable,
        group: str,
        version: str,
        resource: str,
        namespace: str,
        name: str = "",
        subresource: str = "",
    ) -> "Target":
        """From the coordinates of a request. Raises UnknownKind or BadRequest."""
        kind = kinds.by_resource(group, version, resource)
        if namespace and not kind.namespaced:
            raise BadRequest(f"{kind.qualified_resource} are not namespaced; the request names namespace {namespace!r}")
        if subresource and kind.subresource(subresource) is None:
            raise UnknownKind("the server could not find the requested resource")
        return cls(kind, namespace, name, subresource)

    def named(self) -> "Target":
        """Itself; raises BadRequest where an object is needed and not fully named."""
        if not self.name:
            raise BadRequest("resource name may not be empty")
        if self.kind.namespaced and not self.namespace:
            raise BadRequest("an empty namespace may not be set when a resource name is provided")
        if "/" in self.name or "/" in self.namespace or self.name in (".", ".."):
            raise BadRequest(f"invalid resource name {self.name!r}")
        return self

    def not_found(self) -> NotFound:
        """The refusal for an object that is not there."""
        return NotFound(self.kind, self.name)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write. field_validation: "Strict", "Warn", "Ignore" or ""; force: of an apply, None where not said."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    # Names the field manager where `field_manager` does not.
    user_agent: str = ""
    force: bool | None = None


AS_ALWAYS = WriteOptions()


@dataclass(frozen=True, slots=True)
class Core:
    """The server's parts. Verbs are functions of it."""

    # All that is served, custom resources included.
    kinds: KindTable
    storage: ObjectStorage
    cachers: Cachers
    revisions: RevisionReader
    authorizer: Authorizer
    tokens: Tokens
    services: ServiceAllocator
    clock: Clock
    rng: random.Random

    def admit_user(self, user: User, verb: str, target: Target, selection: Selection | None = None) -> None:
        """Raise Forbidden or MethodNotSupported unless the user may and the kind has the verb."""
        kind, name, node = target.kind, target.name, ""
        if selection is not None:
            name, node = selection.name() or "", selection.node() or ""
        wanted = Attributes(verb, kind.group, kind.resource, target.subresource, target.namespace, name, node)
        authorize(self.authorizer, user, wanted)
        part = target.kind.subresource(target.subresource) if target.subresource else None
        # Bindings and reviews are answered, not stored.
        is_served = bool(target.kind.key_prefix) or verb == "create"
        if not is_served or verb not in (part.verbs if part else target.kind.verbs):
            raise MethodNotSupported(target.kind, verb)

    def admit_url(self, user: User, verb: str, path: str) -> None:
        """Raise Forbidden unless the user may; path: of a URL that is about no resource. verb: "get", "post", ..."""
        authorize(self.authorizer, user, Attributes(verb, url=path))

    def guess(self, target: Target) -> StoredObject | None:
        """The object as the cache has it, which may be out of date."""
        cacher = self.cachers.of(target.kind)
        return cacher.cache.get(target.key) if cacher.is_ready else None

    async def newest(self, target: Target) -> StoredObject:
        """The object as the store has it now. Raises NotFound."""
        stored = await self.storage.get(target.kind, target.namespace, target.name)
        if stored is None:
            raise target.not_found()
        return stored
