"""Applies a `Claim`: the shell around `ownership`."""

from collections.abc import Iterable

from google.protobuf.message import Message

from navarch.services.api import errors
from navarch.services.api.labels import Selector
from navarch.services.api.meta import is_being_deleted, metadata_of, owner_reference
from navarch.services.client.client import Client
from navarch.services.client.requests import M
from navarch.services.controller_manager import ownership


async def claim(client: Client, owner: Message, selector: Selector, objects: Iterable[M]) -> list[M]:
    """The objects that belong to the owner, after adopting and releasing what has to be.

    Before anything is adopted the API is asked whether the owner itself still is what the cache says.
    """
    claimed = ownership.claim(owner, selector, objects)
    owned = list(claimed.owned)
    for each in claimed.release:
        metadata = metadata_of(each)
        await _patch(client, each, ownership.release([metadata_of(owner).uid], metadata.uid))
    if claimed.adopt and await _still_there(client, owner):
        reference = owner_reference(owner, controller=True)
        for each in claimed.adopt:
            adopted = await _patch(client, each, ownership.adoption(reference, each))
            if adopted is not None:
                owned.append(adopted)
    return owned


async def _still_there(client: Client, owner: Message) -> bool:
    metadata = metadata_of(owner)
    try:
        current = await client.get(type(owner), metadata.name, metadata.namespace)
    except errors.NotFound:
        return False
    return metadata_of(current).uid == metadata.uid and not is_being_deleted(current)


async def _patch(client: Client, obj: M, patch: dict[str, object]) -> M | None:
    """Patch an object, None where it is no longer there. Its uid is part of the patch."""
    metadata = metadata_of(obj)
    try:
        return await client.patch(type(obj), metadata.name, metadata.namespace, patch)
    except (errors.NotFound, errors.Conflict, errors.Invalid):
        # Gone, or another object by now: events will tell.
        return None
