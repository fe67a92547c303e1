"""The processes of a cluster on one host, in the order of their start.

Services are named by module, not imported: only the supervisor, in a process of its own, loads them.
"""

import sys

from navarch.cli import durations
from navarch.cli.cluster.certificates import flags, service_account_key
from navarch.cli.cluster.layout import Layout
from navarch.services.base.supervisor import CommandSpec, ServiceSpec, Spec

MODULES = {
    "store": "navarch.services.store.main:main",
    "apiserver": "navarch.services.apiserver.main:main",
    "runtime-shim": "navarch.runtime_shim.main:main",
    "network": "navarch.services.network.main:main",
    "kubelet": "navarch.services.kubelet.main:main",
    "controller-manager": "navarch.services.controller_manager.main:main",
    "scheduler": "navarch.services.scheduler.main:main",
    "proxy": "navarch.services.proxy.main:main",
    "dns": "navarch.services.dns.main:main",
    "dns-2": "navarch.services.dns.main:main",
    "cloud-controller": "navarch.services.cloud_controller.main:main",
    "announcer": "navarch.services.cloud_controller.announcer.main:main",
}


# The disk is the user's: that it is nine tenths full is no reason to end Pods, or to throw loaded images away.
HOST_SHARED = (
    "--eviction-hard=memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%,imagefs.available<1%",
    "--image-gc-high-threshold=100",
)
# Simulated containers need none, and not every user may make them.
NO_GROUPS = ("--cgroups-per-qos=false", "--enforce-node-allocatable=none")


def specs(layout: Layout) -> list[Spec]:
    """What the supervisor is to run."""
    real = layout.runtime == "containerd"
    services = [] if layout.store_endpoints else ["store"]
    services += ["apiserver"]
    # A runtime that is run elsewhere has its own network.
    services += [] if layout.runtime_endpoint else ["runtime-shim", *(["network"] if real else [])]
    services += ["kubelet", "controller-manager", "scheduler"]
    services += ["proxy", "dns", "dns-2", "cloud-controller"] if layout.has_links else []
    services += ["announcer"] if layout.load_balancer_pool else []
    commands: list[Spec] = [CommandSpec("containerd", containerd_command(layout))] if real else []
    return commands + [ServiceSpec(name, MODULES[name], arguments(layout, name)) for name in services]


def containerd_command(layout: Layout) -> list[str]:
    """Writes the configuration of the private containerd and becomes it."""
    return [sys.executable, "-m", "navarch.runtime_shim.containerd.daemon", f"--data-dir={layout.data_dir}"]


def purge_command(layout: Layout) -> list[str]:
    """Removes every container of the cluster and what belongs to it."""
    return [
        sys.executable,
        "-m",
        "navarch.runtime_shim.containerd.purge",
        f"--data-dir={layout.data_dir}",
        f"--cgroup-root={layout.cgroup_root}",
    ]


def network_removal_command(layout: Layout) -> list[str]:
    """Removes the bridge, the nftables table and the CNI configuration."""
    return [sys.executable, "-m", "navarch.services.network.main", "--remove", *arguments(layout, "network")]


def proxy_removal_command(layout: Layout) -> list[str]:
    """Removes the nftables table of Services."""
    return [sys.executable, "-m", "navarch.services.proxy.main", "--remove", f"--table={layout.proxy_table}"]


def announcer_removal_command(layout: Layout) -> list[str]:
    """Lets go of the addresses of load balancers."""
    program = [sys.executable, "-m", "navarch.services.cloud_controller.announcer.main", "--remove"]
    return [*program, *arguments(layout, "announcer")]


