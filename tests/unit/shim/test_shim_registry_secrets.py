"""What is secret in the addresses of registries stays out of errors, which end up in Events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from navarch.runtime_shim import errors, reference
from navarch.runtime_shim.containerd.images.auth import Credentials
from navarch.runtime_shim.containerd.images.endpoint import ANSWER_BYTES, Endpoint, read_all
from navarch.runtime_shim.containerd.images.hosts import Host
from navarch.runtime_shim.containerd.images.options import PullOptions

SIGNED = "signed?Signature=secret"
LARGE = f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BYTES + 1}\r\n\r\n".encode() + bytes(ANSWER_BYTES + 1)


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """A server that gives these answers in turn, %s in them being its address; the value is that."""
    remaining = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(remaining.pop(0).replace(b"%s", address.encode()))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield address


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 307 There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def challenge(realm: str) -> bytes:
    return f'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="{realm}"\r\nContent-Length: 0\r\n\r\n'.encode()


@pytest.mark.parametrize(
    "answers",
    [
        (redirect(f"http://%s/{SIGNED}"), b"HTTP/1.1 nonsense\r\n\r\n"),
        (redirect(f"http://%s/{SIGNED}"), b""),
        (redirect(f"http://%s/{SIGNED}"), LARGE),
        (redirect("http://user:secret@:bad/"),),
        (redirect("http://user:secret@%s:99999999/"),),
        (redirect("ftp://user:secret@%s/"),),
        (challenge("http://user:secret@%s/token?key=secret"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        (challenge("http://user:secret@%s/token?key=secret"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
        (challenge("http://user:secret@%s/token?key=secret"), LARGE),
        (challenge("http://user:secret@:bad/token?key=secret"),),
        (challenge("nowhere?key=secret"),),
    ],
)
async def test_errors_tell_no_secrets(answers: tuple[bytes, ...]) -> None:
    async with answering(*answers) as address, aiohttp.ClientSession() as session:
        host = Host(f"http://{address}/v2")
        image = reference.parse(f"{address}/web:v1")
        endpoint = Endpoint(session, host, image, Credentials(), PullOptions())
        with pytest.raises(errors.ShimError) as refused:
            async with endpoint.get("manifests/v1", {}) as response:
                await read_all(response, ANSWER_BYTES)
        assert "secret" not in str(refused.value)
