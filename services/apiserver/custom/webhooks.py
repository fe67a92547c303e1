"""Conversion of custom objects by the webhook of their definition."""

import random
import ssl
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from navarch.services.api import codec
from navarch.services.api.custom import conversion, objects
from navarch.services.api.custom.versions import Conversion
from navarch.services.api.errors import ApiError, InternalError
from navarch.services.api.kinds import Kind

TIMEOUT_S = 30.0
ANSWER_BYTES = 64 << 20


class Converter:
    """Calls webhooks. resolve: (namespace, name, port) of a service -> host and port behind it."""

    def __init__(self, resolve: Callable[[str, str, int], Awaitable[tuple[str, int]]], rng: random.Random) -> None:
        self._resolve = resolve
        self._rng = rng

    async def convert(self, kind: Kind, messages: Sequence[Any], desired: str) -> list[Any]:
        """The objects in the desired apiVersion, in order. Raises InternalError."""
        wrong = [message for message in messages if message.api_version != desired]
        if not wrong:
            return list(messages)
        documents = [codec.to_json(message) for message in wrong]
        uid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        try:
            answer = await self._post(kind.custom.conversion, conversion.review(uid, desired, documents))
            found = conversion.converted(answer, uid, desired, documents)
        except ApiError as failure:
            detail = failure.message.removeprefix("Internal error occurred: ")
            raise InternalError(f"conversion webhook for {_gvk(documents[0])} failed: {detail}") from failure
        fresh = iter([objects.decoded(document) for document in found])
        return [message if message.api_version == desired else next(fresh) for message in messages]

    async def _post(self, where: Conversion, body: bytes) -> bytes:
        url, name, server = await self._address(where)
        context = ssl.create_default_context(cadata=where.ca_bundle.decode() or None)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Host": name} if name else {"Content-Type": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    url, data=body, headers=headers, ssl=context, server_hostname=server, allow_redirects=False
                ) as response,
            ):
                data = bytearray()
                async for piece in response.content.iter_any():
                    data += piece
                    if len(data) > ANSWER_BYTES:
                        raise InternalError(f'Post "{url}": the answer is longer than {ANSWER_BYTES} bytes')
        except (TimeoutError, aiohttp.ClientError, OSError) as failure:
            raise InternalError(f'Post "{url}": {failure or type(failure).__name__}') from failure
        if response.status != 200:
            raise InternalError(f"the server answered {response.status}: {bytes(data[:200])!r}")
        return bytes(data)

    async def _address(self, where: Conversion) -> tuple[str, str, str | None]:
        """URL, Host header and the name in the server's certificate."""
        if where.url:
            return where.url, "", None
        name = f"{where.service_name}.{where.service_namespace}.svc"
        host, port = await self._resolve(where.service_namespace, where.service_name, where.service_port)
        host = f"[{host}]" if ":" in host else host
        return f"https://{host}:{port}/{where.service_path.lstrip('/')}", f"{name}:{where.service_port}", name


def _gvk(document: dict[str, Any]) -> str:
    group, _, version = document["apiVersion"].rpartition("/")
    return f"{group}/{version}, Kind={document['kind']}"
