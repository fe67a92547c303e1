"""Who a member is at its first start, and at all later ones."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import SystemClock
from navarch.services.base.tls import CertificateAuthority
from navarch.services.store import bootstrap, main
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.bootstrap import BootstrapError, Identity, identify
from navarch.services.store.config import DEFAULT_QUOTA_BYTES, Config
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.membership import Members
from navarch.services.store.replication.log import Member

URLS = {f"m{n}": (f"http://127.0.0.1:{n}",) for n in (1, 2, 3)}
FLAG = "m1=http://127.0.0.1:1,m2=http://127.0.0.1:2,m3=http://127.0.0.1:3"


def config(directory: Path | None, **changes) -> Config:
    return Config(directory, name="m1", listen_peer="127.0.0.1:1", initial_cluster=URLS, **changes)


async def who(config: Config, backend=None, seed: int = 1) -> tuple[Identity, Members]:
    backend = backend or MemoryBackend()
    identity = await identify(config, backend, SystemClock(), random.Random(seed))
    return identity, Members.load(backend)


async def test_a_lone_member_draws_its_ids_and_keeps_them(tmp_path: Path) -> None:
    backend = MemoryBackend()
    first, members = await who(Config(tmp_path, name="a"), backend)
    assert {member.name for member in members.by_id.values()} == {"a"}
    assert set(members.by_id) == {first.member_id}
    assert (await who(Config(tmp_path, name="a"), backend, seed=2))[0] == first
    assert (await who(Config(None), seed=2))[0] != first


async def test_ids_of_earlier_data_directories_are_kept(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path / "data.mdb", 1 << 30)
    backend.put_value(b"identity", b"abc def")
    backend.flush()
    identity, members = await who(Config(tmp_path), backend)
    assert identity == Identity(0xABC, 0xDEF)
    assert set(members.by_id) == {0xDEF}
    # From then on in a file, since the data may be replaced by another member's.
    assert backend.get_value(b"identity") is None
    assert (await who(Config(tmp_path), backend))[0] == identity
    backend.close()


@pytest.mark.parametrize("changes", [{}, {"initial_cluster": URLS, "listen_peer": "127.0.0.1:1"}])
async def test_an_identity_without_its_data_does_not_begin_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    told = Config(tmp_path, name="m1", **changes)
    await who(told)
    with pytest.raises(BootstrapError, match="the data of m1 .* is gone"):
        await who(told, MemoryBackend())


async def test_who_has_run_before_does_not_join_without_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [Member(7, "m1", URLS["m1"]), Member(8, "m2", URLS["m2"], ("http://c:2",))]

    async def ask(*_: Any) -> store_pb2.MembersReply:
        return bootstrap.answer_members(5, Members.of(known), MemoryBackend())

    monkeypatch.setattr(bootstrap, "ask_members", ask)
    assert (await who(config(None, initial_existing=True)))[0] == Identity(5, 7)
    known[0] = replace(known[0], client_urls=("http://c:1",))
    with pytest.raises(BootstrapError, match="m1 \\(7\\) has been a member .* add it anew"):
        await who(config(None, initial_existing=True))


async def test_all_members_of_a_new_cluster_compute_the_same(tmp_path: Path) -> None:
    found = [
        await who(Config(tmp_path / name, name=name, listen_peer="127.0.0.1:1", initial_cluster=URLS))
        for name in URLS
        if (tmp_path / name).mkdir() is None
    ]
    assert len({identity.cluster_id for identity, _ in found}) == 1
    assert [members for _, members in found] == [found[0][1]] * 3
    assert [members.by_id[identity.member_id].name for identity, members in found] == list(URLS)


async def test_what_is_initial_does_not_matter_later(tmp_path: Path) -> None:
    backend = MemoryBackend()
    first, members = await who(config(tmp_path), backend)
    again, same = await who(Config(tmp_path, name="m1", initial_token="other"), backend)
    assert (again, same) == (first, members)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Config(name="m9", listen_peer="127.0.0.1:1", initial_cluster=URLS), "does not name this member"),
        (Config(name="m1", initial_cluster=URLS), "needs --listen-peer"),
        (config(None, advertise_peer=("http://127.0.0.1:9",)), "--initial-advertise-peer-urls are"),
        (
            Config(name="m1", listen_peer="h:1", initial_cluster={"m1": URLS["m1"]}, initial_existing=True),
            "no other member",
        ),
        (
            Config(name="m1", listen_peer="h:1", initial_cluster={**URLS, "m2": ("https://127.0.0.1:2",)}),
            "needs a certificate",
        ),
    ],
)  # fmt: skip
async def test_contradictions_are_refused(wrong: Config, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "JOIN_TIMEOUT_S", 0)
    with pytest.raises(BootstrapError, match=message):
        await who(wrong)


async def test_a_damaged_identity_is_named(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text("1\n")
    with pytest.raises(BootstrapError, match="identity does not hold"):
        await who(Config(tmp_path))


async def test_a_start_cut_short_before_the_identity_begins_anew(tmp_path: Path) -> None:
    backend = MemoryBackend()
    Members.of([], removed=[7], as_of=99).store(backend)
    _, members = await who(config(tmp_path), backend)
    assert {member.name for member in members.voters} == set(URLS)
    assert members.as_of == 0


def test_flags_of_a_cluster(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ca", "cert", "key")]
    CertificateAuthority.create("ca", 0.0).issue("store", now=0.0, server=True).save(*files)
    secured = [f"--{prefix}{path.name}={path}" for prefix in ("", "peer-") for path in files]
    parsed = main.parse(
        [
            "--name=m1",
            f"--data-dir={tmp_path}",
            "--listen-client=127.0.0.1:5",
            "--listen-peer=127.0.0.1:6",
            *secured,
            f"--initial-cluster={FLAG},m3=http://127.0.0.1:4",
            "--initial-cluster-state=existing",
            "--initial-cluster-token=t",
            "--advertise-client-urls=https://a:1,https://b:2",
            "--listen-metrics=:7",
        ]
    )  # fmt: skip
    assert parsed.initial_cluster == {**URLS, "m3": ("http://127.0.0.1:3", "http://127.0.0.1:4")}
    assert (parsed.initial_existing, parsed.initial_token, parsed.listen_metrics) == (True, "t", ":7")
    assert parsed.client_urls == ("https://a:1", "https://b:2")
    assert parsed.peer_urls == ("http://127.0.0.1:1",)
    assert parsed.peer_credentials == parsed.credentials is not None
    own = [f"--{path.name}={path}" for path in files]
    plain = main.parse([f"--data-dir={tmp_path}", "--listen-insecure=127.0.0.1:5", "--quota-bytes=0", *own])
    assert plain.credentials is None
    assert plain.peer_credentials == parsed.credentials
    assert plain.quota_bytes == DEFAULT_QUOTA_BYTES


@pytest.mark.parametrize(
    "flags", [["--initial-cluster=m1"], ["--initial-cluster=m1=h:1"], ["--peer-ca=x"], ["--advertise-client-urls=x"]]
)
def test_bad_flags_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parse(["--data-dir=x", "--listen-insecure=127.0.0.1:0", *flags])
    assert "error: " in capsys.readouterr().err
