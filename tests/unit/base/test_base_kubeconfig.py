import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from navarch.services.base.kubeconfig import KubeconfigError, load_kubeconfig, write_kubeconfig
from navarch.services.base.tls import Credentials

CREDENTIALS = Credentials(b"ca\n", b"cert\n", b"key\n")
SERVER = "https://127.0.0.1:6443"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "admin.kubeconfig"
    write_kubeconfig(path, SERVER, CREDENTIALS, grpc_address="127.0.0.1:7443", namespace="team")
    return path


def test_what_was_written_is_read(path: Path) -> None:
    config = load_kubeconfig(path)
    assert (config.address, config.server, config.credentials) == ("127.0.0.1:7443", SERVER, CREDENTIALS)
    assert (config.namespace, config.context) == ("team", "kubernetes-admin@navarch")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_has_the_form_that_kubectl_reads(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert (document["apiVersion"], document["kind"]) == ("v1", "Config")
    cluster, user = document["clusters"][0], document["users"][0]
    assert cluster["cluster"]["server"] == SERVER
    assert cluster["cluster"]["certificate-authority-data"] == "Y2EK"
    assert set(user["user"]) == {"client-certificate-data", "client-key-data"}
    assert document["contexts"][0]["context"] == {"cluster": cluster["name"], "user": user["name"], "namespace": "team"}


def test_certificates_may_be_files_beside_it(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    user = document["users"][0]["user"]
    del user["client-key-data"]
    user["client-key"] = "user.key"
    (path.parent / "user.key").write_bytes(b"from a file")
    path.write_text(yaml.safe_dump(document))
    assert load_kubeconfig(path).credentials.key == b"from a file"


def test_a_token_instead_of_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.conf"
    write_kubeconfig(path, SERVER, Credentials(b"ca\n", b"", b"", "abcdef.secret"), grpc_address="127.0.0.1:7443")
    assert load_kubeconfig(path).credentials == Credentials(b"ca\n", b"", b"", "abcdef.secret")
    (tmp_path / "token").write_text("from a file\n")
    change(path, lambda document: document["users"][0]["user"].update(tokenFile="token"))
    assert load_kubeconfig(path).credentials.token == "from a file"
    assert "abcdef" not in repr(load_kubeconfig(path))


def test_a_pair_that_changes_is_named(tmp_path: Path) -> None:
    path, pair = tmp_path / "kubelet.conf", tmp_path / "current.pem"
    write_kubeconfig(path, SERVER, CREDENTIALS, grpc_address="127.0.0.1:7443", pair=pair)
    pair.write_bytes(b"first")
    assert load_kubeconfig(path).credentials.cert == b"first"
    pair.write_bytes(b"second")
    assert load_kubeconfig(path).credentials.key == b"second"


def test_the_address_may_be_given_beside_it(path: Path) -> None:
    change(path, lambda document: document["clusters"][0]["cluster"].pop("extensions"))
    assert load_kubeconfig(path, address="10.0.0.1:7443").address == "10.0.0.1:7443"


def change(path: Path, edit: Callable[[Any], object]) -> None:
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document))


FAULTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no current context": (lambda d: d.pop("current-context"), "'current-context' is missing"),
    "unknown user": (lambda d: d["users"].clear(), "no entry 'kubernetes-admin' in users"),
    "no gRPC address": (lambda d: d["clusters"][0]["cluster"].pop("extensions"), "names no gRPC address"),
    "no certificate": (lambda d: d["users"][0]["user"].pop("client-certificate-data"), "no client-certificate-data"),
    "not base64": (lambda d: d["users"][0]["user"].update({"client-key-data": "?"}), "incomplete"),
}


@pytest.mark.parametrize(("edit", "message"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_named_with_its_fault(path: Path, edit: Callable[[Any], object], message: str) -> None:
    change(path, edit)
    with pytest.raises(KubeconfigError, match=message) as caught:
        load_kubeconfig(path)
    assert str(path) in str(caught.value)


def test_other_faults_name_the_file_too(path: Path) -> None:
    with pytest.raises(KubeconfigError, match="No such file"):
        load_kubeconfig(path.with_name("missing"))
    with pytest.raises(KubeconfigError, match="no entry 'other' in contexts"):
        load_kubeconfig(path, "other")
    path.write_text("a: [")
    with pytest.raises(KubeconfigError, match="not YAML"):
        load_kubeconfig(path)
    path.write_text("just words")
    with pytest.raises(KubeconfigError, match="incomplete"):
        load_kubeconfig(path)
