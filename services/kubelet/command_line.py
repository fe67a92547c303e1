"""The kubelet's command line and its configuration file, read into a `Config`."""

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from navarch.services.kubelet import configuration_file
from navarch.services.kubelet.certificates.options import add_certificate_options, certificate_options
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration
from navarch.services.kubelet.configuration_file import ConfigurationError
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.node import cpu_options, group_options
from navarch.services.kubelet.node.cpu_options import CpuOptionsError
from navarch.services.kubelet.node.group_options import GroupOptionsError
from navarch.services.kubelet.node.identity_options import cpu_set, host_name, no_such_cpus, node_ips, taints
from navarch.services.kubelet.node.options import add_options, duration_option_s, node_options, reservations, truth
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.sources.options import add_options as add_source_options
from navarch.services.kubelet.sources.options import source_options

REQUIRED = ("runtime_endpoint", "root_dir")


def pairs(text: str) -> dict[str, str]:
    """Read "key=value,key=value"."""
    entries = [entry.partition("=") for entry in text.split(",") if entry]
    return {key: value for key, _, value in entries}


def count(text: str) -> int:
    """Read a whole number that is not negative. Raises ArgumentTypeError."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f'"{text}" must be a non-negative integer')
    return int(text)


def parser(*, exit_on_error: bool = True) -> argparse.ArgumentParser:
    """The options. Those in REQUIRED may be in the configuration file, and are asked for only then."""
    options = argparse.ArgumentParser(
        prog="navarch-kubelet", description=__doc__, exit_on_error=exit_on_error, allow_abbrev=False
    )
    add = options.add_argument
    add("--config", type=Path, metavar="FILE", help="a KubeletConfiguration; options win over it")
    add("--config-dir", type=Path, metavar="DIR", help="with *.conf that change it")
    add("--node-name", "--hostname-override", type=host_name, default=socket.gethostname().lower())
    add("--api-server", default="", metavar="HOST:PORT", help='"" for that of the kubeconfig')
    add("--root-dir", type=Path)
    add("--runtime-endpoint", "--container-runtime-endpoint", metavar="unix:///PATH")
    add("--listen", default="127.0.0.1:10250", metavar="HOST:PORT")
    add("--address", default="", metavar="IP", help="in place of the one in --listen")
    add("--port", type=count, default=None, help="in place of the one in --listen")
    add("--grpc-listen", default="127.0.0.1:10350", metavar="HOST:PORT")
    add("--node-ip", type=node_ips, default="", metavar="IP[,IP]")
    add("--pod-cidr", default="", help='"" for that of the Node')
    add("--cluster-dns", default="", metavar="IP,...")
    add("--cluster-domain", default="cluster.local")
    add("--resolv-conf", default="/etc/resolv.conf", metavar="PATH")
    add("--max-pods", type=count, default=110)
    add("--pods-per-core", type=count, default=0, help="0 for any number")
    add("--node-status-update-frequency", type=duration_option_s, default=10.0, metavar="DURATION")
    add_options(options)
    add("--labels", type=pairs, default={}, metavar="KEY=VALUE,...")
    add("--taints", "--register-with-taints", type=taints, default=[], metavar="KEY=VALUE:EFFECT,...")
    add("--reserved", type=reservations, default=Reservations(), metavar="cpu=100m,memory=256Mi")
    add("--reserved-cpus", type=cpu_set, default=frozenset(), metavar="0-1,...")
    group_options.add_options(options)
    cpu_options.add_options(options)
    add("--anonymous-auth", type=truth, nargs="?", const=True, default=False, metavar="true|false")
    add_source_options(options)
    add_certificate_options(options)
    return options


def read(argv: Sequence[str]) -> tuple[Config, argparse.Namespace]:
    """What a kubelet is told, but for its credentials, and all options. Ends the process when it makes no sense."""
    known = parser()
    options = known.parse_args(argv)
    try:
        document = configuration_file.read(options.config, options.config_dir)
        configured, others = configuration_file.arguments(document, parser(exit_on_error=False))
        options = known.parse_args([*configured, *argv])
        if missing := [f"--{name.replace('_', '-')}" for name in REQUIRED if getattr(options, name) is None]:
            known.error(f"the following arguments are required: {', '.join(missing)}")
        config = _config(options)
        configuration_file.check_others(others, configuration(config))
    except (ConfigurationError, ThresholdError, GroupOptionsError, CpuOptionsError) as failure:
        known.error(str(failure))
    if fault := no_such_cpus(options.reserved_cpus, os.cpu_count() or 1):
        known.error(f"--reserved-cpus: {fault}")
    return config, options


def _config(options: argparse.Namespace) -> Config:
    """Raises ThresholdError, GroupOptionsError, CpuOptionsError, ConfigurationError."""
    host, _, port = options.listen.rpartition(":")
    address = f"[{options.address}]" if ":" in options.address else options.address
    reserved = options.reserved + options.kube_reserved + options.system_reserved
    if options.reserved_cpus:
        reserved = replace(reserved, cpu_millicores=1000 * len(options.reserved_cpus))
    return Config(
        node_name=options.node_name,
        api_server=options.api_server,
        runtime_endpoint=options.runtime_endpoint,
        root_dir=options.root_dir,
        listen=f"{address or host}:{port if options.port is None else options.port}",
        grpc_listen=options.grpc_listen,
        node_ip=options.node_ip,
        pod_cidr=options.pod_cidr,
        cluster_dns=tuple(filter(None, options.cluster_dns.split(","))),
        cluster_domain=options.cluster_domain,
        resolv_conf=options.resolv_conf,
        max_pods=options.max_pods,
        pods_per_core=options.pods_per_core,
        labels={**options.labels, **options.node_labels},
        taints=options.taints,
        reserved=reserved,
        kube_reserved=options.kube_reserved,
        system_reserved=options.reserved + options.system_reserved,
        node=node_options(options),
        heartbeat_s=options.node_status_update_frequency,
        groups=group_options.group_options(options),
        cpus=cpu_options.cpu_options(options, reserved.cpu_millicores),
        anonymous_auth=options.anonymous_auth,
        sources=source_options(options),
        certificates=certificate_options(options),
        serving_files=(options.tls_cert_file, options.tls_private_key_file) if options.tls_cert_file else None,
        client_ca_file=options.client_ca_file,
    )
