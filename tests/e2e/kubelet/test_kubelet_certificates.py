"""A node that has nothing but a bootstrap token."""

import secrets
from contextlib import suppress
from pathlib import Path

import grpc

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.credentials import Credentials
from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.testing.kubelet_lab import Lab


async def bootstrap_kubeconfig(lab: Lab, path: Path) -> str:
    """Make a token, and the file that a new node is given. Returns the token's id."""
    token_id, secret = secrets.token_hex(3), secrets.token_hex(8)
    await lab.make(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": token_id,
                "token-secret": secret,
                "usage-bootstrap-authentication": "true",
            },
        }
    )
    token = Credentials(lab.host.authority.cert_pem, b"", b"", f"{token_id}.{secret}")
    write_kubeconfig(path, lab.host.rest_url, token, grpc_address=lab.host.api_server, user="bootstrap")
    return token_id


async def test_a_node_joins_by_a_bootstrap_token_and_runs_a_pod(lab: Lab, tmp_path: Path) -> None:
    token_id = await bootstrap_kubeconfig(lab, tmp_path / "bootstrap.conf")
    lab.kill_kubelet()
    await lab.client.delete(corev1.Node, lab.node)
    identity = [
        f"--bootstrap-kubeconfig={tmp_path / 'bootstrap.conf'}",
        f"--kubeconfig={tmp_path / 'kubelet.conf'}",
        f"--cert-dir={tmp_path / 'pki'}",
        "--rotate-server-certificates",
    ]
    try:
        lab.host.start_kubelet(lab.runtime, identity=identity)
        await lab.until(corev1.Node, lab.node, lambda node: node.status.daemon_endpoints.kubelet_endpoint.port, "")
        await lab.create("hello", containers=[{"name": "main", "command": ["sh", "-c", "echo hello; sleep 3600"]}])
        await lab.running("hello")

        async def log() -> str:
            # Callers trust nobody but the cluster's authority: they are refused until it has signed.
            with suppress(grpc.aio.AioRpcError):
                return await lab.logs("hello")
            return ""

        assert await lab.eventually(log, "the serving certificate is signed") == "hello\n"
        assert (tmp_path / "pki" / "kubelet-client-current.pem").stat().st_mode & 0o777 == 0o600
        asked = (await lab.client.list(certificatesv1.CertificateSigningRequest)).items
        users = {(one.spec.signer_name.partition("/")[2], one.spec.username) for one in asked}
        assert ("kube-apiserver-client-kubelet", f"system:bootstrap:{token_id}") in users
        assert ("kubelet-serving", f"system:node:{lab.node}") in users
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()
