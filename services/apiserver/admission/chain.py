"""What happens to every new object between its defaults and its validation, in this order.

    namespaces       there, and not about to vanish
    service_accounts a Pod runs as "default" unless it says otherwise
    priorities       a Pod's priority by its class
    runtime_classes  a Pod's overhead, and where it may run, by the class it names
    tolerations      a Pod bears a lost node for a while

Each is a function of the object and what it needs to know; none of them writes to the store.
"""

from typing import TYPE_CHECKING, Any

from navarch.services.api.kinds import Kind
from navarch.services.apiserver.admission.namespaces import require_namespace
from navarch.services.apiserver.admission.priorities import settle_priority
from navarch.services.apiserver.admission.runtime_classes import settle_runtime_class
from navarch.services.apiserver.admission.service_accounts import settle_service_account
from navarch.services.apiserver.admission.tolerations import add_default_tolerations

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Core


async def admit_create(core: "Core", kind: Kind, obj: Any) -> None:
    """Complete or refuse a new object."""
    if kind.namespaced:
        await require_namespace(core, kind, obj)
    if kind.gvk == ("v1", "Pod"):
        settle_service_account(obj)
        await settle_priority(core, obj)
        await settle_runtime_class(core, obj)
        add_default_tolerations(obj)
