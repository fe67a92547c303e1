"""What the kubelet is told about its certificates."""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from navarch.services.kubelet.configuration_file import ConfigurationError
from navarch.services.kubelet.node.options import truth


def a_share() -> float:
    """Of a certificate's life: somewhere from 70 to 90 %, so that nodes made together do not renew together."""
    return random.uniform(0.7, 0.9)


@dataclass(frozen=True, slots=True)
class CertificateOptions:
    """directory: of certificates and keys. share: of a certificate's life after which it is renewed, drawn each time.

    kubeconfig: says where the API server is and who the kubelet is; written by the kubelet when it has asked for its
    certificate as the user of bootstrap_kubeconfig. expiration_s: how long certificates are asked for; 0 leaves it to
    the signer.
    """

    directory: Path
    kubeconfig: Path | None = None
    bootstrap_kubeconfig: Path | None = None
    rotate_client: bool = True
    rotate_server: bool = False
    share: Callable[[], float] = a_share
    expiration_s: int = 0


def add_certificate_options(options: argparse.ArgumentParser) -> None:
    """Those of the genuine kubelet, and --ca, --cert and --key, which are files that somebody else looks after."""
    group = options.add_argument_group("certificates")
    group.add_argument("--ca", type=Path, metavar="PATH", help="of the API server, and of callers")
    group.add_argument("--cert", type=Path, metavar="PATH", help="shown to the API server, and to callers")
    group.add_argument("--key", type=Path, metavar="PATH")
    group.add_argument("--kubeconfig", type=Path, metavar="PATH", help="written after a bootstrap")
    group.add_argument("--bootstrap-kubeconfig", type=Path, metavar="PATH", help="to ask for a certificate with")
    group.add_argument("--cert-dir", type=Path, metavar="PATH", help="default: pki in the root directory")
    group.add_argument("--rotate-certificates", type=truth, nargs="?", const=True, default=True, metavar="true|false")
    group.add_argument(
        "--rotate-server-certificates", type=truth, nargs="?", const=True, default=False, metavar="true|false"
    )
    group.add_argument("--tls-cert-file", type=Path, metavar="PATH", help="served with; default: made by the kubelet")
    group.add_argument("--tls-private-key-file", type=Path, metavar="PATH")
    group.add_argument("--client-ca-file", type=Path, metavar="PATH", help="of callers; default: of the API server")


def certificate_options(options: argparse.Namespace) -> CertificateOptions | None:
    """What the command line says; None for --ca, --cert and --key. Raises ConfigurationError."""
    files = (options.ca, options.cert, options.key)
    if any(files) and not all(files):
        raise ConfigurationError("--ca, --cert and --key need each other")
    if bool(options.tls_cert_file) != bool(options.tls_private_key_file):
        raise ConfigurationError("--tls-cert-file and --tls-private-key-file need each other")
    if options.tls_cert_file and options.rotate_server_certificates:
        raise ConfigurationError("--rotate-server-certificates: that of --tls-cert-file is not the kubelet's to renew")
    if all(files):
        if options.kubeconfig or options.bootstrap_kubeconfig:
            raise ConfigurationError("--ca, --cert and --key are given instead of --kubeconfig")
        if not options.api_server:
            raise ConfigurationError("--api-server is needed with --ca, --cert and --key")
        return None
    if not options.kubeconfig:
        raise ConfigurationError("who the kubelet is: --kubeconfig, or --ca, --cert and --key, is needed")
    return CertificateOptions(
        options.cert_dir or options.root_dir / "pki",
        options.kubeconfig,
        options.bootstrap_kubeconfig,
        options.rotate_certificates,
        options.rotate_server_certificates,
    )
