"""Where a service is that a webhook's configuration names: one of its ready endpoints."""

import random
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ServiceUnavailable
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.storage.objects import ObjectStorage

SERVICE = KINDS.of(corev1.Service)
ENDPOINTS = KINDS.of(corev1.Endpoints)


class ServiceAddresses:
    """Looks services up in the store. The node of the server needs no proxy to reach them."""

    def __init__(self, storage: ObjectStorage, rng: random.Random) -> None:
        self._storage = storage
        self._rng = rng

    async def resolve(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """Host and port behind a port of a service. Raises ServiceUnavailable."""
        found = await self._storage.get(SERVICE, namespace, name)
        if found is None:
            raise ServiceUnavailable(f'service "{name}" not found')
        service: Any = found.decode()
        if service.spec.type == "ExternalName":
            return service.spec.external_name, port
        row = next((one for one in service.spec.ports if one.port == port), None)
        if row is None:
            raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
        stored = await self._storage.get(ENDPOINTS, namespace, name)
        choices = [
            (address.ip, entry.port)
            for subset in (stored.decode().subsets if stored is not None else ())
            for entry in subset.ports
            if entry.name == row.name
            for address in subset.addresses
        ]
        if not choices:
            raise ServiceUnavailable(f'no endpoints available for service "{name}"')
        return self._rng.choice(choices)
