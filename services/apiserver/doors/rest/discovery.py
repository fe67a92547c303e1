"""/api and /apis: what there is, in the old form and in the aggregated one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import web

from navarch.protos.k8s.apidiscovery import v2_pb2 as discoveryv2
from navarch.protos.k8s.apiregistration.v1_pb2 import APIServiceSpec
from navarch.services.api import discovery
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.doors.rest import encoding
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.doors.rest.documents import Document
from navarch.services.apiserver.doors.rest.media import JSON, PROTOBUF, Format
from navarch.services.apiserver.doors.rest.responses import plain_not_found, respond
from navarch.services.apiserver.registry.core import Core

_AGGREGATED: Final = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}
_PARAMETERS: Final = ";".join(f"{name}={value}" for name, value in _AGGREGATED.items())


def aggregated_media(accept: str) -> str | None:
    """The media type in which a client wants the aggregated form; None where it prefers the old one."""
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        known = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media not in (JSON, PROTOBUF):
            continue
        if "as" not in known:
            return None
        if all(known.get(name) == value for name, value in _AGGREGATED.items()):
            return media
    return None


class Remote(Protocol):
    """A group and version that another server serves (`aggregation`)."""

    spec: APIServiceSpec

    def discovery(self) -> discoveryv2.APIVersionDiscovery:
        """Its entry in the aggregated form."""
        ...


Remotes = Callable[[], Mapping[str, Sequence[Remote]]]


@dataclass(slots=True)
class Discovery:
    """Answers for the kinds of a server. What it prepares it keeps until they change."""

    core: Core
    # What other servers serve: group -> its versions, the preferred one first.
    remotes: Remotes
    _kinds: tuple[Kind, ...] = ()
    _groups: dict[str, discovery.Versions] = field(default_factory=dict)
    # With what they say about remote groups.
    _documents: dict[tuple[str, str], tuple[bytes, Document]] = field(default_factory=dict)

    def groups(self) -> dict[str, discovery.Versions]:
        """All groups as they are now."""
        kinds = tuple(self.core.kinds)
        if kinds != self._kinds:
            self._kinds, self._groups = kinds, discovery.groups(kinds)
            self._documents.clear()
        return self._groups

    def versions(self) -> dict[str, list[str]]:
        """The versions of all groups, those of other servers included."""
        found = {group: list(versions) for group, versions in self.groups().items()}
        for group, remotes in self.remotes().items():
            found.setdefault(group, []).extend(remote.spec.version for remote in remotes)
        return found

    async def legacy_root(self, call: Call) -> web.StreamResponse:
        """/api: the core group."""
        if (media := aggregated_media(call.request.headers.get("Accept", ""))) is not None:
            return await self._aggregated(call, "/api", media)
        return await respond(call, discovery.api_versions(_own_address(call.request)))

    async def legacy_version(self, call: Call) -> web.StreamResponse:
        """/api/v1."""
        version = call.request.path.rstrip("/").removeprefix("/api/")
        return await self._resources(call, "", version)

    async def root(self, call: Call) -> web.StreamResponse:
        """/apis: all groups but the core one."""
        if (media := aggregated_media(call.request.headers.get("Accept", ""))) is not None:
            return await self._aggregated(call, "/apis", media)
        return await respond(call, discovery.group_list(self.versions()))

    async def group_or_version(self, call: Call) -> web.StreamResponse:
        """/apis/{group} and /apis/{group}/{version}."""
        group, _, version = call.request.path.rstrip("/").removeprefix("/apis/").partition("/")
        if version:
            return await self._resources(call, group, version)
        versions = self.versions().get(group)
        if versions is None or not group:
            return plain_not_found()
        return await respond(call, discovery.api_group(group, versions))

    async def _resources(self, call: Call, group: str, version: str) -> web.StreamResponse:
        kinds = self.groups().get(group, {}).get(version)
        return plain_not_found() if kinds is None else await respond(call, discovery.resource_list(kinds))

    async def _aggregated(self, call: Call, path: str, media: str) -> web.StreamResponse:
        groups = self.groups()
        remote = self._remote_groups() if path == "/apis" else discoveryv2.APIGroupDiscoveryList()
        said = remote.SerializeToString()
        known = self._documents.get((path, media))
        if known is None or known[0] != said:
            wanted = {group: versions for group, versions in groups.items() if (group == "") is (path == "/api")}
            found = discovery.aggregated(wanted)
            discovery.add_groups(found, remote)
            document = Document.of(encoding.message(found, Format(media)), f"{media};{_PARAMETERS}")
            known = self._documents[path, media] = said, document
        return await known[1].answer(call.request)

    def _remote_groups(self) -> discoveryv2.APIGroupDiscoveryList:
        found = discoveryv2.APIGroupDiscoveryList()
        for group, remotes in self.remotes().items():
            item = found.items.add()
            item.metadata.name = group
            item.versions.extend(remote.discovery() for remote in remotes)
        return found


def _own_address(request: web.BaseRequest) -> str:
    """Where this server was reached."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if not name:
        return request.host
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def paths(core: Core, remotes: Remotes) -> dict[str, Handler]:
    """The handlers by path."""
    answers = Discovery(core, remotes)
    return {
        "/api": answers.legacy_root,
        "/api/": answers.legacy_version,
        "/apis": answers.root,
        "/apis/": answers.group_or_version,
    }
