"""The bridge of a cluster on this host, with the address at which Pods reach its services.

It is made before the services start, for they listen there; the network service and the CNI plugins find it as they
would make it. Where another runtime brings its own network, the bridge carries nothing but that address.
"""

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from navarch.cli.cluster.layout import NODE_PREFIX, Layout
from navarch.cli.errors import UsageError

EXISTS = 17


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
            _tolerate_existing(route, index, layout.gateway, NODE_PREFIX if own_network else 32)
            route.link("set", index=index, state="up")
            route.route("replace", dst=layout.service_cidr, oif=index, prefsrc=layout.gateway)
        except NetlinkError as failure:
            raise UsageError(f"the link {layout.bridge} with {layout.gateway} cannot be made: {failure}") from failure


def _tolerate_existing(route: IPRoute, index: int, address: str, prefix: int) -> None:
    try:
        route.addr("add", index=index, address=address, prefixlen=prefix)
    except NetlinkError as failure:
        if failure.code != EXISTS:
            raise


def remove_bridge(layout: Layout) -> None:
    """Take it away, with its routes. Idempotent."""
    with IPRoute() as route:
        for index in route.link_lookup(ifname=layout.bridge):
            route.link("del", index=index)
