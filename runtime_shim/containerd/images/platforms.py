"""Which of an index's images runs here: architecture, its variant, and what the processor also understands.

A processor runs older variants of its architecture, and some a whole older architecture. The best match wins;
of equals the first. Rules as in containerd's `platforms` package.
"""

import platform
from collections.abc import Iterable

from navarch.runtime_shim.containerd.images.model import Descriptor
from navarch.runtime_shim.errors import InvalidArgument

# uname's machine -> architecture and variant as images name them.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "ppc64le": ("ppc64le", ""),
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm", "armel": "arm"}
# What a name without variant means.
_IMPLIED = {"arm64": "v8", "arm": "v7"}
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")


def runnable(machine: str) -> list[tuple[str, str]]:
    """(architecture, variant) pairs that a machine runs, the best first."""
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    found = [(architecture, variant)]
    if architecture == "amd64":
        found.append(("386", ""))
    if architecture in ("arm", "arm64"):
        older = _ARM_VARIANTS[_ARM_VARIANTS.index(variant) :]
        found.extend(pair for each in older if (pair := ("arm", each)) not in found)
    return found


def ranked(entries: Iterable[Descriptor], machine: str = platform.machine()) -> list[Descriptor]:
    """The entries of an index that run here, the best first; those that don't say only where none does.

    Raises InvalidArgument naming what there is.
    """
    entries = list(entries)
    order = {pair: rank for rank, pair in enumerate(runnable(machine))}
    matching = [entry for entry in entries if entry.platform.get("os", "linux") == "linux" and _pair(entry) in order]
    if matching:
        return sorted(matching, key=lambda entry: order[_pair(entry)])
    if unspecified := [entry for entry in entries if not entry.platform]:
        return unspecified
    offered = ", ".join(map(_name, entries)) or "nothing"
    wanted = "/".join(filter(None, ("linux", *next(iter(order)))))
    raise InvalidArgument(f"no match for platform {wanted} in the image's index, which offers {offered}")


def _pair(entry: Descriptor) -> tuple[str, str]:
    named = str(entry.platform.get("architecture", "")).lower()
    architecture = _ALIASES.get(named, named)
    variant = str(entry.platform.get("variant") or "").lower()
    if architecture == "amd64" and variant == "v1":
        variant = ""
    if named == "armel" and not variant:
        variant = "v6"
    return architecture, variant or _IMPLIED.get(architecture, "")


def _name(entry: Descriptor) -> str:
    parts = (entry.platform.get(part) for part in ("os", "architecture", "variant"))
    return "/".join(str(part) for part in parts if part) or "an image of no platform"
