"""Paths of a foreign tree, whose symbolic links mean that tree and nothing outside of it."""

import os
from pathlib import Path

LINKS_FOLLOWED = 40


def resolved(root: Path, name: str) -> Path | None:
    """A path of a foreign tree, its symbolic links taken relative to that tree; None where they go round."""
    parts = name.split("/")[::-1]
    parts_found: list[str] = []
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            parts_found = parts_found[:-1]
        elif part not in ("", "."):
            parts_found.append(part)
        path = root.joinpath(*parts_found)
        if path.is_symlink():
            links += 1
            if links > LINKS_FOLLOWED:
                return None
            target = os.readlink(path)
            parts_found = [] if target.startswith("/") else parts_found[:-1]
            parts += target.split("/")[::-1]
    return root.joinpath(*parts_found)
