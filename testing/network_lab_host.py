"""A host of a `NetworkLab`: where it hangs in the network, and the services that run on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from navarch.testing.namespaced_host import NamespacedHost, NamespacedProcess

if TYPE_CHECKING:
    from navarch.testing.network_lab import NetworkLab

POD_CIDRS = ("10.244.0.0/16", "fd01::/56")
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")
CLUSTER_DNS = "10.96.0.10"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class Topology:
    """links: for each host the number of its link, 1 or 2; the control plane is on link 1. dual_stack: IPv6 too."""

    links: tuple[int, ...] = (1, 1, 1)
    dual_stack: bool = False

    def subnet(self, link: int) -> str:
        """The first three bytes of a link's addresses."""
        return f"172.30.{link}"

    def addresses(self, link: int, number: int) -> list[str]:
        """Of a host on a link, with prefix length: IPv4, and IPv6 where there is."""
        return [f"{self.subnet(link)}.{number}/24", *([f"fd00:30:{link}::{number}/64"] if self.dual_stack else [])]

    @property
    def pod_cidrs(self) -> str:
        """Of all Pods, as options have it."""
        return ",".join(POD_CIDRS if self.dual_stack else POD_CIDRS[:1])

    @property
    def service_cidrs(self) -> str:
        """Of all Services, as options have it."""
        return ",".join(SERVICE_CIDRS if self.dual_stack else SERVICE_CIDRS[:1])


@dataclass(frozen=True, slots=True)
class HostService:
    """A further service on each host. main: the module that has it. user: its name and groups, by node.

    arguments: its command line, but for API server and certificates.
    """

    name: str
    main: str
    user: Callable[[str], tuple[str, ...]]
    arguments: Callable[["LabHost"], Sequence[str]] = lambda _: ()


@dataclass
class LabHost:
    """A host of the lab, which is a node. addresses: without prefix length, the first is the primary one."""

    name: str
    link: int
    number: int
    directory: Path
    lab: "NetworkLab"
    namespaces: NamespacedHost
    processes: dict[str, NamespacedProcess] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Without prefix length; IPv4 first."""
        found = self.lab.topology.addresses(self.link, self.number)
        return [address.partition("/")[0] for address in found]

    @property
    def port(self) -> str:
        """The name of its port at the switch."""
        return self.name.replace("-", "")

    @property
    def cri_socket(self) -> Path:
        """Of the runtime shim; reached from outside of the namespaces, too."""
        return self.directory / "cri.sock"

    @property
    def cni_conf_dir(self) -> Path:
        """Where the network agent writes."""
        return self.directory / "cni"

    def start(self, service: str, *options: str) -> None:
        """Start a service, with its usual command line and these further options."""
        command = [*self.lab.program(service), *self._arguments(service), *options]
        self.processes[service] = self.namespaces.start(command, self.log(service))

    def kill(self, service: str) -> None:
        """End a service by SIGKILL."""
        self.processes.pop(service).kill()

    def log(self, service: str) -> Path:
        """What a service has said."""
        return self.directory / f"{service}.log"

    def _arguments(self, service: str) -> list[str]:
        match service:
            case "containerd":
                return [f"--data-dir={self.directory}"]
            case "shim":
                return [
                    f"--listen={self.cri_socket}",
                    f"--containerd-address={self.directory / 'containerd' / 'containerd.sock'}",
                    f"--state-dir={self.directory / 'shim'}",
                    f"--cni-conf-dir={self.cni_conf_dir}",
                ]
            case "kubelet":
                return [
                    *self.lab.identity(f"kubelet-{self.name}", f"system:node:{self.name}", "system:nodes"),
                    f"--node-name={self.name}",
                    f"--runtime-endpoint=unix://{self.cri_socket}",
                    f"--root-dir={self.directory / 'kubelet'}",
                    "--listen=0.0.0.0:10250",
                    "--grpc-listen=0.0.0.0:10350",
                    f"--node-ip={','.join(self.addresses)}",
                    f"--cgroup-root={self.lab.cgroup_root}/{self.name}",
                    f"--cluster-dns={CLUSTER_DNS}",
                    "--eviction-hard=memory.available<50Mi",
                    "--image-gc-high-threshold=100",
                ]
            case "network":
                user = f"system:navarch-network:{self.name}"
                return [
                    *self.lab.identity(f"network-{self.name}", user, "system:navarch-network"),
                    f"--node-name={self.name}",
                    f"--cni-conf-dir={self.cni_conf_dir}",
                    f"--cluster-cidr={self.lab.topology.pod_cidrs}",
                    f"--service-cidr={self.lab.topology.service_cidrs}",
                    f"--runtime-endpoint=unix://{self.cri_socket}",
                    f"--listen={self.socket('network')}",
                ]
        extra = self.lab.extra[service]
        return [*self.lab.identity(f"{service}-{self.name}", *extra.user(self.name)), *extra.arguments(self)]

    def socket(self, service: str) -> str:
        """Where a service of the host serves gRPC so that tests reach it: a socket in the file system."""
        return f"unix:{self.directory / service}.sock"

    def channel(self, service: str) -> grpc.aio.Channel:
        """To a service that listens on its `socket`, as an administrator. The caller closes it."""
        credentials = self.lab.credentials("admin", MASTERS).channel()
        # A socket has no name that a certificate could have.
        return grpc.aio.secure_channel(
            self.socket(service), credentials, options=[("grpc.ssl_target_name_override", "localhost")]
        )


def _proxy(host: LabHost) -> list[str]:
    return [
        f"--node-name={host.name}",
        f"--cluster-cidr={host.lab.topology.pod_cidrs}",
        f"--service-cidr={host.lab.topology.service_cidrs}",
        f"--listen={host.socket('proxy')}",
        f"--healthz-bind-address={host.addresses[0]}:10256",
    ]


PROXY = HostService("proxy", "navarch.services.proxy.main", lambda _: ("system:kube-proxy",), _proxy)
