"""Documents that change rarely: kept with their hash, sent compressed, or not at all to who has them already."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import dataclass

from aiohttp import web

from navarch.services.apiserver.doors.rest.responses import compressed

# Smaller ones are kept and sent as they are.
_WORTH_PACKING = 16 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """Some bytes of a media type. data: in gzip's format if `is_packed`."""

    media: str
    hash: str
    data: bytes
    is_packed: bool

    @classmethod
    def of(cls, data: bytes, media: str) -> Document:
        """Hashed, and packed where that pays."""
        name = hashlib.sha512(data).hexdigest().upper()
        if len(data) < _WORTH_PACKING:
            return cls(media, name, data, False)
        return cls(media, name, compressed(data), True)

    async def answer(self, request: web.BaseRequest, **headers: str) -> web.Response:
        """The document, or 304 where the client's copy has the same hash."""
        tag = f'"{self.hash}"'
        headers = {"ETag": tag, "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-cache, private", **headers}
        known = request.headers.get("If-None-Match", "")
        if tag in known or known.strip() == "*":
            return web.Response(status=304, headers=headers)
        data = self.data
        if self.is_packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
        elif self.is_packed:
            data = await asyncio.to_thread(zlib.decompress, data, 31)
        return web.Response(body=data, headers={**headers, "Content-Type": self.media})
