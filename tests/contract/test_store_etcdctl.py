"""Debian's etcdctl on our store; and the same script on Debian's etcd, which must print the same."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Etcdctl = Callable[..., str]
VALUES_OF_THE_MEMBER = re.compile(r"\b[0-9a-f]{12,16}\b")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client(address: str) -> Etcdctl:
    def run(*arguments: str, stdin: str = "", timeout: float = 20) -> str:
        command = ["etcdctl", "--endpoints", address, "--command-timeout=15s", *arguments]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
        return done.stdout if done.returncode == 0 else "refused: " + (done.stderr.strip().splitlines() or [""])[-1]

    return run


def wait_ready(etcdctl: Etcdctl, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while "is healthy" not in etcdctl("endpoint", "health") + etcdctl("endpoint", "health", "-w", "simple"):
        assert process.poll() is None, "the server ended"
        if etcdctl("get", "x") == "":
            return
        assert time.monotonic() < deadline


@contextlib.contextmanager
def running(command: list[str], address: str) -> Iterator[Etcdctl]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            etcdctl = client(address)
            wait_ready(etcdctl, process)
            yield etcdctl
        finally:
            process.terminate()
            process.wait(10)


def ours(directory: Path, address: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "navarch.services.store.main",
        "--data-dir",
        str(directory),
        "--listen-insecure",
        address,
    ]


def theirs(directory: Path, address: str) -> list[str]:
    etcd = shutil.which("etcd")
    assert etcd, "install etcd-server"
    url, peer = f"http://{address}", f"http://127.0.0.1:{free_port()}"
    return [
        etcd, "--data-dir", str(directory), "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip


@pytest.fixture
def etcdctl(tmp_path: Path) -> Iterator[Etcdctl]:
    address = f"127.0.0.1:{free_port()}"
    with running(ours(tmp_path / "store", address), address) as run:
        yield run


def script(etcdctl: Etcdctl) -> list[str]:
    """Everything whose output does not depend on the member."""
    lease = ""

    def time_to_live() -> str:
        text = re.sub(r"remaining\(\d+s\)", "remaining", etcdctl("lease", "timetolive", lease, "--keys"))
        # etcd names the keys in no order.
        return re.sub(r"keys\(\[(.*)\]\)", lambda keys: " ".join(sorted(keys[1].split())), text)

    def granted(ttl: int) -> str:
        nonlocal lease
        text = etcdctl("lease", "grant", str(ttl))
        match = re.search(r"lease (\w+) granted", text)
        assert match, text
        lease = match[1]
        return text

    steps: list[Callable[[], str]] = [
        lambda: etcdctl("put", "a", "1"),
        lambda: etcdctl("put", "a", "2", "--prev-kv"),
        lambda: etcdctl("put", "ab", "3"),
        lambda: etcdctl("put", "b", "4"),
        lambda: etcdctl("get", "a"),
        lambda: etcdctl("get", "a", "--prefix", "--keys-only"),
        lambda: etcdctl("get", "a", "c", "--sort-by=VALUE", "--order=DESCEND"),
        lambda: etcdctl("get", "", "--prefix", "--limit=2"),
        lambda: "Count" + etcdctl("get", "a", "c", "--count-only", "--write-out=fields").partition("Count")[2],
        lambda: etcdctl("get", "a", "--rev=2"),
        lambda: etcdctl("get", "a", "--rev=99"),
        lambda: etcdctl("put", "x", "--ignore-value"),
        lambda: etcdctl("txn", stdin='value("a") = "2"\nversion("zzz") = "0"\n\nput t yes\nget a\n\nput t no\n\n'),
        lambda: etcdctl("txn", stdin='mod("a") > "3"\n\nput t yes\n\nget b\ndel b\n\n'),
        lambda: etcdctl("txn", stdin="\nput d 1\nput d 2\n\n\n"),
        lambda: etcdctl("get", "", "--prefix"),
        lambda: etcdctl("del", "a", "--prefix", "--prev-kv"),
        lambda: etcdctl("del", "nothing"),
        lambda: granted(100),
        lambda: etcdctl("put", "leased", "1", "--lease", lease),
        lambda: etcdctl("put", "leased2", "1", "--lease", lease),
        time_to_live,
        lambda: etcdctl("lease", "list"),
        lambda: etcdctl("lease", "keep-alive", "--once", lease),
        lambda: etcdctl("lease", "revoke", lease),
        lambda: etcdctl("lease", "revoke", lease),
        lambda: etcdctl("lease", "timetolive", lease),
        lambda: etcdctl("lease", "keep-alive", "--once", lease),
        lambda: etcdctl("put", "leased", "1", "--lease", "123"),
        lambda: etcdctl("get", "leased"),
        lambda: etcdctl("lease", "grant", "9000000001"),
        lambda: etcdctl("compaction", "4"),
        lambda: etcdctl("compaction", "4"),
        lambda: etcdctl("compaction", "400"),
        lambda: etcdctl("compaction", "5", "--physical"),
        lambda: etcdctl("get", "a", "--rev=3"),
        lambda: etcdctl("get", "", "--prefix", "--rev=6"),
        lambda: etcdctl("alarm", "list"),
        lambda: etcdctl("move-leader", "1234"),
        lambda: etcdctl("member", "remove", "1234"),
        lambda: etcdctl("put", "big", "x" * 100_000),
        lambda: str(len(etcdctl("get", "big", "--print-value-only"))),
        lambda: etcdctl("put", "toobig", stdin="x" * (1 << 20) * 2),
        lambda: etcdctl("put", "", "1"),
    ]
    return [VALUES_OF_THE_MEMBER.sub("<id>", step()) for step in steps]


def comparable(line: str) -> str:
    """A refusal without what etcdctl wraps around it."""
    return re.sub(r"^refused: .*?(etcdserver: .*?|context .*)\"?}?$", r"refused: \1", line)


def test_etcdctl_prints_the_same_as_on_etcd(tmp_path: Path) -> None:
    outputs = []
    for name, command in (("ours", ours), ("theirs", theirs)):
        address = f"127.0.0.1:{free_port()}"
        with running(command(tmp_path / name, address), address) as etcdctl:
            outputs.append([comparable(text) for text in script(etcdctl)])
    assert outputs[0] == outputs[1]


def test_watch_prints_the_same_as_on_etcd(tmp_path: Path) -> None:
    outputs = []
    for name, command in (("ours", ours), ("theirs", theirs)):
        address = f"127.0.0.1:{free_port()}"
        with running(command(tmp_path / name, address), address) as etcdctl:
            outputs.append(watched(address, etcdctl))
    assert outputs[0] == outputs[1]
    assert outputs[0] == "PUT\nw1\none\nPUT\nw1\none\nw1\ntwo\nDELETE\nw1\ntwo\nw1\n\nPUT\nw2\nthree\nPUT\nend\n\n"


def watched(address: str, etcdctl: Etcdctl) -> str:
    """The output of a watch from revision 2 on, until it has shown the key `end`."""
    for command in (("put", "w1", "one"), ("put", "w1", "two"), ("del", "w1")):
        etcdctl(*command)
    watch = ["etcdctl", "--endpoints", address, "watch", "", "--prefix", "--prev-kv", "--rev=2"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True, env={**os.environ, "ETCDCTL_API": "3"}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        etcdctl("put", "w2", "three")
        etcdctl("put", "end", "")
        while lines[-2:] != ["end\n", "\n"]:
            lines.append(process.stdout.readline())
        process.terminate()
    return "".join(lines)


def test_a_watch_of_compacted_history_says_so(etcdctl: Etcdctl) -> None:
    for value in "123":
        etcdctl("put", "a", value)
    etcdctl("compaction", "4")
    assert "watch is canceled by the server" in etcdctl("watch", "a", "--rev=2") or "compacted" in etcdctl(
        "watch", "a", "--rev=2"
    )


def test_a_lease_that_is_not_kept_alive_takes_its_keys_along(etcdctl: Etcdctl) -> None:
    match = re.search(r"lease (\w+) granted", etcdctl("lease", "grant", "2"))
    assert match
    etcdctl("put", "leased", "1", "--lease", match[1])
    assert etcdctl("get", "leased") == "leased\n1\n"
    # The watch ends when the key is gone.
    assert etcdctl("watch", "leased", "--", "sh", "-c", 'test "$ETCD_WATCH_EVENT_TYPE" && kill $PPID').startswith(
        "refused"
    )
    assert etcdctl("get", "leased") == ""
    assert "already expired" in etcdctl("lease", "timetolive", match[1])


def test_endpoint_status_health_hash_and_members(etcdctl: Etcdctl) -> None:
    etcdctl("put", "a", "1")
    status = etcdctl("endpoint", "status", "--write-out=fields")
    assert re.search(r'"Version" : "3\.5\.\d+"', status)
    assert re.search(r'"Revision" : 2\b', status)
    assert re.search(r'"Leader" : (\d+)', status)[1] == re.search(r'"MemberID" : (\d+)', status)[1]  # type: ignore[index]
    assert int(re.search(r'"RaftIndex" : (\d+)', status)[1]) >= 3  # type: ignore[index]
    members = etcdctl("member", "list", "--write-out=fields")
    assert '"Name" : "default"' in members
    hashed = etcdctl("endpoint", "hashkv", "--write-out=json")
    assert hashed == etcdctl("endpoint", "hashkv", "--write-out=json")
    etcdctl("put", "a", "2")
    assert hashed != etcdctl("endpoint", "hashkv", "--write-out=json")
    assert "Finished defragmenting" in etcdctl("defrag")
    assert etcdctl("get", "a") == "a\n2\n"
    assert not etcdctl("move-leader", re.search(r'"MemberID" : (\d+)', status)[1]).startswith("a")  # type: ignore[index]


def test_a_snapshot_is_the_data_and_its_checksum(etcdctl: Etcdctl, tmp_path: Path) -> None:
    import hashlib

    import lmdb

    etcdctl("put", "a", "snapshot me")
    assert "Snapshot saved" in etcdctl("snapshot", "save", str(tmp_path / "snapshot"))
    blob = (tmp_path / "snapshot").read_bytes()
    data, checksum = blob[:-32], blob[-32:]
    assert hashlib.sha256(data).digest() == checksum
    (tmp_path / "data.mdb").write_bytes(data)
    with lmdb.open(str(tmp_path / "data.mdb"), subdir=False, max_dbs=2, readonly=True, lock=False) as env:
        records = env.open_db(b"records", create=False)
        with env.begin() as txn:
            assert any(b"snapshot me" in value for _, value in txn.cursor(records))


def test_a_full_store_raises_an_alarm_and_recovers(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running([*ours(tmp_path, address), "--quota-bytes", "500000"], address) as etcdctl:
        answers = [etcdctl("put", "big", "x" * 50_000) for _ in range(12)]
        assert answers[0] == "OK\n"
        assert "etcdserver: mvcc: database space exceeded" in answers[-1]
        assert "alarm:NOSPACE" in etcdctl("alarm", "list")
        revision = re.search(r'"Revision" : (\d+)', etcdctl("endpoint", "status", "--write-out=fields"))
        assert revision
        etcdctl("compaction", "--physical", revision[1])
        etcdctl("defrag")
        assert "alarm:NOSPACE" in etcdctl("alarm", "disarm")
        assert etcdctl("alarm", "list") == ""
        assert etcdctl("put", "small", "1") == "OK\n"


def test_two_stores_do_not_share_a_directory(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running(ours(tmp_path, address), address):
        second = subprocess.run(ours(tmp_path, "127.0.0.1:0"), capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    assert "is in use by another store" in second.stderr
