"""Where a proxied request goes: `name`, `name:port` or `scheme:name:port` of a Pod, a Service or a Node."""

import ipaddress
import random
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import BadRequest, ServiceUnavailable
from navarch.services.apiserver.kubelets.directory import host_of, joined, kubelet_address

NOT_ALLOWED = "address not allowed"


@dataclass(frozen=True, slots=True)
class Name:
    """What a path names. scheme and port: "" for none."""

    scheme: str
    name: str
    port: str


@dataclass(frozen=True, slots=True)
class Backend:
    """Where to. to_kubelet: with the API server's certificate, and checking the other's."""

    scheme: str
    address: str
    to_kubelet: bool = False


def parse_name(text: str, what: str) -> Name:
    """Read a name of a path. Raises BadRequest."""
    words = text.split(":")
    match words:
        case [name]:
            found = Name("", name, "")
        case [name, port]:
            found = Name("", name, port)
        case [scheme, name, port] if scheme in ("", "http", "https"):
            found = Name(scheme, name, port)
        case _:
            raise BadRequest(f"invalid {what} request {text!r}".replace("'", '"'))
    if not found.name:
        raise BadRequest(f"invalid {what} request {text!r}".replace("'", '"'))
    return found


def of_pod(pod: corev1.Pod, asked: Name) -> Backend:
    """A Pod, by default at the first port that it names. Raises BadRequest."""
    port = asked.port
    if not port:
        port = next((str(p.container_port) for one in pod.spec.containers for p in one.ports), "")
    if port and not (port.isascii() and port.isdecimal()):
        # More than a number would make another URL of it: "80@elsewhere".
        raise BadRequest(f'invalid pod request "{asked.name}:{port}"')
    ip = pod.status.pod_ip
    _require_allowed(ip)
    scheme = asked.scheme or "http"
    return Backend(scheme, joined(ip, port or (443 if scheme == "https" else 80)))


def of_service(service: corev1.Service, endpoints: corev1.Endpoints | None, asked: Name, rng: random.Random) -> Backend:
    """One of the ready endpoints of a Service. Raises ServiceUnavailable."""
    port = asked.port
    if port.isascii() and port.isdecimal():
        named = next((one.name for one in service.spec.ports if one.port == int(port)), None)
        if named is None:
            raise ServiceUnavailable(f'no service port {port} found for service "{asked.name}"')
        port = named
    found = [
        (address.ip, entry.port)
        for subset in (endpoints.subsets if endpoints else ())
        for entry in subset.ports
        if entry.name == port or (not asked.port and len(service.spec.ports) == 1)
        for address in subset.addresses
    ]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{asked.name}"')
    ip, number = rng.choice(found)
    _require_allowed(ip)
    return Backend(asked.scheme or "http", joined(ip, number))


def of_node(node: corev1.Node, asked: Name) -> Backend:
    """The kubelet of a Node, or another port there. Raises BadRequest, ServiceUnavailable."""
    kubelet = kubelet_address(node)
    host = host_of(node)
    if not asked.port or joined(host, asked.port) == kubelet:
        return Backend("https", kubelet, to_kubelet=True)
    if not (asked.port.isascii() and asked.port.isdecimal()):
        raise BadRequest(f'invalid node request "{asked.name}:{asked.port}"')
    _require_allowed(host)
    return Backend(asked.scheme or "http", joined(host, asked.port))


def _require_allowed(host: str) -> None:
    """Nobody reaches the API server's own host, or its links, through its proxy."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise BadRequest(NOT_ALLOWED) from None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise BadRequest(NOT_ALLOWED)
