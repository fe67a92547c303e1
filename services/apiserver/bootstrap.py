"""What every cluster has from its first moment: the default namespaces and the service `kubernetes`.

Level-triggered: run at every start, makes what is missing, and leaves the rest alone.
"""

import asyncio
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import meta
from navarch.services.api.errors import AlreadyExists
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.advertising import PORT_NAME, SERVICE_NAME
from navarch.services.apiserver.allocation.ranges import READY
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.create import create_object
from navarch.services.apiserver.registry.modify import Keep, Order, modify
from navarch.services.apiserver.registry.update import replace
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.bootstrap")
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE_PORT = 443


async def make_defaults(core: Core) -> None:
    """Make namespaces and the service."""
    async with asyncio.TaskGroup() as group:
        for name in NAMESPACES:
            group.create_task(_ensure(core, corev1.Namespace(metadata={"name": name})))
        group.create_task(core.services.repair())
    await _ensure(core, _service(core.services.first_address))
    await _ensure_service_cidr(core)


async def _ensure_service_cidr(core: Core) -> None:
    """Say where Services get their addresses from. One that says otherwise stays, as in Kubernetes."""
    wanted = networkingv1.ServiceCIDR()
    wanted.metadata.name = SERVICE_NAME
    wanted.spec.cidrs[:] = core.services.default_cidrs
    await _ensure(core, wanted)
    kind = KINDS.of(wanted)
    target = Target(kind, "", SERVICE_NAME)

    async def decide(current: StoredObject) -> Order:
        new = current.decode()
        if list(new.spec.cidrs) != list(wanted.spec.cidrs):
            LOG.warning("service_cidr.differs", stored=list(new.spec.cidrs), configured=list(wanted.spec.cidrs))
            return Keep()
        if meta.is_being_deleted(new) or any(condition.type == READY for condition in new.status.conditions):
            return Keep()
        said = new.status.conditions.add(type=READY, status="True")
        said.message = "Kubernetes default Service CIDR is ready"
        said.last_transition_time.CopyFrom(meta.time_from(core.clock.now()))
        return await replace(core, Target(kind, "", SERVICE_NAME, "status"), current, new)

    await modify(core, target, decide)


async def _ensure(core: Core, message: Any) -> None:
    """Create the object if it is not there."""
    kind = KINDS.of(message)
    target = Target(kind, message.metadata.namespace, message.metadata.name)
    stored = await core.storage.get(kind, target.namespace, target.name)
    if stored is None:
        copy = type(message)()
        copy.CopyFrom(message)
        try:
            await create_object(core, target, copy)
        except AlreadyExists:
            # Another API server starts at the same moment.
            return


def _service(address: str) -> corev1.Service:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = SERVICE_NAME, "default"
    service.metadata.labels.update({"component": "apiserver", "provider": "kubernetes"})
    service.spec.type = "ClusterIP"
    service.spec.cluster_ip = address
    port = service.spec.ports.add(name=PORT_NAME, protocol="TCP", port=SERVICE_PORT)
    port.target_port.type = 0
    port.target_port.int_val = SERVICE_PORT
    return service
