"""The CRI configuration of a Pod's sandbox, and its /etc/hosts."""

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.dns import dns_config
from navarch.services.kubelet.core.linux_resources import pod_resources
from navarch.services.kubelet.core.observed import NAME_LABEL, NAMESPACE_LABEL, UID_LABEL
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, NodeContext
from navarch.services.kubelet.core.security import sandbox_security
from navarch.services.kubelet.core.static_pods import CONFIG_SOURCE
from navarch.services.kubelet.core.sysctls import normal_name

HOSTNAME_LENGTH = 63
# __NEW_UTS_LEN
KERNEL_NAME_LENGTH = 64
PROTOCOLS = {"": criv1.TCP, "TCP": criv1.TCP, "UDP": criv1.UDP, "SCTP": criv1.SCTP}
LOCAL_HOSTS = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "fe00::\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


def pod_labels(pod: corev1.Pod) -> dict[str, str]:
    """The labels by which a Pod's sandboxes and containers are found again."""
    metadata = pod.metadata
    return {NAME_LABEL: metadata.name, NAMESPACE_LABEL: metadata.namespace, UID_LABEL: metadata.uid}


def sandbox_config(
    pod: corev1.Pod, attempt: int, layout: Layout, node: NodeContext, users: criv1.UserNamespace | None = None
) -> criv1.PodSandboxConfig:
    """The sandbox of a Pod. Deterministic: the same Pod gives the same configuration. users: its user namespace."""
    metadata = pod.metadata
    config = criv1.PodSandboxConfig(
        metadata=criv1.PodSandboxMetadata(
            name=metadata.name, uid=metadata.uid, namespace=metadata.namespace, attempt=attempt
        ),
        hostname=sandbox_hostname(pod, node),
        log_directory=str(layout.log_directory(pod)),
        dns_config=dns_config(pod, node),
        labels={**metadata.labels, **pod_labels(pod)},
        annotations={CONFIG_SOURCE: "api", **metadata.annotations},
        linux=criv1.LinuxPodSandboxConfig(
            cgroup_parent=node.groups.parent(pod),
            security_context=sandbox_security(pod, users),
            sysctls={normal_name(sysctl.name): sysctl.value for sysctl in pod.spec.security_context.sysctls},
            resources=pod_resources(pod),
        ),
    )
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        for port in container.ports:
            if port.host_port and not pod.spec.host_network:
                config.port_mappings.add(
                    protocol=PROTOCOLS[port.protocol],
                    container_port=port.container_port,
                    host_port=port.host_port,
                    host_ip=port.host_ip,
                )
    return config


def hostname_and_domain(pod: corev1.Pod, node: NodeContext) -> tuple[str, str]:
    """The Pod's own host name, and its domain where it has a subdomain."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override, ""
    hostname = (pod.spec.hostname or pod.metadata.name)[:HOSTNAME_LENGTH].rstrip("-.")
    domain = ""
    if pod.spec.subdomain:
        domain = f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{node.cluster_domain}"
    return hostname, domain


def sandbox_hostname(pod: corev1.Pod, node: NodeContext) -> str:
    """What `hostname` says in the Pod; the runtime leaves the host's in a Pod on the host's network."""
    if pod.spec.host_network:
        return ""
    hostname, domain = hostname_and_domain(pod, node)
    return f"{hostname}.{domain}" if domain and pod.spec.set_hostname_as_fqdn else hostname


def check_hostname(pod: corev1.Pod, node: NodeContext) -> None:
    """Raise ConfigError for a name that the kernel cannot hold."""
    name = sandbox_hostname(pod, node)
    if len(name) > KERNEL_NAME_LENGTH:
        raise ConfigError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long "
            f"({KERNEL_NAME_LENGTH} characters is the max, {len(name)} characters requested)"
        )


def hosts_file(pod: corev1.Pod, node: NodeContext, pod_ips: tuple[str, ...], host_content: str) -> str:
    """The content of the Pod's /etc/hosts. host_content: the host's own, for Pods on its network."""
    if pod.spec.host_network:
        lines = ["# Kubernetes-managed hosts file (host network).", *host_content.splitlines()]
    else:
        hostname, domain = hostname_and_domain(pod, node)
        names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        lines = ["# Kubernetes-managed hosts file.", *LOCAL_HOSTS, *(f"{ip}\t{names}" for ip in pod_ips)]
    if pod.spec.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias.ip, *alias.hostnames]) for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"
