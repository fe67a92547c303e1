"""Nodes, certificates, rights, tokens, and what the server says of itself."""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from navarch.services.base.tls import CertificateAuthority

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl


@pytest.fixture
def node(kubectl: "Kubectl") -> Iterator[str]:
    """The name of the one node; it is in service again when the test ends."""
    name = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    yield name
    kubectl("uncordon", name)


def test_a_drain_refuses_what_would_be_lost(kubectl: "Kubectl", node: str) -> None:
    main = {"name": "main", "command": ["sleep", "1000"]}
    kubectl.pod("bare", main)
    kubectl.pod("local", main, volumes=[{"name": "v", "emptyDir": {}}])
    ours = "--pod-selector=app in (bare,local)"
    space = kubectl.lab.namespace
    refused = kubectl.fails("drain", node, ours)
    assert f"cannot delete Pods that declare no controller (use --force to override): {space}/bare" in refused
    assert f"cannot delete Pods with local storage (use --delete-emptydir-data to override): {space}/local" in refused
    dry = kubectl("drain", node, ours, "--force", "--delete-emptydir-data", "--dry-run=server")
    assert f"node/{node} drained (server dry run)" in dry
    drained = kubectl("drain", node, ours, "--force", "--delete-emptydir-data")
    for name in ("bare", "local"):
        assert f"pod/{name} evicted\n" in drained
    assert drained.endswith(f"node/{node} drained\n")
    assert re.search(r"^Unschedulable: +true$", kubectl("describe", "node", node), re.MULTILINE)
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"


def test_taints(kubectl: "Kubectl", node: str) -> None:
    assert kubectl("taint", "node", node, "e/x=1:PreferNoSchedule") == f"node/{node} tainted\n"
    refused = kubectl.fails("taint", "node", node, "e/x=2:PreferNoSchedule")
    assert "already has e/x taint(s) with same effect(s) and --overwrite is false" in refused
    assert kubectl("taint", "node", node, "e/x=2:PreferNoSchedule", "--overwrite") == f"node/{node} modified\n"
    assert re.search(r"^Taints: +e/x=2:PreferNoSchedule$", kubectl("describe", "node", node), re.MULTILINE)
    assert kubectl("taint", "node", node, "e/x-") == f"node/{node} untainted\n"
    assert 'taint "e/x" not found' in kubectl.fails("taint", "node", node, "e/x-")
    assert "invalid taint effect" in kubectl.fails("taint", "node", node, "e/x=1:Nope")


def test_certificates(kubectl: "Kubectl") -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    names = [f"{kubectl.lab.namespace}-{end}" for end in ("yes", "no")]
    for name in names:
        spec = {
            "request": text,
            "signerName": "example.org/nobody",
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        }
        kubectl.apply({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                       "metadata": {"name": name}, "spec": spec})  # fmt: skip
    columns = kubectl("get", "csr", names[0]).splitlines()[0].split()
    assert columns == ["NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"]
    assert re.search(r"^ +Common Name: +jane$", kubectl("describe", "csr", names[0]), re.MULTILINE)
    prefix = "certificatesigningrequest.certificates.k8s.io"
    assert kubectl("certificate", "approve", names[0]) == f"{prefix}/{names[0]} approved\n"
    assert kubectl("certificate", "deny", names[1]) == f"{prefix}/{names[1]} denied\n"
    states = [kubectl("get", "csr", name, "--no-headers").split()[2:] for name in names]
    assert states == [["example.org/nobody", "kubernetes-admin", "60m", end] for end in ("Approved", "Denied")]
    assert kubectl("delete", "csr", *names).count("deleted") == 2


def test_who_may_do_what(kubectl: "Kubectl") -> None:
    assert kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert kubectl("auth", "can-i", "get", "pods", "--subresource=log") == "yes\n"
    assert kubectl("auth", "can-i", "get", "/logs/") == "yes\n"
    assert kubectl("auth", "can-i", "list", "pods", "--as=jane", code=1) == "no\n"
    rules = kubectl("auth", "can-i", "--list")
    assert re.search(r"^\*\.\* +\[\] +\[\] +\[\*\]$", rules, re.MULTILINE)
    forbidden = kubectl.fails("get", "pods", "--as=jane")
    assert forbidden == (
        'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" '
        f'in API group "" in the namespace "{kubectl.lab.namespace}"\n'
    )
    assert kubectl.run("get", "pods", "--as=jane", "--as-group=system:masters").returncode == 0


def test_who_one_is(kubectl: "Kubectl") -> None:
    rows = dict(re.split(" {2,}", line, maxsplit=1) for line in kubectl("auth", "whoami").splitlines()[1:])
    assert rows["Username"] == "kubernetes-admin"
    assert rows["Groups"] == "[system:masters system:authenticated]"
    assert re.fullmatch(r"\[X509SHA256=[0-9a-f]{64}\]", rows["Extra: authentication.kubernetes.io/credential-id"])
    other = json.loads(kubectl("auth", "whoami", "--as=jane", "--as-group=devs", "--as-uid=7", "-o", "json"))
    info = other["status"]["userInfo"]
    assert info == {"username": "jane", "uid": "7", "groups": ["devs", "system:authenticated"]}


