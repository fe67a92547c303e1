"""When a kubelet renews, what it asks for, and what a kill leaves of its files."""

import os
from pathlib import Path
from typing import Any

import pytest

from navarch.services.base.tls import CertificateAuthority, new_key, new_request
from navarch.services.kubelet.certificates.files import PairFiles, matches, read, self_signed_pair, split
from navarch.services.kubelet.certificates.options import a_share, certificate_options
from navarch.services.kubelet.certificates.requests import request_for
from navarch.services.kubelet.command_line import parser
from navarch.services.kubelet.configuration_file import ConfigurationError
from navarch.services.kubelet.core.certificates import (
    CLIENT,
    SERVING,
    Held,
    is_usable,
    misses_names,
    renewal_at,
    request_name,
)

NOW = 1_700_000_000.0
DAY = 86400.0


@pytest.mark.parametrize(
    ("begin", "obtained", "share", "expected"),
    [
        pytest.param(0, 0, 0.7, 70, id="early"),
        pytest.param(0, 0, 0.9, 90, id="late"),
        pytest.param(0, 20, 0.5, 60, id="dated back"),
        pytest.param(50, 20, 0.5, 75, id="a clock behind"),
        pytest.param(0, 500, 0.5, 100, id="a file touched since"),
    ],
)
def test_a_share_of_the_life_is_used(begin: float, obtained: float, share: float, expected: float) -> None:
    assert renewal_at(Held(begin, 100, "x"), obtained, share) == expected


def test_nodes_made_together_do_not_renew_together() -> None:
    shares = [a_share() for _ in range(100)]
    assert all(0.7 <= share <= 0.9 for share in shares)
    assert len(set(shares)) > 50


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(None, False, id="none"),
        pytest.param(Held(NOW - 1, NOW + 1, "system:node:n1"), True, id="valid"),
        pytest.param(Held(NOW + 1, NOW + 2, "system:node:n1"), False, id="not yet"),
        pytest.param(Held(NOW - 2, NOW, "system:node:n1"), False, id="ended"),
        pytest.param(Held(NOW - 1, NOW + 1, "system:node:n2"), False, id="another node's"),
    ],
)
def test_what_can_be_shown(held: Held | None, expected: bool) -> None:
    assert is_usable(held, "n1", NOW) is expected


def test_a_new_address_asks_for_a_new_certificate() -> None:
    held = Held(0, 1, "system:node:n1", frozenset({"n1", "10.0.0.1"}))
    assert not misses_names(held, ["n1", "10.0.0.1"])
    assert not misses_names(held, ["10.0.0.1"])
    assert misses_names(held, ["n1", "10.0.0.2"])


def test_a_request_is_named_after_its_content() -> None:
    name = request_name(b"key", SERVING, "n1", ["b", "a"])
    assert name == request_name(b"key", SERVING, "n1", ["a", "b"])
    others = [
        request_name(b"other", SERVING, "n1", ["a", "b"]),
        request_name(b"key", CLIENT, "n1", ["a", "b"]),
        request_name(b"key", SERVING, "n2", ["a", "b"]),
        request_name(b"key", SERVING, "n1", ["a"]),
    ]
    assert len({name, *others}) == 5


def test_what_is_asked_for() -> None:
    key = new_key()
    request = request_for(key, SERVING, "n1", ["n1", "10.0.0.1", "fd00::1"], 900)
    assert request.spec.signer_name == "kubernetes.io/kubelet-serving"
    assert list(request.spec.usages) == ["digital signature", "server auth"]
    assert request.spec.expiration_seconds == 900
    authority = CertificateAuthority.create("ca", NOW)
    signed = authority.sign(request.spec.request, request.spec.usages, DAY, now=NOW)
    held = read(signed)
    assert (held.common_name, held.end) == ("system:node:n1", NOW + DAY)
    assert held.names == {"n1", "10.0.0.1", "fd00::1"}
    assert matches(signed, key)
    assert not request_for(key, CLIENT, "n1", ()).spec.HasField("expiration_seconds")


def signed(key: bytes, node: str = "n1") -> bytes:
    request = new_request(key, f"system:node:{node}", ["system:nodes"])
    return CertificateAuthority.create("ca", NOW).sign(request, ["client auth"], DAY, now=NOW)


