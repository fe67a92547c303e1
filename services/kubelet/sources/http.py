"""Static Pods from a URL: one Pod, or a list of Pods, as JSON or YAML.

It is asked now and then. An answer is taken whole or not at all: while there is none, or none that is right in every
part, the Pods of the last good one stay.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from navarch.services.kubelet.core.static_pods import SOURCE_HTTP
from navarch.services.kubelet.sources.source import Found, read_manifest

CHECK_S = 20.0
# As the genuine kubelet has them.
TIMEOUT_S = 10.0
MOST_BYTES = 10 << 20


class Url:
    """The manifest at a URL, for one node. headers: sent with each request; a name may come more than once."""

    def __init__(self, url: str, node: str, headers: Sequence[tuple[str, str]] = (), check_s: float = CHECK_S) -> None:
        self._url = url
        self._node = node
        self._headers = headers
        self._last = b""
        self._found = Found(None)
        self.check_s = check_s

    @contextmanager
    def changes(self) -> Iterator[asyncio.Event]:
        """An event that is never set."""
        yield asyncio.Event()

    async def read(self) -> Found:
        """The Pods of a good answer; of none or a bad one, what is wrong with it."""
        try:
            text = await self._get()
        except OSError as failure:
            return Found(None, {self._url: str(failure) or type(failure).__name__})
        if not text.strip():
            return Found({}, {self._url: "zero-length data received"})
        if text != self._last:
            self._found = await asyncio.to_thread(read_manifest, text, self._url, self._node, SOURCE_HTTP)
            self._last = text
        return Found(None, self._found.faults) if self._found.faults else self._found

    async def _get(self) -> bytes:
        """The body of the answer. Raises OSError for one that is no answer."""
        # A client for HTTP costs memory that a node without such Pods need not spend.
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, headers=self._headers) as response,
            ):
                if response.status != 200:
                    raise OSError(f"{response.status} {response.reason}")
                body = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise OSError(f"the answer has more than {MOST_BYTES} bytes")
                return bytes(body)
        except (aiohttp.ClientError, ValueError) as failure:
            raise OSError(str(failure)) from failure
