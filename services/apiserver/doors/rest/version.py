"""/version: which Kubernetes this server is like, in the fields that clients parse."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed
from typing import Any, Final

from aiohttp import web

from navarch.services.apiserver.doors.rest import encoding
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.media import JSON, Format
from navarch.services.apiserver.doors.rest.responses import send

MAJOR, MINOR, PATCH = 1, 36, 2
KUBERNETES_VERSION: Final = f"v{MAJOR}.{MINOR}.{PATCH}"
GIT_VERSION: Final = f"{KUBERNETES_VERSION}+navarch.{installed('navarch')}"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def info() -> dict[str, Any]:
    """The version in the form of Kubernetes' version.Info."""
    machine = platform.machine()
    return {
        "major": str(MAJOR),
        "minor": str(MINOR),
        # What a server of this version is compatible with.
        "emulationMajor": str(MAJOR),
        "emulationMinor": str(MINOR),
        "minCompatibilityMajor": str(MAJOR),
        "minCompatibilityMinor": str(MINOR - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{_MACHINES.get(machine, machine)}",
    }


async def version(call: Call) -> web.StreamResponse:
    """Answer /version."""
    return await send(call.request, encoding.document(info(), Format(JSON, pretty=True)), JSON)
