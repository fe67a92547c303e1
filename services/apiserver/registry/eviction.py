"""Eviction: delete a Pod politely. Disruption budgets are not asked yet."""

from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1
from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.delete import delete_object


async def evict(core: Core, user: User, target: Target, eviction: Any, options: WriteOptions) -> metav1.Status:
    """Delete the Pod with the options of the eviction."""
    core.admit_user(user, "create", target.named())
    if not isinstance(eviction, policyv1.Eviction):
        raise BadRequest(f"an eviction was expected, not {eviction.DESCRIPTOR.name}")
    if eviction.metadata.name not in ("", target.name):
        raise BadRequest(f"name in URL does not match name in Eviction object: {eviction.metadata.name}")
    how = eviction.delete_options
    if options.dry_run:
        how.dry_run[:] = ["All"]
    await delete_object(core, user, target, how)
    return metav1.Status(status="Success", code=201)
