"""ip, cidr and url: strict readers of addresses, and what can be asked of them."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from navarch.services.api.custom.cel.types import CIDR, IP, STRINGS, URL, T, can, declare

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def parse_ip(text: str) -> Address:
    """An address. Raises ValueError, also for zones and for IPv4 in IPv6."""
    address = ipaddress.ip_address(text)
    if "%" in text:
        raise ValueError(f"IP address {text!r} with zone value is not allowed")
    if getattr(address, "ipv4_mapped", None) is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {text!r} is not allowed")
    return address


def parse_cidr(text: str) -> Network:
    """An address with the length of its network. Raises ValueError."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdigit():
        raise ValueError(f"network address parse error during conversion from string: {text!r}")
    parse_ip(address)
    return ipaddress.ip_interface(text)


def parse_url(text: str) -> SplitResult:
    """An absolute URL or an absolute path. Raises ValueError."""
    parts = urlsplit(text)
    if any(ord(char) < 0x21 or ord(char) == 0x7F for char in text):
        raise ValueError("URL parse error: invalid character")
    if not parts.scheme and not text.startswith("/"):
        raise ValueError("URL parse error: invalid URI for request")
    _ = parts.port
    return parts


def _of_ip(value: Any) -> Address:
    return ipaddress.ip_address(value.text)


def _of_cidr(value: Any) -> Network:
    return ipaddress.ip_interface(value.text)


def _of_url(value: Any) -> SplitResult:
    parts: SplitResult = urlsplit(value.text)
    return parts


def _contains_ip(network: Any, address: Any) -> bool:
    found = parse_ip(address) if isinstance(address, str) else _of_ip(address)
    return found in _of_cidr(network).network


def _contains_cidr(network: Any, other: Any) -> bool:
    inner: Any = (parse_cidr(other) if isinstance(other, str) else _of_cidr(other)).network
    outer: Any = _of_cidr(network).network
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _is_global_unicast(address: Address) -> bool:
    is_special = address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local
    return not is_special and address != ipaddress.IPv4Address("255.255.255.255")


def _is_link_local_multicast(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return address.is_multicast and address.packed[1] & 0x0F == 2


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _hostname(parts: SplitResult) -> str:
    host = _host(parts)
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def functions() -> list[Any]:
    """The declarations."""
    ip, cidr, url = IP.type, CIDR.type, URL.type
    return declare(
        [
            ("ip", ip, (T.STRING,), lambda text: IP.make(str(parse_ip(text)))),
            ("isIP", T.BOOL, (T.STRING,), can(parse_ip)),
            ("ip.isCanonical", T.BOOL, (T.STRING,), lambda text: str(parse_ip(text)) == text),
            ("string", T.STRING, (ip,), lambda value: value.text),
            ("cidr", cidr, (T.STRING,), lambda text: CIDR.make(str(parse_cidr(text)))),
            ("isCIDR", T.BOOL, (T.STRING,), can(parse_cidr)),
            ("url", url, (T.STRING,), lambda text: URL.make(parse_url(text).geturl())),
            ("isURL", T.BOOL, (T.STRING,), can(parse_url)),
        ],
        [
            ("family", T.INT, (ip,), lambda value: _of_ip(value).version),
            ("isUnspecified", T.BOOL, (ip,), lambda value: _of_ip(value).is_unspecified),
            ("isLoopback", T.BOOL, (ip,), lambda value: _of_ip(value).is_loopback),
            ("isLinkLocalMulticast", T.BOOL, (ip,), lambda value: _is_link_local_multicast(_of_ip(value))),
            ("isLinkLocalUnicast", T.BOOL, (ip,), lambda value: _of_ip(value).is_link_local),
            ("isGlobalUnicast", T.BOOL, (ip,), lambda value: _is_global_unicast(_of_ip(value))),
            ("containsIP", T.BOOL, (cidr, T.STRING), _contains_ip),
            ("containsIP", T.BOOL, (cidr, ip), _contains_ip),
            ("containsCIDR", T.BOOL, (cidr, T.STRING), _contains_cidr),
            ("containsCIDR", T.BOOL, (cidr, cidr), _contains_cidr),
            ("ip", ip, (cidr,), lambda value: IP.make(str(_of_cidr(value).ip))),
            ("masked", cidr, (cidr,), lambda value: CIDR.make(str(_of_cidr(value).network))),
            ("prefixLength", T.INT, (cidr,), lambda value: _of_cidr(value).network.prefixlen),
            ("getScheme", T.STRING, (url,), lambda value: _of_url(value).scheme),
            ("getHost", T.STRING, (url,), lambda value: _host(_of_url(value))),
            ("getHostname", T.STRING, (url,), lambda value: _hostname(_of_url(value))),
            ("getPort", T.STRING, (url,), lambda value: str(_of_url(value).port or "")),
            ("getEscapedPath", T.STRING, (url,), lambda value: _of_url(value).path),
            (
                "getQuery",
                T.Map(T.STRING, STRINGS),
                (url,),
                lambda value: parse_qs(_of_url(value).query, keep_blank_values=True),
            ),
        ],
    )
