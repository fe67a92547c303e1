"""Who may change an object to what: for rights that depend on what is changed, and not only on whose it is."""

from typing import TYPE_CHECKING, Any

from navarch.services.apiserver.admission.certificates import restrict_attestation, restrict_decision
from navarch.services.apiserver.admission.nodes import restrict_node
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.stored import StoredObject

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Core, Target


def restrict_content(core: "Core", user: User, target: "Target", current: StoredObject, new: Any) -> None:
    """Raise Forbidden where a user may not change an object to this, though he may change it."""
    restrict_node(user, current, new)
    restrict_decision(core.authorizer, user, target.subresource, current, new)
    restrict_attestation(core.authorizer, user, current.kind, new)
