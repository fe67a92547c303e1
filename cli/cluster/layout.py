"""Where a cluster on this host keeps its files and listens; decided once, at the first ``up``.

What was decided is written to ``cluster.json`` in the data directory, so that a later ``up`` or ``down``
of the same directory means the same cluster, and clusters side by side share no port, link or subnet.
"""

import hashlib
import ipaddress
import json
import os
import shutil
import socket
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from navarch.cli import durations
from navarch.cli.cluster.host import (
    can_run_containers,
    default_runtime,
    free_cidr,
    primary_address,
    subnets_in_use,
    why_simulated,
)
from navarch.cli.cluster.networks import Networks
from navarch.cli.errors import UsageError
from navarch.services.api.validation.names import dns_subdomain

DEFAULT_POD_CIDR = "10.244.0.0/16"
DEFAULT_SERVICE_CIDR = "10.96.0.0/16"
# A quiet cluster writes about two small revisions a second, some 5 MB an hour; one that starts 50 Pods a second all
# the time would write half a gigabyte. A store that fills up keeps less, see the API server's compaction.
DEFAULT_HISTORY = "1h"
CHANGEABLE = frozenset({"history", "load_balancer_pool"})
PORTS = {
    "apiserver": 7443,
    "apiserver-rest": 6443,
    "store": 2379,
    "scheduler": 10259,
    "controller-manager": 10257,
    "kubelet": 10250,
    "kubelet-grpc": 10350,
    "network": 10251,
    "proxy": 10249,
    "proxy-health": 10256,
    "dns": 10053,
    "dns-grpc": 10054,
    "dns-2": 10063,
    "dns-2-grpc": 10064,
    "cloud-controller": 10258,
    "announcer": 7946,
}
SETTINGS_FILE = "cluster.json"


