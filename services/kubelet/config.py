"""What a kubelet is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.tls import Credentials
from navarch.services.kubelet.certificates.options import CertificateOptions
from navarch.services.kubelet.node.cpu_options import CpuOptions
from navarch.services.kubelet.node.group_options import NO_GROUPS, GroupOptions
from navarch.services.kubelet.node.options import NodeOptions
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.sources.options import SourceOptions


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration of one kubelet. credentials: None for plain text, in tests.

    can_mount: whether tmpfs can be mounted for emptyDir volumes of medium Memory (needs root). node_ip: one address,
    or one of each family with a comma between; "" for the address from which the host reaches others. heartbeat_s:
    how often the lease is renewed and the host looked at.
    """

    node_name: str
    api_server: str
    runtime_endpoint: str
    root_dir: Path
    credentials: Credentials | None = None
    # How the kubelet gets and renews its own; None where `credentials` are all there is.
    certificates: CertificateOptions | None = None
    # Served with instead: certificate and key, which somebody else renews.
    serving_files: tuple[Path, Path] | None = None
    # By which authority callers are known; by default the API server's.
    client_ca_file: Path | None = None
    # What follows from all that, see `NodeCredentials`.
    serving: Credentials | None = None
    # The endpoints of Kubernetes, by HTTPS; and navarch.v1.Node, "" for not at all.
    listen: str = "127.0.0.1:10250"
    grpc_listen: str = "127.0.0.1:10350"
    node_ip: str = ""
    pod_cidr: str = ""
    cluster_dns: Sequence[str] = ()
    cluster_domain: str = "cluster.local"
    # The resolver configuration that Pods with dnsPolicy Default get.
    resolv_conf: str = "/etc/resolv.conf"
    max_pods: int = 110
    # 0 for any number up to max_pods.
    pods_per_core: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[corev1.Taint] = ()
    # In all; and as it was given, for the parts of Kubernetes and for the rest of the host.
    reserved: Reservations = field(default_factory=Reservations)
    kube_reserved: Reservations = field(default_factory=Reservations)
    system_reserved: Reservations = field(default_factory=Reservations)
    node: NodeOptions = field(default_factory=NodeOptions)
    can_mount: bool = True
    heartbeat_s: float = 10.0
    # Of a process of its own, its command line's; in others no group is made.
    groups: GroupOptions = NO_GROUPS
    cpus: CpuOptions = field(default_factory=CpuOptions)
    # Where static Pods come from.
    sources: SourceOptions = field(default_factory=SourceOptions)
    # Whether requests without credentials are asked about at the API server, as of system:anonymous.
    anonymous_auth: bool = False
