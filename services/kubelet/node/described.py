"""What this node is, from its configuration and its host: for its Pods, and for the API server."""

from pathlib import Path

from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import NodeContext
from navarch.services.kubelet.node.agent import NodeIdentity
from navarch.services.kubelet.node.host import Host, read_dns, read_load
from navarch.services.kubelet.node.status import most_pods


def node_context(config: Config, host: Host, host_ips: tuple[str, ...], layout: Layout) -> NodeContext:
    """What Pods are made with. host_ips: the node's own addresses, the first the one it is known by."""
    api_host, _, api_port = config.api_server.rpartition(":")
    return NodeContext(
        name=config.node_name,
        host_ips=host_ips,
        cpu_millicores=host.cpus * 1000,
        memory_bytes=host.memory_bytes,
        ephemeral_storage_bytes=read_load(Path(layout.root)).disk_bytes,
        cluster_dns=tuple(config.cluster_dns),
        cluster_domain=config.cluster_domain,
        host_dns=read_dns(config.resolv_conf),
        api_host=api_host,
        api_port=api_port,
        page_sizes=tuple(name.removeprefix("hugepages-") for name in sorted(host.hugepages)),
        seccomp_root=str(layout.root / "seccomp"),
        groups=config.groups.names,
    )


def node_identity(config: Config, host: Host, host_ips: tuple[str, ...]) -> NodeIdentity:
    """As what it registers."""
    return NodeIdentity(
        config.node_name,
        host_ips,
        most_pods(config.max_pods, config.pods_per_core, host.cpus),
        config.labels,
        config.taints,
        config.reserved,
        config.heartbeat_s,
        config.node.thresholds,
        config.node.provider_id,
        config.node.register,
    )
