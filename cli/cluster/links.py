"""The bridge of a cluster on this host, with the address at which Pods reach its services.

It is made before the services start, for they listen there; the network service and the CNI plugins find it as they
would make it. Where another runtime brings its own network, the bridge carries nothing but that address.
"""

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from navarch.cli.cluster.layout import Layout
from navarch.cli.errors import UsageError

EXISTS = 17
IFA_F_NODAD = 0x02


def ensure_bridge(layout: Layout) -> None:
    """Have the bridge, its address, and the way to Services. Idempotent. Raises UsageError.

    The kernel must know some way to an address of a Service before the proxy's rules can lead it elsewhere, also on a
    host without a default route; and what no Service has stays on this host.
    """
    own_network = layout.runtime == "containerd"
    with IPRoute() as route:
        try:
            found = route.link_lookup(ifname=layout.bridge)
            if not found:
                route.link("add", ifname=layout.bridge, kind="bridge")
                found = route.link_lookup(ifname=layout.bridge)
            index = found[0]
            networks = layout.networks
            for share, gateway in zip(networks.node_shares, networks.gateways, strict=True):
                _tolerate_existing(route, index, gateway, share.prefixlen if own_network else share.max_prefixlen)
            route.link("set", index=index, state="up")
            for services, gateway in zip(networks.services, networks.gateways, strict=False):
                route.route("replace", dst=str(services), oif=index, prefsrc=gateway)
        except NetlinkError as failure:
            raise UsageError(f"the link {layout.bridge} with {layout.gateway} cannot be made: {failure}") from failure


def _tolerate_existing(route: IPRoute, index: int, address: str, prefix: int) -> None:
    try:
        # Services listen there at once.
        flags = {"flags": IFA_F_NODAD} if ":" in address else {}
        route.addr("add", index=index, address=address, prefixlen=prefix, **flags)
    except NetlinkError as failure:
        if failure.code != EXISTS:
            raise


def remove_bridge(layout: Layout) -> None:
    """Take it away, with its routes. Idempotent."""
    with IPRoute() as route:
        for index in route.link_lookup(ifname=layout.bridge):
            route.link("del", index=index)
