"""The kubelet's command line."""

import argparse
import asyncio
import signal
import socket
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.kubelet.certificates.options import add_certificate_options, certificate_options
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.node.options import add_options, node_options, reservations
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.service import Kubelet


def pairs(text: str) -> dict[str, str]:
    """Read "key=value,key=value"."""
    entries = [entry.partition("=") for entry in text.split(",") if entry]
    return {key: value for key, _, value in entries}


def taints(text: str) -> list[corev1.Taint]:
    """Read "key=value:Effect,key:Effect"."""
    found = []
    for entry in filter(None, text.split(",")):
        head, _, effect = entry.rpartition(":")
        key, _, value = head.partition("=")
        found.append(corev1.Taint(key=key, value=value, effect=effect))
    return found


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="navarch-kubelet", description=__doc__)
    options.add_argument("--node-name", default=socket.gethostname().lower())
    options.add_argument("--api-server", default="", metavar="HOST:PORT", help="default: of the kubeconfig")
    add_certificate_options(options)
    options.add_argument("--runtime-endpoint", required=True, metavar="unix:///PATH")
    options.add_argument("--root-dir", type=Path, required=True)
    options.add_argument("--listen", default="127.0.0.1:10250", metavar="HOST:PORT")
    options.add_argument("--grpc-listen", default="127.0.0.1:10350", metavar="HOST:PORT")
    options.add_argument("--node-ip", default="")
    options.add_argument("--pod-cidr", default="")
    options.add_argument("--cluster-dns", default="", metavar="IP,...")
    options.add_argument("--cluster-domain", default="cluster.local")
    options.add_argument("--max-pods", type=int, default=110)
    add_options(options)
    options.add_argument("--labels", type=pairs, default={}, metavar="KEY=VALUE,...")
    options.add_argument("--taints", "--register-with-taints", type=taints, default=[], metavar="KEY=VALUE:EFFECT,...")
    options.add_argument("--reserved", type=reservations, default=Reservations(), metavar="cpu=100m,memory=256Mi")
    options.add_argument("--cgroup-root", default="/kubepods")
    options.add_argument("--anonymous-auth", action="store_true")
    options.add_argument("--pod-manifest-path", type=Path, metavar="PATH", help="of static Pods")
    return options


def main(argv: list[str]) -> None:
    """Run a kubelet until it is told to stop."""
    known = parser()
    options = known.parse_args(argv)
    try:
        node = node_options(options)
        certificates = certificate_options(options)
    except (ThresholdError, ValueError) as failure:
        known.error(str(failure))

    async def create() -> Kubelet:
        kubelet = Kubelet(
            Config(
                node_name=options.node_name,
                api_server=options.api_server,
                credentials=Credentials.load(options.ca, options.cert, options.key) if options.key else None,
                certificates=certificates,
                serving_files=(options.tls_cert_file, options.tls_private_key_file) if options.tls_cert_file else None,
                client_ca=options.client_ca_file.read_bytes() if options.client_ca_file else b"",
                runtime_endpoint=options.runtime_endpoint,
                root_dir=options.root_dir,
                listen=options.listen,
                grpc_listen=options.grpc_listen,
                node_ip=options.node_ip,
                pod_cidr=options.pod_cidr,
                cluster_dns=tuple(filter(None, options.cluster_dns.split(","))),
                cluster_domain=options.cluster_domain,
                max_pods=options.max_pods,
                labels={**options.labels, **options.node_labels},
                taints=options.taints,
                reserved=options.reserved + options.kube_reserved + options.system_reserved,
                node=node,
                cgroup_root=options.cgroup_root,
                anonymous_auth=options.anonymous_auth,
                pod_manifest_path=options.pod_manifest_path,
            )
        )
        # What tells of a power failure; on hosts without logind, of any shutdown.
        asyncio.get_running_loop().add_signal_handler(signal.SIGPWR, kubelet.shut_down)
        return kubelet

    run(create, "kubelet")
