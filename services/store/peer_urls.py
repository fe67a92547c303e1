"""URLs of members, and calls over them outside the regular traffic: to join, to ask, to forward."""

from urllib.parse import urlsplit

import grpc

from navarch.protos.navarch import store_pb2, store_pb2_grpc
from navarch.services.base.dialing import channel
from navarch.services.base.tls import Credentials

ASK_TIMEOUT_S = 2.0


def parse(url: str) -> tuple[bool, str]:
    """Whether a URL is for TLS, and its "host:port". Raises ValueError for what is no URL of a member."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port is None:
        raise ValueError(f"{url!r} is not http(s)://HOST:PORT")
    if parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r} has more than http(s)://HOST:PORT")
    return parts.scheme == "https", parts.netloc


def dial(url: str, credentials: Credentials | None) -> grpc.aio.Channel:
    """A connection to a member. Raises ValueError for a URL that is none, or needs credentials that we lack."""
    secure, address = parse(url)
    if secure and credentials is None:
        raise ValueError(f"{url} needs a certificate (--peer-cert)")
    return channel(address, credentials if secure else None)


async def ask_members(
    url: str, credentials: Credentials | None, known: store_pb2.MembersReply | None = None
) -> store_pb2.MembersReply:
    """The members as the one at this URL knows them, told what we know. Raises grpc.aio.AioRpcError, ValueError."""
    async with dial(url, credentials) as connection:
        stub = store_pb2_grpc.PeerStub(connection)
        return await stub.Members(store_pb2.MembersRequest(known=known), timeout=ASK_TIMEOUT_S)
