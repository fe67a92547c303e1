"""/openapi/v2 and /openapi/v3: built in a thread when first asked for, kept until the kinds they describe change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from navarch.services.api.errors import NotAcceptable
from navarch.services.api.kinds import Kind
from navarch.services.api.openapi import gnostic, v2, v3
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.doors.rest.documents import Document
from navarch.services.apiserver.doors.rest.media import JSON
from navarch.services.apiserver.doors.rest.responses import plain_not_found
from navarch.services.apiserver.doors.rest.version import GIT_VERSION
from navarch.services.apiserver.registry.core import Core

TITLE: Final = "Kubernetes"
_ROOT: Final = "/openapi/v3"
# Both names that clients have had for it; Go reads only the newer one as a media type.
_PROTOBUFS: Final = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)
_FOREVER_S: Final = 365 * 24 * 3600


class _Kept:
    """A document that is made again when what it is made of has changed; by one maker at a time."""

    def __init__(self, make: Callable[[tuple[Kind, ...]], Document]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._kinds: tuple[Kind, ...] | None = None
        self._document: Document | None = None

    async def of(self, kinds: tuple[Kind, ...]) -> Document:
        """The document of these kinds."""
        async with self._lock:
            if self._document is None or kinds != self._kinds:
                self._document = await asyncio.to_thread(self._make, kinds)
                self._kinds = kinds
            return self._document


class OpenApi:
    """Answers for the kinds of a server."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._v2 = _Kept(lambda kinds: Document.of(orjson.dumps(_v2(kinds)), JSON))
        self._v2_protobuf = _Kept(lambda kinds: Document.of(gnostic.encode(_v2(kinds)), _PROTOBUFS[0]))
        self._v3: dict[str, _Kept] = {}

    async def version_2(self, call: Call) -> web.StreamResponse:
        """/openapi/v2."""
        kept = self._v2_protobuf if _wants_protobuf(call.request.headers.get("Accept", "")) else self._v2
        document = await kept.of(tuple(self._core.kinds))
        return await document.answer(call.request)

    async def index(self, call: Call) -> web.StreamResponse:
        """/openapi/v3: where the documents are; the hash in a URL changes with what is there."""
        entries = {}
        for path, kinds in self._by_path().items():
            document = await self._document(path, kinds)
            entries[path] = {"serverRelativeURL": f"{_ROOT}/{path}?hash={document.hash}"}
        return await Document.of(orjson.dumps({"paths": entries}), JSON).answer(call.request)

    async def version_3(self, call: Call) -> web.StreamResponse:
        """/openapi/v3/apis/{group}/{version} and /openapi/v3/api/v1."""
        path = call.request.path.removeprefix(_ROOT).strip("/")
        kinds = self._by_path().get(path)
        if kinds is None:
            return plain_not_found()
        if not _accepts_json(call.request.headers.get("Accept", "")):
            raise NotAcceptable(f"only the following media types are accepted: {JSON}")
        document = await self._document(path, kinds)
        asked = call.text("hash")
        if not asked:
            return await document.answer(call.request)
        if asked != document.hash:
            # The index that the client has is old; what it asked for must not be kept under that name.
            return web.Response(status=301, headers={"Location": f"{_ROOT}/{path}?hash={document.hash}"})
        return await document.answer(call.request, **{"Cache-Control": f"public, immutable, max-age={_FOREVER_S}"})

    def _by_path(self) -> dict[str, tuple[Kind, ...]]:
        found: dict[str, list[Kind]] = {}
        for kind in self._core.kinds:
            path = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
            found.setdefault(path, []).append(kind)
        for path in self._v3.keys() - found.keys():
            del self._v3[path]
        return {path: tuple(found[path]) for path in sorted(found)}

    async def _document(self, path: str, kinds: tuple[Kind, ...]) -> Document:
        kept = self._v3.get(path)
        if kept is None:
            kept = self._v3[path] = _Kept(_version_3)
        return await kept.of(kinds)


def _v2(kinds: tuple[Kind, ...]) -> dict[str, Any]:
    return v2.document(list(kinds), TITLE, GIT_VERSION)


def _version_3(kinds: tuple[Kind, ...]) -> Document:
    return Document.of(orjson.dumps(v3.document(list(kinds), TITLE, GIT_VERSION)), JSON)


def _wants_protobuf(accept: str) -> bool:
    for entry in accept.split(","):
        media = entry.partition(";")[0].strip()
        if media in _PROTOBUFS:
            return True
        if media in (JSON, "application/*", "*/*"):
            return False
    if accept:
        raise NotAcceptable(f"only the following media types are accepted: {', '.join((JSON, *_PROTOBUFS))}")
    return False


def _accepts_json(accept: str) -> bool:
    medias = {entry.partition(";")[0].strip() for entry in accept.split(",")}
    return not medias.isdisjoint({"", JSON, "application/*", "*/*"})


def paths(core: Core) -> dict[str, Handler]:
    """The handlers by path."""
    answers = OpenApi(core)
    return {
        "/openapi/v2": answers.version_2,
        "/openapi/v3": answers.index,
        "/openapi/v3/": answers.version_3,
    }
