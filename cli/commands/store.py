"""``navarch store``: care for the store that holds a cluster's objects; any etcd answers most of it, too."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import typer

from navarch.cli import options
from navarch.cli.cluster.certificates import credentials
from navarch.cli.cluster.host import default_data_dir
from navarch.cli.cluster.layout import Layout
from navarch.cli.commands.image import human_size
from navarch.cli.errors import UsageError
from navarch.cli.output.table import print_rows
from navarch.cli.session import run
from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import channel

R = TypeVar("R")

OFFLINE = "navarch.services.store.offline"
TIMEOUT_S = 5.0
# A change of members waits for an election, if there is one.
CHANGE_TIMEOUT_S = 15.0
DIGEST_BYTES = 32

store = typer.Typer(help="Look after the store that holds the objects.", no_args_is_help=True)
member = typer.Typer(help="Who takes part in the store.", no_args_is_help=True)
store.add_typer(member, name="member")

Endpoints = Annotated[
    str, typer.Option("--endpoints", help="HOST:PORT or URL of members, with commas between. Default: this host's.")
]
Ca = Annotated[Path | None, typer.Option("--ca", help="The authority of the store's certificates.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="The certificate to show.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key.")]
MemberId = Annotated[str, typer.Argument(help="Its id, as `member list` shows it.", metavar="ID")]
PeerUrls = Annotated[str, typer.Option("--peer-urls", help="Where the other members reach it: http(s)://HOST:PORT,...")]


def register(app: typer.Typer) -> None:
    """Add the command with its verbs."""
    app.add_typer(store, name="store")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the members are and what to show them."""

    endpoints: list[str]
    credentials: Credentials | None

    @classmethod
    def of(cls, endpoints: str, files: tuple[Path | None, Path | None, Path | None], data_dir: Path | None) -> "Target":
        """What the flags say, else the store of the cluster on this host. Raises UsageError."""
        if any(files) and not all(files):
            raise UsageError("--ca, --cert and --key go together")
        shown = Credentials.load(*files) if all(files) else None  # type: ignore[arg-type]
        if endpoints:
            if shown is None and "https://" in endpoints:
                raise UsageError("https needs --ca, --cert and --key")
            return cls(endpoints.split(","), shown)
        directory = (data_dir or default_data_dir()).resolve()
        layout = Layout.load(directory)
        if layout is None:
            raise UsageError(f"no cluster in {directory}. Name the members of another store with --endpoints")
        return cls([layout.address("store")], shown or credentials(layout, "store"))

    def connect(self, endpoint: str) -> grpc.aio.Channel:
        """A connection to one member."""
        scheme, separator, address = endpoint.rpartition("://")
        secure = scheme == "https" if separator else self.credentials is not None
        return channel(address, self.credentials if secure else None)

    async def any(self, call: Callable[[grpc.aio.Channel], Awaitable[R]]) -> R:
        """Ask the members one after another, until one can be reached. Raises UsageError with the last refusal."""
        for endpoint in self.endpoints:
            async with self.connect(endpoint) as connection:
                try:
                    return await call(connection)
                except grpc.aio.AioRpcError as failure:
                    refusal = UsageError(f"{endpoint}: {explained(failure)}")
                    if failure.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        break
        raise refusal


def explained(failure: grpc.aio.AioRpcError) -> str:
    """A refusal in few words."""
    details = failure.details() or ""
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "does not answer in time"
    return (details.rpartition("last error: ")[2] or failure.code().name).strip()


@store.command()
def status(
    endpoints: Endpoints = "", ca: Ca = None, cert: Cert = None, key: Key = None, data_dir: options.DataDir = None
) -> None:
    """Show how each member is. Fails when one does not answer or complains."""
    target = Target.of(endpoints, (ca, cert, key), data_dir)
    answers = run(_all(target))
    header = ["ENDPOINT", "ID", "NAME", "VERSION", "DB SIZE", "IN USE", "QUOTA", "LEADER", "LEARNER"]
    header += ["TERM", "INDEX", "APPLIED", "ERRORS"]
    print_rows(header, [row for row, _ in answers])
    if any(bad for _, bad in answers):
        raise typer.Exit(1)


async def _all(target: Target) -> list[tuple[list[str], bool]]:
    return await asyncio.gather(*(_status(target, endpoint) for endpoint in target.endpoints))


