"""Image references as people write them and as containerd names them.

`busybox` means `docker.io/library/busybox:latest`. A first part with a dot, a colon or `localhost` is a
registry's host; without one it is Docker Hub, whose one-word repositories live under `library/`.
Grammar: the distribution project's reference format.
"""

import re
from dataclasses import dataclass

from navarch.runtime_shim.errors import InvalidArgument

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
ID_PREFIX = "sha256:"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"\w[\w.-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d+)?")
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """host/path, and a tag or a digest or both."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        """The full name; a digest outweighs a tag, as it says more."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


def parse(text: str) -> Reference:
    """Read a reference and fill in what is left out. Raises InvalidArgument."""
    name, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"invalid image reference {text!r}: {digest!r} is no digest of the form sha256:hex")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidArgument(f"invalid image reference {text!r}: {tag!r} is not a tag")
    host, path = _split_host(f"{head}{slash}{last}")
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise InvalidArgument(f"invalid image reference {text!r}: repository names are lower-case words and '/'")
    return Reference(host, path, tag or ("" if digest else DEFAULT_TAG), digest)


def image_id(text: str) -> str:
    """ "sha256:..." when the text is an image id, else "". A bare 64-digit name is always an id."""
    match = _IMAGE_ID.fullmatch(text)
    return ID_PREFIX + match.group(1) if match else ""


def normal_host(host: str) -> str:
    """Docker Hub goes by several names."""
    return DEFAULT_HOST if host in ("index.docker.io", "registry-1.docker.io") else host


def id_prefix(text: str) -> str:
    """ "sha256:..." when the text may be the beginning of an image id, else "". Short words are names."""
    match = _ID_PREFIX.fullmatch(text)
    return ID_PREFIX + match.group(1) if match else ""


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        host, path = first, rest
    else:
        host, path = DEFAULT_HOST, name
    host = normal_host(host)
    return host, f"library/{path}" if host == DEFAULT_HOST and "/" not in path else path
