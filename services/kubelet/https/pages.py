"""Pages for people: whether it is well, what it is, what it was told, and the files below /var/log."""

import html
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from navarch.services.api.errors import UnknownKind
from navarch.services.kubelet.node.status import VERSION

NODE_LOGS = Path("/var/log")
WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is "
    "for debugging purposes only."
)
# What is wrong; "" for nothing.
Check = Callable[[], str]


def health(checks: Mapping[str, Check], path: str, *, verbose: bool) -> web.Response:
    """/healthz and what is below it. Raises UnknownKind for a check that there is not."""
    name = path.strip("/").partition("/")[2]
    if name and name not in checks:
        raise UnknownKind("404 page not found")
    results = {one: check() for one, check in checks.items() if name in ("", one)}
    for one, problem in results.items():
        if problem and name:
            return web.Response(status=500, text=f"internal server error: {problem}\n")
        if problem:
            lines = [f"[-]{one} failed: reason withheld" if bad else f"[+]{one} ok" for one, bad in results.items()]
            return web.Response(status=500, text="\n".join([*lines, "healthz check failed", ""]))
    if verbose and not name:
        lines = [*(f"[+]{one} ok" for one in results), "healthz check passed", ""]
        return web.Response(text="\n".join(lines))
    return web.Response(text="ok")


def statusz(started_at: float, now: float, paths: list[str]) -> web.Response:
    """What this is and since when. Unix seconds."""
    up_s = int(now - started_at)
    lines = {
        "Started": datetime.fromtimestamp(started_at, UTC).strftime("%a %b %d %H:%M:%S UTC %Y"),
        "Up": f"{up_s // 3600} hr {up_s // 60 % 60:02} min {up_s % 60:02} sec",
        "Python version": sys.version.split()[0],
        "Binary version": VERSION.removeprefix("v"),
        "Emulation version": ".".join(VERSION.removeprefix("v").split(".")[:2]),
        "Paths": " ".join(sorted(paths)),
    }
    return _zpage("statusz", "\n".join(f"{name}: {text}" for name, text in lines.items()))


def flagz(flags: Mapping[str, object]) -> web.Response:
    """What this was told."""
    return _zpage("flagz", "\n".join(f"{name}={value}" for name, value in sorted(flags.items())))


def _zpage(name: str, text: str) -> web.Response:
    return web.Response(text=f"\nkubelet {name}\n{WARNING}\n\n{text}\n", charset="utf-8")


def node_log(path: str, root: Path = NODE_LOGS) -> web.StreamResponse:
    """A file or directory below the node's logs. Raises UnknownKind; links lead nowhere outside."""
    try:
        found = (root / path.strip("/")).resolve(strict=True)
    except (OSError, ValueError) as failure:
        # Not there, or no name that a file could have.
        raise UnknownKind("404 page not found") from failure
    if not found.is_relative_to(root.resolve()):
        raise UnknownKind("404 page not found")
    if found.is_dir():
        if not path.endswith("/") and path:
            return web.Response(status=301, headers={"Location": f"{found.name}/"})
        return web.Response(text=_listing(found), content_type="text/html")
    if not found.is_file():
        raise UnknownKind("404 page not found")
    return web.FileResponse(found)


def _listing(directory: Path) -> str:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in directory.iterdir())
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in names]
    return "\n".join(["<!doctype html>", "<pre>", *lines, "</pre>", ""])
