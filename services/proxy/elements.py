"""The elements of maps and sets that a frontend is made of. Keys and values as nft writes them."""

from collections.abc import Iterator
from typing import NamedTuple

from navarch.services.proxy.chains import Handling, endpoints_map, verdict
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import Frontend, FrontendId


class Place(NamedTuple):
    """A key in a container."""

    container: str
    key: str


# The value is "" in a set.
Element = tuple[Place, str]


def port_key(id: FrontendId) -> str:
    """What packets to this frontend have in common."""
    port = f"{id.protocol} . {id.port}"
    return f"{id.address} . {port}" if id.address else port


def target_key(id: FrontendId) -> str:
    """What the slots of a frontend have in common in the maps of its protocol."""
    return f"{id.address} . {id.port}" if id.address else str(id.port)


def target_value(target: Target) -> str:
    """As a map of targets holds it."""
    return f"{target.address} . {target.port}"


def frontend_elements(frontend: Frontend, handling: Handling | None) -> Iterator[Element]:
    """All elements of a frontend. handling: None where it has no targets."""
    family = f"{frontend.id.family:d}"
    key = port_key(frontend.id)
    by_port = not frontend.id.address
    yield Place(f"{'node-ports' if by_port else 'frontends'}{family}", key), verdict(frontend, handling)
    number = target_key(frontend.id)
    for local, targets in ((False, frontend.targets), (True, frontend.local_targets)):
        name = endpoints_map(frontend.id.family, frontend.id.protocol, by_port=by_port, local=local)
        for slot, target in enumerate(targets):
            yield Place(name, f"{number} . {slot}"), target_value(target)
    for cidr in frontend.ranges:
        yield Place(f"source-ranges{family}", f"{key} . {cidr}"), ""


def cluster_ip_element(address: str) -> Element:
    """Of an address whose other ports are refused."""
    return Place(f"cluster-ips{_family(address):d}", address), ""


def hairpin_element(address: str) -> Element:
    """Of a Pod of this node that may reach itself."""
    return Place(f"hairpin{_family(address):d}", f"{address} . {address}"), ""


def _family(address: str) -> Family:
    return Family.V6 if ":" in address else Family.V4