async def _status(target: Target, endpoint: str) -> tuple[list[str], bool]:
    async with target.connect(endpoint) as connection:
        try:
            answer = await rpc_pb2_grpc.MaintenanceStub(connection).Status(rpc_pb2.StatusRequest(), timeout=TIMEOUT_S)
            listed = await rpc_pb2_grpc.ClusterStub(connection).MemberList(
                rpc_pb2.MemberListRequest(linearizable=False), timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError as failure:
            return [endpoint, *[""] * 11, explained(failure)], True
    my_id = answer.header.member_id
    name = next((known.name for known in listed.members if my_id == known.ID), "")
    row = [endpoint, f"{my_id:x}", name, answer.version]
    row += [human_size(size) if size else "" for size in (answer.dbSize, answer.dbSizeInUse, answer.dbSizeQuota)]
    row += [_yes(answer.leader == my_id), _yes(answer.isLearner)]
    row += [str(number) for number in (answer.raftTerm, answer.raftIndex, answer.raftAppliedIndex)]
    return [*row, "; ".join(error.strip() for error in answer.errors)], bool(answer.errors)


def _yes(true: bool) -> str:
    return "yes" if true else "no"


@store.command()
def snapshot(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    endpoints: Endpoints = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    data_dir: options.DataDir = None,
) -> None:
    """Copy all objects as of now into a file, for `navarch store restore`."""
    target = Target.of(endpoints, (ca, cert, key), data_dir)
    if not file.resolve().parent.is_dir():
        raise UsageError(f"{file.parent} is no directory")
    staging = file.with_name(f"{file.name}.part")
    try:
        size = run(target.any(lambda connection: _receive(connection, staging)))
        staging.replace(file)
    finally:
        staging.unlink(missing_ok=True)
    _sync_directory(file.resolve().parent)
    print(f"Saved {human_size(size)} to {file}")


async def _receive(connection: grpc.aio.Channel, path: Path) -> int:
    """Write a snapshot, whole and durable. Returns its size."""
    digest, tail, size = hashlib.sha256(), b"", 0
    # It holds every secret of the cluster, so whoever may read the directory need not read it.
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    with path.open("wb") as file:
        async for piece in rpc_pb2_grpc.MaintenanceStub(connection).Snapshot(rpc_pb2.SnapshotRequest()):
            file.write(piece.blob)
            size += len(piece.blob)
            # The last bytes are the checksum of those before.
            tail += piece.blob
            digest.update(tail[:-DIGEST_BYTES])
            tail = tail[-DIGEST_BYTES:]
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise UsageError("the store sent nothing: it keeps its data in memory only")
    if tail != digest.digest():
        raise UsageError(f"what arrived is not what was sent: the SHA-256 of the {size} bytes differs. Try again")
    return size


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@store.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A snapshot.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="The directory to make, of one member.")],
    initial_cluster: Annotated[str, typer.Option("--initial-cluster", help="All members: NAME=URL,NAME=URL,...")],
    name: Annotated[str, typer.Option("--name", help="This member.")] = "default",
    initial_advertise_peer_urls: Annotated[
        str, typer.Option("--initial-advertise-peer-urls", help="Checked against --initial-cluster where given.")
    ] = "",
    initial_cluster_token: Annotated[str, typer.Option("--initial-cluster-token", help="Tells clusters apart.")] = "",
    bump_revision: Annotated[
        int, typer.Option("--bump-revision", min=0, help="Go on that many revisions later, so that none comes twice.")
    ] = 0,
    mark_compacted: Annotated[
        bool, typer.Option("--mark-compacted", help="Have watchers read all anew; goes with --bump-revision.")
    ] = False,
    skip_hash_check: Annotated[
        bool, typer.Option("--skip-hash-check", help="Accept a file without a checksum at its end.")
    ] = False,
) -> None:
    """Make the data directory of a member of a new cluster; the same for each of its members, from one file."""
    if mark_compacted != bool(bump_revision):
        raise UsageError("--bump-revision and --mark-compacted go together")
    flags = [
        f"--data-dir={data_dir}",
        f"--name={name}",
        f"--initial-cluster={initial_cluster}",
        *([f"--initial-advertise-peer-urls={urls}"] if (urls := initial_advertise_peer_urls) else []),
        f"--initial-cluster-token={initial_cluster_token}",
        f"--bump-revision={bump_revision}",
        *(["--skip-hash-check"] if skip_hash_check else []),
    ]
    _offline("restore", str(file), *flags)


