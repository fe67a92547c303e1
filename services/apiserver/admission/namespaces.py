"""Objects live in namespaces that exist and stay."""

from typing import TYPE_CHECKING, Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import meta
from navarch.services.api.errors import Forbidden, NotFound
from navarch.services.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Core

NAMESPACE = KINDS.of(corev1.Namespace)


async def require_namespace(core: "Core", kind: Kind, obj: Any) -> None:
    """Raise NotFound for a namespace that is not there, Forbidden for one that is being deleted."""
    name = obj.metadata.namespace
    cache = await core.cachers.of(NAMESPACE).ready()
    # A namespace made a moment ago may not have reached the cache yet.
    stored = cache.get(name) or await core.storage.get(NAMESPACE, "", name)
    if stored is None:
        raise NotFound(NAMESPACE, name)
    if meta.is_being_deleted(stored.message):
        detail = f"unable to create new content in namespace {name} because it is being terminated"
        refusal = Forbidden(kind, obj.metadata.name, detail)
        refusal.details.causes.add(
            reason="NamespaceTerminating", message=f"namespace {name} is being terminated", field="metadata.namespace"
        )
        raise refusal
