"""The certificates of a cluster: made at its first start, kept for as long as they name where its services are reached.

Names and groups are those that Kubernetes gives its components, for authorization goes by them.
"""

import socket
import time
from pathlib import Path

from navarch.cli.cluster.layout import Layout
from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.services.base.tls import CertificateAuthority, Credentials, names_of, new_key, write_private

MASTERS = "system:masters"
IN_CLUSTER = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def subjects(layout: Layout) -> dict[str, tuple[str, tuple[str, ...], bool]]:
    """File name -> (common name, organisations, whether it serves)."""
    return {
        "admin": ("kubernetes-admin", (MASTERS,), False),
        "store": ("navarch-store", (), True),
        "apiserver": ("kube-apiserver", (MASTERS,), True),
        "scheduler": ("system:kube-scheduler", (), True),
        "controller-manager": ("system:kube-controller-manager", (), True),
        "kubelet": (f"system:node:{layout.node_name}", ("system:nodes",), True),
        "network": (f"system:navarch-network:{layout.node_name}", ("system:navarch-network",), True),
        "proxy": ("system:kube-proxy", (), True),
        "dns": ("system:navarch-dns", (), True),
        "cloud-controller": ("system:cloud-controller-manager", (), True),
        "announcer": ("system:navarch-announcer", (), False),
    }


def ensure_certificates(layout: Layout) -> None:
    """Make what is missing below ``pki``, or serves at an address it does not name, and the admin's kubeconfig."""
    layout.pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = time.time()
    authority = _authority(layout.pki, now)
    names = ["localhost", layout.node_name, *IN_CLUSTER]
    addresses = ["127.0.0.1", *_own_addresses(), *([] if layout.bind_address == "0.0.0.0" else [layout.bind_address])]
    # Where Pods find the API server.
    addresses += [layout.networks.api_address, *layout.node_addresses]
    for name, (common_name, organizations, serves) in subjects(layout).items():
        cert, key = layout.pki / f"{name}.crt", layout.pki / f"{name}.key"
        if key.exists() and (not serves or names_of(cert.read_bytes()) >= {*names, *addresses}):
            continue
        issued = authority.issue(common_name, organizations, names, addresses, now=now, server=serves)
        # Without its key, a certificate that a crash leaves half renewed is made again.
        key.unlink(missing_ok=True)
        cert.write_bytes(issued.cert)
        write_private(key, issued.key)
    if not (token_key := service_account_key(layout)).exists():
        write_private(token_key, new_key())
    if not layout.kubeconfig.exists():
        write_kubeconfig(
            layout.kubeconfig,
            server=f"https://{layout.address('apiserver-rest')}",
            grpc_address=layout.address("apiserver"),
            credentials=credentials(layout, "admin"),
        )


def credentials(layout: Layout, name: str) -> Credentials:
    """The credentials of one of ``subjects``."""
    return Credentials.load(layout.pki / "ca.crt", layout.pki / f"{name}.crt", layout.pki / f"{name}.key")


def service_account_key(layout: Layout) -> Path:
    """What signs the tokens of service accounts."""
    return layout.pki / "sa.key"


def flags(layout: Layout, name: str) -> list[str]:
    """The command line flags that hand a service its certificate."""
    return [
        f"--ca={layout.pki / 'ca.crt'}",
        f"--cert={layout.pki / f'{name}.crt'}",
        f"--key={layout.pki / f'{name}.key'}",
    ]


def _own_addresses() -> list[str]:
    """The addresses that this host's name stands for."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _authority(pki: Path, now: float) -> CertificateAuthority:
    cert, key = pki / "ca.crt", pki / "ca.key"
    if key.exists():
        return CertificateAuthority.load(cert.read_bytes(), key.read_bytes())
    authority = CertificateAuthority.create("navarch", now)
    cert.write_bytes(authority.cert_pem)
    write_private(key, authority.key_pem)
    return authority