class TestFiles:
    """What is on disk."""

    def test_a_pair_is_put_into_use(self, tmp_path: Path) -> None:
        files = PairFiles(tmp_path / "pki", "kubelet-client")
        assert files.load() is None
        key = files.draft_key()
        assert files.draft_key() == key
        files.save(signed(key), key, NOW)
        loaded = files.load()
        assert loaded is not None
        assert loaded[1] == key
        assert os.readlink(files.current) == ("kubelet-client-2023-11-14-22-13-20-000000.pem")
        assert files.current.stat().st_mode & 0o777 == 0o600
        assert files.draft_key() != key

    def test_a_kill_before_the_link_is_changed_leaves_the_old_one(self, tmp_path: Path, monkeypatch: Any) -> None:
        files = PairFiles(tmp_path, "kubelet-client")
        first = files.draft_key()
        files.save(signed(first), first, NOW)
        second = files.draft_key()

        def killed(path: Path, target: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "symlink_to", killed)
        with pytest.raises(KeyboardInterrupt):
            files.save(signed(second), second, NOW + 1)
        monkeypatch.undo()
        found = files.load()
        assert found is not None
        assert found[1] == first
        assert files.draft_key() == second
        files.save(signed(second), second, NOW + 2)
        found = files.load()
        assert found is not None
        assert found[1] == second

    def test_only_the_last_few_are_kept(self, tmp_path: Path) -> None:
        files = PairFiles(tmp_path, "kubelet-client")
        for number in range(6):
            key = files.draft_key()
            files.save(signed(key), key, NOW + number)
        assert len(list(tmp_path.glob("kubelet-client-2*.pem"))) == 3

    @pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\x00\xff"])
    def test_a_damaged_file_is_none(self, tmp_path: Path, damage: bytes) -> None:
        files = PairFiles(tmp_path, "kubelet-client")
        files.current.write_bytes(damage)
        assert files.load() is None

    def test_a_key_of_another_certificate_is_refused(self) -> None:
        with pytest.raises(ValueError, match="a certificate and its key were expected"):
            split(signed(new_key()) + new_key())

    def test_the_self_signed_one_is_kept_until_it_does_not_fit(self, tmp_path: Path) -> None:
        first = self_signed_pair(tmp_path, "n1", ["n1", "10.0.0.1"], NOW)
        assert self_signed_pair(tmp_path, "n1", ["n1", "10.0.0.1"], NOW + DAY) == first
        moved = self_signed_pair(tmp_path, "n1", ["n1", "10.0.0.2"], NOW + DAY)
        assert moved != first
        assert self_signed_pair(tmp_path, "n1", ["n1", "10.0.0.2"], NOW + 400 * DAY) != moved
        assert (tmp_path / "kubelet.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--ca=a", "--cert=b"], "--ca, --cert and --key need each other"),
        (["--ca=a", "--cert=b", "--key=c"], "--api-server is needed"),
        (["--ca=a", "--cert=b", "--key=c", "--kubeconfig=d"], "are given instead of --kubeconfig"),
        (["--bootstrap-kubeconfig=b"], "who the kubelet is: --kubeconfig"),
        (["--kubeconfig=k", "--tls-cert-file=t"], "--tls-cert-file and --tls-private-key-file need each other"),
        (
            ["--kubeconfig=k", "--tls-cert-file=t", "--tls-private-key-file=t", "--rotate-server-certificates"],
            "--rotate-server-certificates: that of --tls-cert-file",
        ),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], complaint: str) -> None:
    options = parser().parse_args(["--runtime-endpoint=unix:///r", "--root-dir=/r", *flags])
    with pytest.raises(ConfigurationError, match=complaint):
        certificate_options(options)


def test_the_flags_of_a_bootstrap() -> None:
    flags = ["--kubeconfig=/k", "--bootstrap-kubeconfig=/b", "--rotate-certificates=false"]
    options = certificate_options(parser().parse_args(["--runtime-endpoint=unix:///r", "--root-dir=/r", *flags]))
    assert options is not None
    assert options.directory == Path("/r/pki")
    assert (options.rotate_client, options.rotate_server) == (False, False)
