"""Whether the server of an APIService can be used: its Service is there, has endpoints, and discovery answers."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.aggregation.remotes import Remote
from navarch.services.apiserver.custom.addresses import ServiceAddresses
from navarch.services.apiserver.storage.objects import ObjectStorage

SERVICE = KINDS.of(corev1.Service)
ENDPOINTS = KINDS.of(corev1.Endpoints)
CHECK_S = 5.0
ANSWER_BYTES = 4 << 20
# How this server asks.
ITSELF = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "X-Remote-User": "system:kube-aggregator",
    "X-Remote-Group": "system:masters",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The condition Available, and what was heard on the way."""

    status: str
    reason: str
    message: str
    resources: metav1.APIResourceList | None = None


PASSED = "all checks passed"


async def examine(
    remote: Remote, storage: ObjectStorage, addresses: ServiceAddresses, session: aiohttp.ClientSession
) -> Verdict:
    """Look at one."""
    reference = remote.spec.service
    where = f'service/{reference.name} in "{reference.namespace}"'
    found = await storage.get(SERVICE, reference.namespace, reference.name)
    if found is None:
        return Verdict("False", "ServiceNotFound", f"{where} is not present")
    service = found.decode()
    if service.spec.type != "ExternalName":
        port = next((one for one in service.spec.ports if one.port == remote.port), None)
        if port is None:
            return Verdict("False", "ServicePortError", f"{where} is not listening on port {remote.port}")
        stored = await storage.get(ENDPOINTS, reference.namespace, reference.name)
        if stored is None:
            return Verdict("False", "EndpointsNotFound", f"cannot find endpoints for {where}")
        subsets = stored.decode().subsets
        if not any(subset.addresses and any(one.name == port.name for one in subset.ports) for subset in subsets):
            text = f'endpoints for {where} have no addresses with port name "{port.name}"'
            return Verdict("False", "MissingEndpoints", text)
    return await _ask(remote, addresses, session)


async def _ask(remote: Remote, addresses: ServiceAddresses, session: aiohttp.ClientSession) -> Verdict:
    url = f"https://{remote.host}:{remote.port}{remote.root}"
    try:
        host, port = await addresses.resolve(remote.spec.service.namespace, remote.spec.service.name, remote.port)
        scheme = "http" if remote.tls is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{remote.root}"
        async with session.get(
            url,
            headers=ITSELF,
            ssl=remote.tls or True,
            server_hostname=remote.host if remote.tls else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=CHECK_S),
        ) as answer:
            if answer.status != 200:
                raise ValueError(f"bad status from {url}: {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > ANSWER_BYTES:
                    raise ValueError(f"the answer is longer than {ANSWER_BYTES} bytes")
            resources: Any = codec.from_json(json.loads(body), metav1.APIResourceList)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError, ApiError) as failure:
        text = f"failing or missing response from {url}: {failure or type(failure).__name__}"
        return Verdict("False", "FailedDiscoveryCheck", text)
    return Verdict("True", "Passed", PASSED, resources)
