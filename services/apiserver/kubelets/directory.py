"""Finds the kubelet of a node, and owns the connections to all of them."""

import asyncio
import ssl

import aiohttp
import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import BadRequest, ServiceUnavailable
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver import outbound
from navarch.services.apiserver.kubelets.grpc import GrpcKubelet
from navarch.services.apiserver.kubelets.https import HttpsKubelet
from navarch.services.apiserver.kubelets.kubelet import Kubelet
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import channel
from navarch.services.base.tls_context import client_context

POD = KINDS.of(corev1.Pod)
NODE = KINDS.of(corev1.Node)
KUBELET_PORT = 10250
# Where a node offers navarch.v1.Node. A port only: the host is the node's, whatever its kubelet claims.
GRPC_PORT_ANNOTATION = "navarch.dev/kubelet-grpc-port"
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")


class Kubelets:
    """All nodes' kubelets. credentials: what is shown to them; None for plain text, in tests."""

    def __init__(self, core: Core, credentials: Credentials | None) -> None:
        self._core = core
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._session: aiohttp.ClientSession | None = None
        self._untrusting: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Close all connections."""
        channels, self._channels = self._channels, {}
        await asyncio.gather(*(one.close() for one in channels.values()))
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def of_pod(self, pod: corev1.Pod) -> Kubelet:
        """The kubelet that runs a Pod. Raises BadRequest, ServiceUnavailable."""
        if not pod.spec.node_name:
            raise BadRequest(f"pod {pod.metadata.name} does not have a host assigned")
        node = (await self._core.newest(Target(NODE, "", pod.spec.node_name))).decode()
        assert isinstance(node, corev1.Node)
        return self.of_node(node)

    def of_node(self, node: corev1.Node) -> Kubelet:
        """The kubelet of a node. Raises ServiceUnavailable where the node does not say where that is."""
        port = node.metadata.annotations.get(GRPC_PORT_ANNOTATION, "")
        if port.isascii() and port.isdecimal():
            return GrpcKubelet(self._channel(joined(host_of(node), int(port))))
        return HttpsKubelet(self.session(), kubelet_address(node), self._untrusting)

    def _channel(self, address: str) -> grpc.aio.Channel:
        known = self._channels.get(address)
        if known is None:
            known = self._channels[address] = channel(address, self._credentials)
        return known

    def session(self) -> aiohttp.ClientSession:
        """Requests to kubelets: shows the API server's certificate, and trusts the authority's."""
        if self._session is None:
            context = None if self._credentials is None else client_context(self._credentials)
            if self._credentials is not None:
                self._untrusting = client_context(self._credentials)
                self._untrusting.check_hostname = False
                self._untrusting.verify_mode = ssl.CERT_NONE
            self._session = outbound.session(context)
        return self._session

    @property
    def scheme(self) -> str:
        """How kubelets are called."""
        return "http" if self._credentials is None else "https"


def host_of(node: corev1.Node) -> str:
    """Where a node is. Raises ServiceUnavailable for a node that does not say."""
    by_type = {address.type: address.address for address in reversed(node.status.addresses)}
    host = next((by_type[one] for one in ADDRESS_TYPES if one in by_type), "")
    if not host:
        raise ServiceUnavailable(f"no preferred addresses found; known addresses: {sorted(by_type)}")
    return host


def kubelet_address(node: corev1.Node) -> str:
    """Where the kubelet of a node serves HTTPS. Raises ServiceUnavailable."""
    return joined(host_of(node), node.status.daemon_endpoints.kubelet_endpoint.port or KUBELET_PORT)


def joined(host: str, port: int | str) -> str:
    """host:port, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
