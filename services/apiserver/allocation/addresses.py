"""IPAddress objects: one for each cluster IP that is taken, named by the address."""

import random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import envelope, meta
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.storage.objects import Extra, ObjectStorage, Outdated
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.allocation")
IP_ADDRESS = KINDS.of(networkingv1.IPAddress)
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
FAMILY = "ipaddress.kubernetes.io/ip-family"
MANAGER = "ipallocator.k8s.io"
# Another server may write the address before the Service; younger ones are left alone.
ORPHAN_AFTER_S = 60.0


def claim(address: str, service: Any, now: float, rng: random.Random) -> networkingv1.IPAddress:
    """The object that says whose the address is. service: metadata of the Service."""
    message = networkingv1.IPAddress()
    metadata = message.metadata
    metadata.name = address
    metadata.uid = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    metadata.creation_timestamp.CopyFrom(meta.time_from(now))
    metadata.labels.update({FAMILY: "IPv6" if ":" in address else "IPv4", MANAGED_BY: MANAGER})
    parent = message.spec.parent_ref
    parent.group, parent.resource = "", "services"
    parent.namespace, parent.name = service.namespace, service.name
    return message


def extra(address: str, message: networkingv1.IPAddress | None, guard: int) -> Extra:
    """The write (or, without a message, the removal) of an address."""
    value = envelope.to_stored(message, IP_ADDRESS) if message is not None else None
    return Extra(IP_ADDRESS.key("", address), value, guard)


async def repair(
    storage: ObjectStorage,
    claimed: Sequence[StoredObject],
    owners: Mapping[str, Any],
    now: float,
    rng: random.Random,
) -> None:
    """Claim the addresses of Services that nothing (or another) claims, and drop claims without a Service.

    claimed has to be read before owners: then a claim without an owner really has none.
    """
    for address in sorted(owners.keys() - {stored.name for stored in claimed}):
        try:
            await storage.create(IP_ADDRESS, claim(address, owners[address].metadata, now, rng))
        except Outdated:
            continue
    for stored in claimed:
        if stored.name in owners and not _is_of(stored.message, owners[stored.name].metadata):
            LOG.warning("address.of_another", address=stored.name, service=meta.key_of(owners[stored.name]))
            await _hand_over(storage, stored, claim(stored.name, owners[stored.name].metadata, now, rng))
            continue
        metadata = stored.message.metadata
        is_ours = metadata.labels.get(MANAGED_BY) == MANAGER
        if stored.name in owners or not is_ours or now - meta.unix(metadata.creation_timestamp) < ORPHAN_AFTER_S:
            continue
        try:
            await storage.delete(stored)
        except Outdated:
            continue


def _is_of(address: networkingv1.IPAddress, service: Any) -> bool:
    parent = address.spec.parent_ref
    return (parent.resource, parent.namespace, parent.name) == ("services", service.namespace, service.name)


async def _hand_over(storage: ObjectStorage, stored: StoredObject, right: networkingv1.IPAddress) -> None:
    try:
        await storage.update(IP_ADDRESS, right, stored.revision)
    except Outdated:
        LOG.info("address.changed_meanwhile", address=stored.name)
