"""Which objects belong to a controller: claiming, adopting, releasing.

An object has at most one controlling owner reference. A controller adopts unowned objects that its selector
matches, and releases owned ones that its selector no longer matches. `claim` decides; the shell applies
`adoption` and `release` as patches that carry the object's uid, so that they never hit a namesake.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of, is_being_deleted, metadata_of
from navarch.services.client.requests import M

CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Claim(Generic[M]):
    """What belongs to an owner. adopt and release are still to be written to the API."""

    owned: list[M] = field(default_factory=list)
    adopt: list[M] = field(default_factory=list)
    release: list[M] = field(default_factory=list)


def claim(owner: Message, selector: Selector, objects: Iterable[M]) -> Claim[M]:
    """Sort objects of the owner's namespace by whom they belong to; those of others are left out."""
    result: Claim[M] = Claim()
    leaving = is_being_deleted(owner)
    for each in objects:
        controller = controller_of(each)
        matches = selector.matches(metadata_of(each).labels)
        if controller is not None:
            if controller.uid == metadata_of(owner).uid:
                (result.owned if matches or leaving else result.release).append(each)
        elif matches and not leaving and not is_being_deleted(each):
            result.adopt.append(each)
    return result


def adoption(owner: metav1.OwnerReference, adopted: Message) -> dict[str, Any]:
    """Strategic merge patch that makes `owner` the controller."""
    reference = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"metadata": {"uid": metadata_of(adopted).uid, "ownerReferences": [reference]}}


def release(owner_uids: Iterable[str], uid: str) -> dict[str, Any]:
    """Strategic merge patch that drops the references to these owners from the object with this uid."""
    references = [{"$patch": "delete", "uid": owner_uid} for owner_uid in owner_uids]
    return {"metadata": {"uid": uid, "ownerReferences": references}}


def controller_index(obj: Message) -> Iterable[str]:
    """Informer index: uid of the controlling owner, or `orphans_in(namespace)`."""
    controller = controller_of(obj)
    return (controller.uid if controller is not None else orphans_in(metadata_of(obj).namespace),)


def orphans_in(namespace: str) -> str:
    """Key of `controller_index` for the objects of a namespace that nobody controls. Never a uid."""
    return f"orphans/{namespace}"
