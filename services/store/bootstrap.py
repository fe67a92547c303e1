"""Who a member is: found out at its first start, kept for all later ones.

A lone member draws its ids. The members of a new cluster compute them, all alike, from what they are told about each
other. A member that joins asks the others. The ids are in a file of their own, which does not travel with snapshots,
and is written last: until it is there, a start that was cut short begins anew.
"""

import asyncio
import os
import random
from dataclasses import dataclass
from pathlib import Path

import grpc

from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.store.backend import Backend
from navarch.services.store.config import Config
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.membership import Members, from_reply, new_cluster, to_message
from navarch.services.store.peer_urls import ask_members
from navarch.services.store.replication.log import Member
from navarch.services.store.replication.segments import sync_directory

JOIN_TIMEOUT_S = 15.0
JOIN_RETRY_S = 0.5
# Where the ids of earlier single members are, and the token, which joining members may show.
_IDENTITY = b"identity"
_TOKEN = b"token"
_log = get_logger("store")


class BootstrapError(Exception):
    """The member cannot be what it is told to be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which member of which cluster."""

    cluster_id: int
    member_id: int


async def identify(config: Config, backend: Backend, clock: Clock, rng: random.Random) -> Identity:
    """This member's identity; its cluster's members are in the backend on return. Raises BootstrapError, OSError."""
    identity = _stored(config.data_dir, backend)
    if identity is None:
        identity, members, token = await _first(config, clock, rng)
    elif Members.load(backend).by_id:
        return identity
    elif config.data_dir is not None and backend.get_value(_IDENTITY) is None:
        # It would lead alone, under an id whose votes it has forgotten.
        raise BootstrapError(
            f"the data of {config.name} ({identity.member_id:x}) is gone from {config.data_dir}: if it is the only "
            "member, restore a snapshot; else remove it from its cluster, add it anew, and start it with an empty "
            "directory and --initial-cluster-state existing"
        )
    else:
        # A single member of the time before there were several.
        members, token = _alone(identity, config), ""
        _save(config.data_dir, identity)
    adopt(config.data_dir, backend, identity, members, token)
    return identity


def adopt(directory: Path | None, backend: Backend, identity: Identity, members: Members, token: str) -> None:
    """Keep an identity with the data, and who belongs to its cluster."""
    members.store(backend)
    backend.put_value(_TOKEN, token.encode())
    backend.delete_value(_IDENTITY)
    if isinstance(backend, LmdbBackend):
        backend.flush()
    _save(directory, identity)


def _stored(directory: Path | None, backend: Backend) -> Identity | None:
    path = _path(directory) if directory else None
    text = path.read_bytes() if path and path.exists() else backend.get_value(_IDENTITY)
    if text is None:
        return None
    try:
        cluster_id, member_id = (int(word, 16) for word in text.split())
    except ValueError as damage:
        raise BootstrapError(f"{path} does not hold the ids of a cluster and a member") from damage
    return Identity(cluster_id, member_id)


def _save(directory: Path | None, identity: Identity) -> None:
    if directory is None:
        return
    staging = directory / "identity.new"
    with staging.open("wb") as file:
        file.write(f"{identity.cluster_id:x} {identity.member_id:x}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    staging.replace(_path(directory))
    sync_directory(directory)


def _path(directory: Path) -> Path:
    return directory / "identity"


async def _first(config: Config, clock: Clock, rng: random.Random) -> tuple[Identity, Members, str]:
    if not config.initial_cluster:
        identity = Identity(rng.getrandbits(63) + 1, rng.getrandbits(63) + 1)
        return identity, _alone(identity, config), config.initial_token
    _check(config)
    if config.initial_existing:
        return await _join(config, clock)
    cluster_id, members = new_cluster(config.initial_cluster, config.initial_token)
    (member_id,) = (member.id for member in members.by_id.values() if member.name == config.name)
    await _refuse_amnesia(config, Identity(cluster_id, member_id))
    return Identity(cluster_id, member_id), members, config.initial_token


def _alone(identity: Identity, config: Config) -> Members:
    return Members.of([Member(identity.member_id, config.name, config.peer_urls, config.client_urls)])


def _check(config: Config) -> None:
    mine = config.initial_cluster.get(config.name)
    if mine is None:
        raise BootstrapError(f"--initial-cluster does not name this member ({config.name})")
    if not config.listen_peer:
        raise BootstrapError("--initial-cluster needs --listen-peer")
    if set(mine) != set(config.peer_urls):
        raise BootstrapError(
            f"--initial-cluster has {config.name} at {','.join(mine)}, "
            f"--initial-advertise-peer-urls are {','.join(config.peer_urls)}"
        )


def _others(config: Config) -> list[str]:
    return [url for name, urls in config.initial_cluster.items() if name != config.name for url in urls]


async def _refuse_amnesia(config: Config, identity: Identity) -> None:
    """A member that has taken part, but lost its data, must not begin anew: it would vote twice."""
    replies = await asyncio.gather(
        *(ask_members(url, config.peer_credentials) for url in _others(config)), return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, grpc.aio.AioRpcError):
            continue
        if isinstance(reply, BaseException):
            raise BootstrapError(str(reply)) from reply
        known = next((member for member in reply.members if member.id == identity.member_id), None)
        gone = identity.member_id in reply.removed
        if reply.cluster_id == identity.cluster_id and (gone or (known and known.client_urls)):
            raise _amnesia(config, identity)


def _amnesia(config: Config, identity: Identity) -> BootstrapError:
    return BootstrapError(
        f"{config.name} ({identity.member_id:x}) has been a member of the running cluster "
        f"{identity.cluster_id:x} and its data is gone: remove it there, add it anew, and start it with "
        "--initial-cluster-state existing"
    )


async def _join(config: Config, clock: Clock) -> tuple[Identity, Members, str]:
    """Members that do not answer, or have not heard of us yet, are asked again for a while."""
    deadline = clock.monotonic() + JOIN_TIMEOUT_S
    problem = "--initial-cluster names no other member"
    while True:
        for url in _others(config):
            try:
                reply = await ask_members(url, config.peer_credentials)
            except grpc.aio.AioRpcError as failure:
                problem = f"{url}: {failure.details()}"
                continue
            except ValueError as failure:
                raise BootstrapError(str(failure)) from failure
            if config.initial_token and config.initial_token != reply.token:
                raise BootstrapError(
                    f"the cluster of {url} began with the token {reply.token!r}, not {config.initial_token!r}"
                )
            members = from_reply(reply)
            for member in members.by_id.values():
                if not set(member.peer_urls).isdisjoint(config.peer_urls):
                    if member.client_urls:
                        # Told by the member itself, so it has run, and voted, before.
                        raise _amnesia(config, Identity(reply.cluster_id, member.id))
                    _log.info("store.joins", cluster=f"{reply.cluster_id:x}", member=f"{member.id:x}", told_by=url)
                    return Identity(reply.cluster_id, member.id), members, reply.token
            problem = (
                f"{url} knows of no member with the peer URL {', '.join(config.peer_urls)}: add it first (member add)"
            )
        if clock.monotonic() >= deadline:
            raise BootstrapError(f"cannot join: {problem}")
        await clock.sleep(JOIN_RETRY_S)


def answer_members(cluster_id: int, members: Members, backend: Backend) -> store_pb2.MembersReply:
    """What a member tells those that join."""
    return store_pb2.MembersReply(
        cluster_id=cluster_id,
        members=map(to_message, members.by_id.values()),
        removed=members.removed,
        as_of=members.as_of,
        token=(backend.get_value(_TOKEN) or b"").decode(),
    )
