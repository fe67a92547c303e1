"""Our store and Debian's etcd as processes, to hold one against the other."""

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc

MESSAGE_BYTES = 256 << 20
NAMES = ("navarch", "etcd")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(name: str, directory: Path, address: str) -> list[str]:
    """What starts a lone member of one of NAMES."""
    if name == "navarch":
        store = [sys.executable, "-m", "navarch.services.store.main", "--data-dir", str(directory)]
        return [*store, "--listen-insecure", address]
    etcd = shutil.which("etcd")
    assert etcd, "Debian's etcd-server is needed"
    client, peer = f"http://{address}", f"http://127.0.0.1:{free_port()}"
    return [
        *(etcd, "--data-dir", str(directory), "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer),
        *("--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
    ]


@contextlib.contextmanager
def serving(name: str, directory: Path, arguments: Sequence[str] = ()) -> Iterator[grpc.Channel]:
    """A running member and a connection to it."""
    address = f"127.0.0.1:{free_port()}"
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_reconnect_backoff_ms", 100)]
    log = directory.with_suffix(".log").open("wb")
    with log, subprocess.Popen([*command(name, directory, address), *arguments], stdout=log, stderr=log) as process:
        try:
            with contextlib.closing(grpc.insecure_channel(address, options=options)) as channel:
                kv = rpc_pb2_grpc.KVStub(channel)
                kv.Range(rpc_pb2.RangeRequest(key=b"ready"), timeout=60, wait_for_ready=True)
                yield channel
        finally:
            process.terminate()
            process.wait(20)