def arguments(layout: Layout, service: str) -> list[str]:
    """The command line of one service."""
    api_server = f"--api-server={layout.address('apiserver')}"
    match service:
        case "store":
            return [
                f"--data-dir={layout.data_dir / 'store'}",
                f"--listen-client={layout.listen('store')}",
                *flags(layout, "store"),
            ]
        case "apiserver":
            return [
                f"--store-endpoints={layout.store_endpoints or layout.address('store')}",
                *_store_identity(layout),
                f"--listen={layout.listen_to_pods('apiserver')}",
                f"--rest-listen={layout.listen_to_pods('apiserver-rest')}",
                f"--service-cidr={layout.service_cidr}",
                f"--advertise-address={layout.node_address}",
                f"--history={durations.seconds(layout.history)}",
                f"--service-account-key-file={service_account_key(layout)}",
                *flags(layout, "apiserver"),
            ]
        case "runtime-shim":
            return _shim(layout)
        case "network":
            return [
                api_server,
                f"--node-name={layout.node_name}",
                f"--listen={layout.listen('network')}",
                f"--bridge={layout.bridge}",
                f"--cni-conf-dir={layout.cni_conf_dir}",
                f"--table={layout.nft_table}",
                f"--cluster-cidr={layout.pod_cidr}",
                f"--service-cidr={layout.service_cidr}",
                f"--runtime-endpoint={layout.cri_endpoint}",
                *flags(layout, "network"),
            ]
        case "proxy":
            return [
                api_server,
                f"--node-name={layout.node_name}",
                f"--listen={layout.listen('proxy')}",
                f"--healthz-bind-address={layout.listen_on_node('proxy-health')}",
                f"--table={layout.proxy_table}",
                f"--cluster-cidr={layout.pod_cidr}",
                f"--service-cidr={layout.service_cidr}",
                *flags(layout, "proxy"),
            ]
        case "dns" | "dns-2":
            return [
                api_server,
                f"--listen-dns={layout.listen_on_node(service)}",
                f"--listen={layout.listen(f'{service}-grpc')}",
                f"--identity={layout.node_name}-{service}",
                f"--advertise-address={layout.node_address}",
                f"--node-name={layout.node_name}",
                f"--cluster-ip={layout.networks.dns_address}",
                # It stops only with the cluster: there is nobody left to answer.
                "--drain=0",
                f"--cluster-cidr={layout.pod_cidr}",
                f"--cluster-cidr={layout.service_cidr}",
                *flags(layout, "dns"),
            ]
        case "cloud-controller":
            return [
                api_server,
                f"--listen={layout.listen('cloud-controller')}",
                f"--identity={layout.node_name}",
                *(f"--load-balancer-pool={one}" for one in filter(None, layout.load_balancer_pool.split(","))),
                *flags(layout, "cloud-controller"),
            ]
        case "announcer":
            return [
                api_server,
                f"--node-name={layout.node_name}",
                f"--node-ip={','.join(layout.node_addresses)}",
                f"--heartbeat-port={layout.port('announcer')}",
                f"--link={layout.announcer_link}",
                *flags(layout, "announcer"),
            ]
        case "kubelet":
            return [
                api_server,
                f"--node-name={layout.node_name}",
                f"--runtime-endpoint={layout.cri_endpoint}",
                f"--root-dir={layout.data_dir / 'kubelet'}",
                f"--cgroup-root={layout.cgroup_root}",
                f"--listen={layout.listen_on_node('kubelet')}",
                f"--grpc-listen={layout.listen_on_node('kubelet-grpc')}",
                f"--node-ip={','.join(layout.node_addresses)}",
                f"--cluster-dns={layout.networks.dns_address}",
                *HOST_SHARED,
                *(NO_GROUPS if layout.runtime == "simulated" else []),
                *flags(layout, "kubelet"),
            ]
        case "controller-manager":
            # One process holds this name's lease; a fixed identity lets its successor go on at once.
            return [
                api_server,
                f"--listen={layout.listen('controller-manager')}",
                f"--cluster-cidr={layout.pod_cidr}",
                f"--service-cluster-ip-range={layout.service_cidr}",
                f"--identity={layout.node_name}",
                f"--cluster-signing-cert-file={layout.pki / 'ca.crt'}",
                f"--cluster-signing-key-file={layout.pki / 'ca.key'}",
                "--approve-kubelet-serving",
                *flags(layout, "controller-manager"),
            ]
        case "scheduler":
            return [
                api_server,
                f"--listen={layout.listen('scheduler')}",
                f"--identity={layout.node_name}",
                *flags(layout, "scheduler"),
            ]
    raise KeyError(service)


def _store_identity(layout: Layout) -> list[str]:
    if not layout.store_endpoints:
        return []
    return [f"--store-ca={layout.store_ca}", f"--store-cert={layout.store_cert}", f"--store-key={layout.store_key}"]


def _shim(layout: Layout) -> list[str]:
    common = [f"--backend={layout.runtime}", f"--listen={layout.shim_socket}"]
    if layout.runtime == "simulated":
        return [*common, f"--pod-cidr={layout.node_pod_cidr}"]
    return [
        *common,
        f"--containerd-address={layout.containerd_socket}",
        f"--state-dir={layout.data_dir / 'shim'}",
        f"--cni-conf-dir={layout.cni_conf_dir}",
    ]
