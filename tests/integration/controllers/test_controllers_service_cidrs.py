"""ServiceCIDRs, with the real controllers and API server."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import errors
from navarch.services.api.meta import condition_is
from navarch.services.controller_manager.service_cidrs.plan import FINALIZER


async def test_one_that_a_service_needs_stays_until_the_service_is_gone(cluster) -> None:
    client = cluster.client
    more = networkingv1.ServiceCIDR()
    more.metadata.name, more.spec.cidrs[:] = "more", ["10.97.0.0/24"]
    await client.create(more)

    async def is_ready() -> bool:
        found = await client.get(networkingv1.ServiceCIDR, "more")
        return condition_is(found.status.conditions, "Ready") and FINALIZER in found.metadata.finalizers

    await cluster.until(is_ready)
    web = corev1.Service()
    web.metadata.name, web.metadata.namespace = "web", "default"
    web.spec.cluster_ip = "10.97.0.9"
    web.spec.ports.add(port=80)

    async def is_served() -> bool:
        try:
            await client.create(web)
        except errors.Invalid as refusal:
            # Its API server has yet to hear of the range.
            assert "does not match the current range" in refusal.message
            return False
        return True

    await cluster.until(is_served)
    await client.delete(networkingv1.ServiceCIDR, "more")

    async def is_held() -> bool:
        found = await client.get(networkingv1.ServiceCIDR, "more")
        return any(said.reason == "Terminating" for said in found.status.conditions)

    await cluster.until(is_held)
    await client.delete(corev1.Service, "web", "default")
    await cluster.gone(networkingv1.ServiceCIDR, "more", "")
