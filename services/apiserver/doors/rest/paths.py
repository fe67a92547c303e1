"""What a URL path means: a resource, an object, a part of one, or something that is no object at all.

    /api/v1/namespaces/default/pods/web/log      core group, namespaced, subresource
    /apis/apps/v1/deployments                    a named group, all namespaces
    /apis/apps/v1/watch/deployments              the old form of a watch
    /api/v1/namespaces/default/status            the namespace itself: one of its parts
    /healthz                                     no object

Percent-encoding is undone once, segment by segment. A segment that then holds "/" or is "." or ".." is refused: other
servers might read another path out of it than the one that was authorized.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from navarch.services.api.errors import BadRequest

# What may follow /namespaces/{name}/ and belongs to the namespace itself.
_NAMESPACE_PARTS = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """The coordinates in a path. tail: what follows a subresource, for proxies: "/a/b", "" for nothing."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    is_watch: bool = False
    tail: str = ""


def parse(raw_path: str) -> ResourcePath | None:
    """The resource that a path (still percent-encoded, without the query) is about; None for any other path."""
    _, *segments = raw_path.split("/")
    if not segments:
        # "*", or what is no path.
        return None
    if segments[0] == "api" and len(segments) > 2:
        group, version, rest = "", segments[1], segments[2:]
    elif segments[0] == "apis" and len(segments) > 3:
        group, version, rest = segments[1], segments[2], segments[3:]
    else:
        return None
    if not rest[0] or not version or (segments[0] == "apis" and not group):
        return None
    return _resource(_text(group), _text(version), rest)


def _resource(group: str, version: str, rest: list[str]) -> ResourcePath | None:
    is_watch = rest[0] == "watch" and len(rest) > 1
    if is_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("", *_NAMESPACE_PARTS):
        namespace, rest = _text(rest[1]), rest[2:]
        if not namespace:
            raise BadRequest("an empty namespace may not be set in a path")
    if len(rest) > 1 and not rest[-1] and len(rest) < 4:
        # A slash at the end means nothing, except to a proxy.
        rest = rest[:-1]
    resource, name, subresource = (_text(part) for part in (*rest, "", "", "")[:3])
    if not resource or (subresource and not name) or (len(rest) > 3 and not (name and subresource)):
        # Another server might skip what is empty, and read another object out of what follows.
        return None
    tail = "".join(f"/{part}" for part in rest[3:])
    return ResourcePath(group, version, resource, namespace, name, subresource, is_watch, tail)


def _text(segment: str) -> str:
    if "%" in segment:
        try:
            segment = unquote(segment, errors="strict")
        except UnicodeDecodeError:
            raise BadRequest(f"the path segment {segment!r} is not UTF-8") from None
        if "/" in segment:
            raise BadRequest(f"invalid path segment {segment!r}")
    if segment in (".", ".."):
        raise BadRequest(f"invalid path segment {segment!r}")
    return segment
