"""Links of a proxied answer, made to lead through the proxy again: pure.

Rewritten are URLs of the same host with an absolute path, as in `Location` and in the attributes of HTML that hold
URLs. What a script makes up is out of reach.
"""

import re
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES = (
    "action|background|cite|classid|codebase|data|formaction|href|icon|longdesc|manifest|poster|profile|src|usemap"
)
_TAG = re.compile(rb"<[a-zA-Z][^<>]*>")
_LINK = re.compile(rb"(\s(?:" + _ATTRIBUTES.encode() + rb")\s*=\s*)(?:\"([^\"]*)\"|'([^']*)')", re.I)


def link(url: str, prefix: str, hosts: frozenset[str]) -> str:
    """A URL as it has to be for a client of the proxy. prefix: path of the proxy. hosts: names of the backend."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    is_elsewhere = bool(parts.netloc) and parts.netloc not in hosts
    if is_elsewhere or not (parts.path.startswith("/") or parts.netloc):
        return url
    if not parts.netloc and (parts.path == prefix or parts.path.startswith(f"{prefix}/")):
        return url
    return urlunsplit(("", "", f"{prefix}{parts.path or '/'}", parts.query, parts.fragment))


def html(page: bytes, prefix: str, hosts: frozenset[str]) -> bytes:
    """A page with its links rewritten; all else stays byte for byte."""

    def replaced(match: re.Match[bytes]) -> bytes:
        quote, url = (b'"', match[2]) if match[2] is not None else (b"'", match[3])
        new = link(url.decode("latin-1"), prefix, hosts).encode("latin-1")
        return match[1] + quote + new + quote

    return _TAG.sub(lambda tag: _LINK.sub(replaced, tag[0]), page)
