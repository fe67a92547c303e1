"""The resolver of a Pod, by its dnsPolicy and dnsConfig, within the limits that resolvers have. Pure."""

from collections.abc import Sequence

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.references import NodeContext

# What glibc takes in, and what Kubernetes allows.
NAMESERVERS = 3
SEARCHES, SEARCH_LINE_LENGTH, SEARCH_LENGTH = 32, 2048, 253


def dns_config(pod: corev1.Pod, node: NodeContext) -> criv1.DNSConfig:
    """What the Pod's resolv.conf says."""
    wanted = _wanted(pod, node)
    return criv1.DNSConfig(
        servers=wanted.servers[:NAMESERVERS], searches=_fitting(wanted.searches), options=wanted.options
    )


def dns_warnings(pod: corev1.Pod, node: NodeContext) -> list[tuple[str, str]]:
    """Reasons and messages of the Events that tell what the Pod does not get of what it wants."""
    wanted, given = _wanted(pod, node), dns_config(pod, node)
    warnings = []
    if _in_cluster(pod) and not node.cluster_dns:
        metadata = pod.metadata
        message = (
            f'pod: "{metadata.name}_{metadata.namespace}({metadata.uid})". kubelet does not have ClusterDNS IP '
            'configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.'
        )
        warnings.append(("MissingClusterDNS", message))
    for what, parts, line, asked, applied in (
        ("Nameserver", "nameservers", "nameserver", wanted.servers, given.servers),
        ("Search Line", "search paths", "search", wanted.searches, given.searches),
    ):
        if asked != applied:
            text = (
                f"{what} limits were exceeded, some {parts} have been omitted, the applied {line} line is: "
                f"{' '.join(applied)}"
            )
            warnings.append(("DNSConfigForming", text))
    return warnings


def _in_cluster(pod: corev1.Pod) -> bool:
    policy = pod.spec.dns_policy or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.host_network)


def _wanted(pod: corev1.Pod, node: NodeContext) -> criv1.DNSConfig:
    host = node.host_dns
    if pod.spec.dns_policy == "None":
        config = criv1.DNSConfig()
    elif _in_cluster(pod) and node.cluster_dns:
        domain = node.cluster_domain
        own = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain)
        config = criv1.DNSConfig(servers=node.cluster_dns, searches=[*own, *host.searches], options=["ndots:5"])
    else:
        config = criv1.DNSConfig(servers=host.servers, searches=host.searches, options=host.options)
    extra = pod.spec.dns_config
    options = {name: text for text in config.options for name in [text.partition(":")[0]]}
    for option in extra.options:
        options.pop(option.name, None)
        options[option.name] = f"{option.name}:{option.value}" if option.value else option.name
    return criv1.DNSConfig(
        servers=dict.fromkeys([*config.servers, *extra.nameservers]),
        searches=dict.fromkeys([*config.searches, *extra.searches]),
        options=options.values(),
    )


def _fitting(searches: Sequence[str]) -> list[str]:
    """As many as there may be, from the first on, without those that some resolvers abort over."""
    fitting = [search for search in searches[:SEARCHES] if len(search) <= SEARCH_LENGTH]
    while len(" ".join(fitting)) > SEARCH_LINE_LENGTH:
        fitting.pop()
    return fitting