def test_tokens(kubectl: "Kubectl") -> None:
    kubectl("create", "serviceaccount", "robot")
    kubectl.pod("web", {"name": "main", "command": ["sleep", "1000"]}, serviceAccountName="robot")
    bound = ("--bound-object-kind=Pod", "--bound-object-name=web", "--audience=example.org", "--duration=10m")
    token = kubectl("create", "token", "robot", *bound)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == ["example.org"]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"]["pod"]["name"] == "web"
    assert claims["sub"] == f"system:serviceaccount:{kubectl.lab.namespace}:robot"
    assert 'pods "none" not found' in kubectl.fails("create", "token", "robot", *bound[:1], "--bound-object-name=none")
    assert 'serviceaccounts "none" not found' in kubectl.fails("create", "token", "none")
    short = kubectl.fails("create", "token", "robot", "--duration=1s")
    assert "may not specify a duration less than 10 minutes" in short
    document = json.loads(kubectl("create", "token", "robot", "-o", "json"))
    assert document["kind"] == "TokenRequest"
    # With it one is the service account: who may read what is open to all.
    anonymous = ["--kubeconfig=/dev/null", f"--server={server(kubectl)}", "--insecure-skip-tls-verify"]
    words = [*anonymous, f"--token={document['status']['token']}"]
    assert "robot" in kubectl("auth", "whoami", *words)
    assert "v1.36" in kubectl("version", *words)
    assert "cannot list resource" in kubectl.fails("get", "nodes", *words)
    assert "You must be logged in to the server" in kubectl.fails("get", "nodes", *anonymous, "--token=bad")


def server(kubectl: "Kubectl") -> str:
    return kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")


def test_what_else_is_created(kubectl: "Kubectl", tmp_path: Path) -> None:
    folder, authority = tmp_path, CertificateAuthority.create("x", time.time())
    (folder / "c.pem").write_bytes(authority.cert_pem)
    (folder / "k.pem").write_bytes(authority.key_pem)
    files = (f"--cert={folder / 'c.pem'}", f"--key={folder / 'k.pem'}")
    assert kubectl("create", "secret", "tls", "t", *files) == "secret/t created\n"
    assert kubectl("get", "secret", "t", "--no-headers").split()[1:3] == ["kubernetes.io/tls", "2"]
    kubectl("create", "cronjob", "cj", f"--image={kubectl.latest}", "--schedule=@daily", "--", "true")
    assert kubectl("create", "job", "j", "--from=cronjob/cj") == "job.batch/j created\n"
    job = kubectl.json("job", "j")
    assert job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert job["metadata"]["ownerReferences"][0]["name"] == "cj"
    (folder / "data").write_text("x")
    kubectl("create", "configmap", "files", f"--from-file={folder / 'data'}", "--from-literal=k=v")
    assert kubectl.json("cm", "files")["data"] == {"data": "x", "k": "v"}
    paths = ("--rule=foo.com/*=web:80,tls=t", "--class=nginx", "--default-backend=d:80")
    assert kubectl("create", "ingress", "i", *paths) == "ingress.networking.k8s.io/i created\n"
    assert kubectl("get", "ingress", "i", "--no-headers").split()[1:5] == ["nginx", "foo.com", "80,", "443"]
    again = kubectl.fails("create", "configmap", "files")
    assert again == 'error: failed to create configmap: configmaps "files" already exists\n'
    assert "Invalid value" in kubectl.fails("create", "configmap", "No_")
    metadata = {"name": "r", "namespace": kubectl.lab.namespace}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    reconciled = json.dumps(role)
    assert "role.rbac.authorization.k8s.io/r reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=reconciled)


def test_paths_as_they_are(kubectl: "Kubectl") -> None:
    space = f"/api/v1/namespaces/{kubectl.lab.namespace}/configmaps"
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}'
    made = json.loads(kubectl("create", "--raw", space, "-f", "-", stdin=text))
    assert made["metadata"]["uid"]
    made["data"] = {"a": "1"}
    assert json.loads(kubectl("replace", "--raw", f"{space}/raw", "-f", "-", stdin=json.dumps(made)))["data"] == {
        "a": "1"
    }
    assert json.loads(kubectl("get", "--raw", f"{space}/raw"))["data"] == {"a": "1"}
    assert json.loads(kubectl("delete", "--raw", f"{space}/raw"))["status"] == "Success"
    assert "(NotFound)" in kubectl.fails("get", "--raw", "/nope")
    assert "readyz check passed" in kubectl("get", "--raw", "/readyz?verbose")
    assert json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]


def test_the_server_and_the_client(kubectl: "Kubectl") -> None:
    versions = json.loads(kubectl("version", "-o", "json"))
    assert versions["serverVersion"]["minor"] == "36"
    assert versions["clientVersion"]["minor"] in ("36", "37")
    for what in (("nodes",), ("pods",), ("pod", "x")):
        assert kubectl.fails("top", *what) == "error: Metrics API not available\n"
    dump = kubectl("cluster-info", "dump", f"--namespaces={kubectl.lab.namespace}")
    assert '"kind": "NodeList"' in dump
    assert kubectl("config", "current-context") == "kubernetes-admin@navarch\n"
    wide = kubectl("api-resources", "-o", "wide", "--api-group=apps", "--sort-by=name", "--no-headers")
    assert [line.split()[0] for line in wide.splitlines()] == [
        "controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets",
    ]  # fmt: skip
    assert "create,delete,deletecollection,get,list,patch,update,watch" in wide
    unscoped = kubectl("api-resources", "--namespaced=false", "--verbs=list", "-o", "name").split()
    assert "nodes" in unscoped
    assert "pods" not in unscoped