# All that a cluster writes below its data directory, which may hold other things too; the settings go last.
FILES = (
    "admin.kubeconfig",
    "cni",
    "containerd",
    "kubelet",
    "logs",
    "pki",
    "run",
    "shim",
    "store",
    SETTINGS_FILE,
)
# "cri": one that is run elsewhere.
RUNTIMES = ("containerd", "simulated", "cri")
UNIX = "unix://"
# What the kernel takes, less the final zero.
SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user chose; None leaves it to us."""

    runtime: str | None = None
    bind_address: str | None = None
    port_offset: int | None = None
    pod_cidr: str | None = None
    service_cidr: str | None = None
    node_name: str | None = None
    store_endpoints: str | None = None
    store_ca: str | None = None
    store_cert: str | None = None
    store_key: str | None = None
    history: str | None = None
    runtime_endpoint: str | None = None
    load_balancer_pool: str | None = None


@dataclass(frozen=True)
class Layout:
    """A cluster's settings, and the paths and addresses that follow from them.

    store_endpoints: of a store or etcd that is run elsewhere; empty for one of our own. The files beside it are what
    the API server shows there. runtime_endpoint: of a CRI runtime that is run elsewhere, with a network of its own; ""
    for the private containerd. history: how long what was overwritten can still be read, as a duration.
    load_balancer_pool: ranges of addresses with commas between; "" for the node's own.
    """

    data_dir: Path
    node_name: str
    runtime: str
    bind_address: str
    port_offset: int
    pod_cidr: str
    service_cidr: str
    store_endpoints: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    history: str = DEFAULT_HISTORY
    runtime_endpoint: str = ""
    load_balancer_pool: str = ""

    @classmethod
    def load(cls, data_dir: Path) -> Self | None:
        """The cluster that lives in ``data_dir``, if one does."""
        path = data_dir / SETTINGS_FILE
        try:
            settings = json.loads(path.read_text())
            return cls(**{**settings, "data_dir": data_dir})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}); choose another --data-dir or delete it") from error

    @classmethod
    def decide(cls, data_dir: Path, asked: "Asked") -> Self:
        """Settings for a new cluster. Raises UsageError for those that cannot be."""
        in_use = subnets_in_use()
        layout = cls(
            data_dir=data_dir,
            node_name=asked.node_name or socket.gethostname().lower(),
            runtime=asked.runtime or default_runtime(asked.runtime_endpoint),
            bind_address=asked.bind_address or "127.0.0.1",
            port_offset=asked.port_offset or 0,
            pod_cidr=asked.pod_cidr or free_cidr(DEFAULT_POD_CIDR, in_use, "--pod-cidr"),
            service_cidr=asked.service_cidr or free_cidr(DEFAULT_SERVICE_CIDR, in_use, "--service-cidr"),
            store_endpoints=asked.store_endpoints or "",
            store_ca=asked.store_ca or "",
            store_cert=asked.store_cert or "",
            store_key=asked.store_key or "",
            history=asked.history or DEFAULT_HISTORY,
            runtime_endpoint=asked.runtime_endpoint or "",
            load_balancer_pool=asked.load_balancer_pool or "",
        )
        layout.check()
        return layout

    def check(self) -> None:
        """Raise UsageError that names the option at fault."""
        if self.runtime not in RUNTIMES:
            raise UsageError(f"--runtime {self.runtime!r}: accepted are {', '.join(RUNTIMES)}")
        if self.runtime == "containerd" and not can_run_containers():
            raise UsageError(f"--runtime containerd: {why_simulated()}; --runtime simulated works everywhere")
        if (self.runtime == "cri") != bool(self.runtime_endpoint):
            raise UsageError("--runtime cri and --runtime-endpoint need each other")
        if self.runtime_endpoint and not self.runtime_endpoint.startswith(UNIX):
            raise UsageError(f"--runtime-endpoint {self.runtime_endpoint!r}: accepted is {UNIX}/PATH")
        if self.runtime_endpoint and os.geteuid() != 0:
            raise UsageError("--runtime-endpoint: real containers need root")
        if faults := dns_subdomain(self.node_name):
            raise UsageError(f"--node-name {self.node_name!r}: {faults[0]}")
        try:
            ipaddress.IPv4Address(self.bind_address)
        except ValueError as error:
            raise UsageError(f"--bind-address: {error}") from error
        if len(self.networks.pods) > 1 and self.runtime == "simulated":
            raise UsageError(f"--pod-cidr {self.pod_cidr}: simulated containers have IPv4 addresses alone")
        if self.load_balancer_pool:
            if not self.has_links:
                raise UsageError("--load-balancer-pool: simulated containers cannot be reached at any address")
            self.networks.check_pool(self.load_balancer_pool, self.node_addresses)
        elsewhere = (self.store_endpoints, self.store_ca, self.store_cert, self.store_key)
        if any(elsewhere) and not all(elsewhere):
            raise UsageError("--store-endpoints needs --store-ca, --store-cert and --store-key, and they need it")
        durations.seconds(self.history, "--history")
        if len(os.fsencode(f"{self.containerd_socket}.ttrpc")) > SOCKET_PATH_BYTES:
            raise UsageError(f"--data-dir {self.data_dir} is too long a path: sockets below it could not be opened")

    def require_same(self, asked: "Asked") -> None:
        """Raise UsageError where something else is asked for than what this cluster was made with."""
        for name, value in asdict(asked).items():
            if value is not None and value != getattr(self, name) and name not in CHANGEABLE:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"the cluster in {self.data_dir} was made with {option} {getattr(self, name)}, not {value}. "
                    f"Leave {option} away, choose another --data-dir, or forget it: navarch down --delete-data"
                )

    def changed(self, asked: "Asked") -> Self:
        """With the settings that need not stay what they were. Raises UsageError for those that cannot be."""
        pool = self.load_balancer_pool if asked.load_balancer_pool is None else asked.load_balancer_pool
        layout = replace(self, history=asked.history or self.history, load_balancer_pool=pool)
        layout.check()
        return layout

    def save(self) -> None:
        """Write the settings where ``load`` finds them."""
        settings = asdict(self)
        del settings["data_dir"]
        staging = self.data_dir / f".{SETTINGS_FILE}"
        staging.write_text(json.dumps(settings, indent=2) + "\n")
        staging.replace(self.data_dir / SETTINGS_FILE)

    def delete_files(self) -> None:
        """Remove what a cluster writes, and the directory if it holds nothing else."""
        for name in FILES:
            path = self.data_dir / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.data_dir.iterdir()):
            self.data_dir.rmdir()

    @property
    def kubeconfig(self) -> Path:
        """The admin's credentials."""
        return self.data_dir / "admin.kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.data_dir / "pki"

    @property
    def containerd_socket(self) -> Path:
        """Where the private containerd listens."""
        return self.data_dir / "containerd" / "containerd.sock"

    @property
    def shim_socket(self) -> Path:
        """Where the runtime shim serves CRI."""
        return self.data_dir / "run" / "cri.sock"

    @property
    def cri_endpoint(self) -> str:
        """The runtime that the kubelet uses."""
        return self.runtime_endpoint or f"{UNIX}{self.shim_socket}"

    @property
    def cni_conf_dir(self) -> Path:
        """Where the network service writes the CNI configuration."""
        return self.data_dir / "cni"

    @property
    def suffix(self) -> str:
        """Tells this cluster's links and tables from another's; link names hold 15 bytes."""
        return hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        """The link that the Pods of this host hang on."""
        return f"nv-{self.suffix}"

    @property
    def cgroup_root(self) -> str:
        """The control group above all Pods of this cluster."""
        return f"/navarch-{self.suffix}"

    @property
    def nft_table(self) -> str:
        """The nftables table that hides Pod addresses from the outside."""
        return f"navarch_{self.suffix}"

    @property
    def proxy_table(self) -> str:
        """The nftables table that leads Services to their Pods."""
        return f"{self.nft_table}_services"

    @property
    def announcer_link(self) -> str:
        """The link that holds the addresses of load balancers."""
        return f"nvlb-{self.suffix}"

    @cached_property
    def networks(self) -> Networks:
        """Of Pods and Services. Raises UsageError."""
        return Networks.parse(self.pod_cidr, self.service_cidr)

    @property
    def node_pod_cidr(self) -> str:
        """The share of the first node, as the controller manager allocates it."""
        return str(self.networks.node_shares[0])

    @property
    def has_links(self) -> bool:
        """Whether there are Pods whose packets are real, so that addresses on this host must be, too."""
        return self.runtime != "simulated"

    @property
    def node_address(self) -> str:
        """Where Pods, and other nodes if there can be any, reach this host.

        A cluster on the loopback interface is reached on its own bridge, whatever networks the host joins and leaves.
        """
        bound = ipaddress.ip_address(self.bind_address)
        if not self.has_links:
            return self.host
        if bound.is_loopback:
            return self.gateway
        return (primary_address() or self.gateway) if bound.is_unspecified else self.bind_address

    @property
    def node_addresses(self) -> tuple[str, ...]:
        """One of each version of IP that Pods have. Over IPv6 the node is reached on its bridge."""
        return (self.node_address, *self.networks.gateways[1:])

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return self.networks.gateways[0]

    @property
    def host(self) -> str:
        """Where processes of this host reach the services."""
        return "127.0.0.1" if self.bind_address == "0.0.0.0" else self.bind_address

    def port(self, service: str) -> int:
        """At which a service listens."""
        return PORTS[service] + self.port_offset

    def address(self, service: str) -> str:
        """host:port at which a service is reached."""
        return f"{self.host}:{self.port(service)}"

    def listen(self, service: str) -> str:
        """host:port at which a service listens."""
        return f"{self.bind_address}:{self.port(service)}"

    def listen_to_pods(self, service: str) -> str:
        """host[,host]:port at which a service listens that Pods have to reach."""
        hosts = [self.bind_address]
        if self.bind_address != "0.0.0.0" and self.node_address != self.bind_address:
            hosts.append(self.node_address)
        return f"{','.join(hosts)}:{self.port(service)}"

    def listen_on_node(self, service: str) -> str:
        """host:port at which a service of the node listens."""
        host = self.bind_address if self.bind_address == "0.0.0.0" else self.node_address
        return f"{host}:{self.port(service)}"

    def require_free_ports(self) -> None:
        """Raise UsageError when another program listens where a service wants to."""
        for service, port in PORTS.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.bind_address, port + self.port_offset))
                except OSError as error:
                    raise UsageError(
                        f"{service} cannot listen on {self.listen(service)}: {error.strerror}. "
                        "Another cluster? --port-offset N moves all ports"
                    ) from error