@store.command()
def verify(path: Annotated[Path, typer.Argument(help="A data directory that is not in use, or a snapshot.")]) -> None:
    """Read all of it and say what is damaged, and where."""
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    _offline("verify", str(path))


def _offline(*words: str) -> None:
    """Work on files is the store's own, in a process of its own, which damaged files may take down."""
    code = subprocess.run([sys.executable, "-m", OFFLINE, *words], check=False).returncode
    if code < 0:
        raise UsageError(f"reading the data ended with signal {-code}: it is damaged")
    if code:
        raise typer.Exit(code)


@member.command("list")
def list_members(
    endpoints: Endpoints = "", ca: Ca = None, cert: Cert = None, key: Key = None, data_dir: options.DataDir = None
) -> None:
    """List the members."""
    request = rpc_pb2.MemberListRequest(linearizable=True)
    _print_members(_call(Target.of(endpoints, (ca, cert, key), data_dir), "MemberList", request).members)


@member.command()
def add(
    name: Annotated[str, typer.Argument(help="What it will be called.")],
    peer_urls: PeerUrls,
    learner: Annotated[bool, typer.Option("--learner", help="It listens only, until it is promoted.")] = False,
    endpoints: Endpoints = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    data_dir: options.DataDir = None,
) -> None:
    """Admit a member, and say how to start it."""
    request = rpc_pb2.MemberAddRequest(peerURLs=peer_urls.split(","), isLearner=learner)
    answer = _call(Target.of(endpoints, (ca, cert, key), data_dir), "MemberAdd", request)
    print(f"Added member {answer.member.ID:x}. Start it with:")
    names = {one.ID: one.name for one in answer.members} | {answer.member.ID: name}
    known = [f"{names[one.ID]}={url}" for one in answer.members for url in one.peerURLs]
    print(f"  --name={name} --initial-cluster-state=existing --initial-cluster={','.join(known)}")


@member.command()
def remove(
    member_id: MemberId,
    endpoints: Endpoints = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    data_dir: options.DataDir = None,
) -> None:
    """Send a member away for good."""
    request = rpc_pb2.MemberRemoveRequest(ID=_id(member_id))
    _call(Target.of(endpoints, (ca, cert, key), data_dir), "MemberRemove", request)
    print(f"Removed member {member_id}")


@member.command()
def promote(
    member_id: MemberId,
    endpoints: Endpoints = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    data_dir: options.DataDir = None,
) -> None:
    """Let a learner vote."""
    request = rpc_pb2.MemberPromoteRequest(ID=_id(member_id))
    _call(Target.of(endpoints, (ca, cert, key), data_dir), "MemberPromote", request)
    print(f"Promoted member {member_id}")


@member.command()
def update(
    member_id: MemberId,
    peer_urls: PeerUrls,
    endpoints: Endpoints = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    data_dir: options.DataDir = None,
) -> None:
    """Tell the others where a member is reached now."""
    request = rpc_pb2.MemberUpdateRequest(ID=_id(member_id), peerURLs=peer_urls.split(","))
    _call(Target.of(endpoints, (ca, cert, key), data_dir), "MemberUpdate", request)
    print(f"Updated member {member_id}")


def _id(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise UsageError(f"{text!r} is not the id of a member, which is hexadecimal") from error


def _call(target: Target, method: str, request: object) -> Any:
    work: Coroutine[Any, Any, Any] = target.any(
        lambda connection: getattr(rpc_pb2_grpc.ClusterStub(connection), method)(request, timeout=CHANGE_TIMEOUT_S)
    )
    return run(work)


def _print_members(members: Any) -> None:
    rows = [
        [
            f"{one.ID:x}",
            "started" if one.name else "unstarted",
            one.name,
            ",".join(one.peerURLs),
            ",".join(one.clientURLs),
            _yes(one.isLearner),
        ]
        for one in sorted(members, key=lambda one: one.name)
    ]
    print_rows(["ID", "STATUS", "NAME", "PEER URLS", "CLIENT URLS", "LEARNER"], rows)
