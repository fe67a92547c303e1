"""Create: a new object."""

import uuid
from typing import Any

from navarch.services.api import meta
from navarch.services.api.errors import AlreadyExists, BadRequest, Conflict, Invalid, MethodNotSupported
from navarch.services.api.strategy import Strategy, strategy_for
from navarch.services.apiserver.admission import chain
from navarch.services.apiserver.admission.certificates import restrict_attestation, state_requester
from navarch.services.apiserver.admission.dates import add_dates
from navarch.services.apiserver.admission.nodes import restrict_creation
from navarch.services.apiserver.allocation.services import is_service_kind
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.binding import bind
from navarch.services.apiserver.registry.core import AS_ALWAYS, Core, Target, WriteOptions
from navarch.services.apiserver.registry.eviction import evict
from navarch.services.apiserver.registry.ownership import Entries, own_created, put, settled
from navarch.services.apiserver.registry.reviews.answer import answer, is_review
from navarch.services.apiserver.registry.token_request import request_token
from navarch.services.apiserver.storage.objects import ExtraOutdated, Outdated
from navarch.services.apiserver.stored import StoredObject

# Without vowels and look-alikes, so that no name says something.
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
NAME_LIMIT = 63
GENERATE_ATTEMPTS = 8
ALLOCATION_ATTEMPTS = 64


async def create(
    core: Core,
    user: User,
    target: Target,
    message: Any,
    options: WriteOptions,
) -> StoredObject | Any:
    """Store a new object; or act on one by its subresource. message: changed, and owned from here on."""
    match target.kind.kind, target.subresource:
        case "Pod", "binding":
            return await bind(core, user, target, message, options)
        case "Binding", "":
            return await bind(core, user, _bound_pod(core, target, message), message, options)
        case "Pod", "eviction":
            return await evict(core, user, target, message, options)
        case "ServiceAccount", "token":
            return await request_token(core, user, target, message)
    if target.subresource or is_review(target):
        core.admit_user(user, "create", target)
        if target.subresource:
            raise MethodNotSupported(target.kind, "create")
        return await answer(core, user, target, message)
    return await create_for(core, user, target, message, settled(user, options, "Create"))


async def create_for(
    core: Core, user: User, target: Target, message: Any, options: WriteOptions, owners: Entries | None = None
) -> StoredObject:
    """Create for a user, if he may: also for updates and applies of what is not there."""
    core.admit_user(user, "create", target)
    restrict_creation(user, target.kind, message)
    state_requester(user, target.kind, message)
    restrict_attestation(core.authorizer, user, target.kind, message)
    return await create_object(core, target, message, options, owners)


async def create_object(
    core: Core, target: Target, message: Any, options: WriteOptions = AS_ALWAYS, owners: Entries | None = None
) -> StoredObject:
    """Create without asking who wants it. owners: the managedFields, where they are known."""
    kind, metadata = target.kind, message.metadata
    if kind.is_custom and kind.custom.is_terminating:
        raise MethodNotSupported(kind, "create")
    settle_namespace(target, message)
    if metadata.resource_version:
        raise BadRequest("resourceVersion should not be set on objects to be created")
    strategy = strategy_for(kind)
    strategy.default(message)
    add_dates(message, None, core.clock.now())
    if owners is None:
        owners = own_created(core, kind, message, options)
    strategy.prepare_for_create(message)
    if is_service_kind(kind):
        core.services.settle(message, None)
    put(message, owners)
    metadata.uid = str(uuid.UUID(int=core.rng.getrandbits(128), version=4))
    metadata.creation_timestamp.CopyFrom(meta.time_from(core.clock.now()))
    is_generated = bool(metadata.generate_name) and not metadata.name
    await chain.admit_create(core, kind, message)
    for attempt in range(GENERATE_ATTEMPTS):
        former_name = metadata.name if attempt else ""
        if is_generated:
            metadata.name = generated_name(core, metadata.generate_name)
        strategy.complete(message, former_name)
        if attempt == 0:
            _refuse_invalid(target, strategy, message)
        try:
            return await _store(core, target, message, options)
        except Outdated:
            if not is_generated or attempt + 1 == GENERATE_ATTEMPTS:
                raise AlreadyExists(kind, metadata.name) from None
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _store(core: Core, target: Target, message: Any, options: WriteOptions) -> StoredObject:
    kind, metadata = target.kind, message.metadata
    if options.dry_run:
        if await core.storage.get(kind, metadata.namespace, metadata.name) is not None:
            raise Outdated(None)
        if is_service_kind(kind):
            await core.services.allocate(message, None)
        return StoredObject.unstored(kind, message)
    if not is_service_kind(kind):
        return await core.storage.create(kind, message)
    for _ in range(ALLOCATION_ATTEMPTS):
        service = type(message)()
        service.CopyFrom(message)
        try:
            async with core.services.turn(kind):
                return await core.storage.create(kind, service, extras=await core.services.allocate(service, None))
        except ExtraOutdated:
            # Somebody else was given the same address or port in this very moment: choose again.
            continue
    raise Conflict(kind, metadata.name, "addresses or ports were taken by others again and again")


def settle_namespace(target: Target, message: Any) -> None:
    """Give the object the namespace of the request. Raises BadRequest where the two contradict each other."""
    metadata = message.metadata
    if not target.kind.namespaced:
        metadata.ClearField("namespace")
        return
    if not target.namespace:
        raise BadRequest("an empty namespace may not be set during creation")
    if metadata.namespace and metadata.namespace != target.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    metadata.namespace = target.namespace


def generated_name(core: Core, prefix: str) -> str:
    """A name that begins with prefix and ends with a random suffix."""
    suffix = "".join(core.rng.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))
    return prefix[: NAME_LIMIT - SUFFIX_LENGTH] + suffix


def _refuse_invalid(target: Target, strategy: Strategy, message: Any) -> None:
    errors = strategy.validate(message)
    if errors:
        raise Invalid(target.kind, message.metadata.name, errors)


def _bound_pod(core: Core, target: Target, binding: Any) -> Target:
    return Target.at(core.kinds, "", "v1", "pods", target.namespace, target.name or binding.metadata.name, "binding")
