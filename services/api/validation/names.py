"""The grammars of names, label keys and values, ports: each check returns what is wrong, in words.

Formats and limits are those of RFC 1123, RFC 1035 and the Kubernetes API conventions.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import cache

NameRule = Callable[[str, bool], list[str]]
"""Checks a name; with True, a prefix that a generated suffix will follow."""

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
IMMUTABLE = "field is immutable"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SEARCH = r"[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_HTTP_HEADER = r"[-A-Za-z0-9]+"
_PERCENT = r"[0-9]+%"
_ENV_NAME = r"[ -<>-~]+"


def max_length(limit: int) -> str:
    """Wording for a string over its limit."""
    return f"must be no more than {limit} bytes"


def in_range(low: int, high: int) -> str:
    """Wording for a number outside its range."""
    return f"must be between {low} and {high}, inclusive"


def _format(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


_compiled = cache(re.compile)


def _too_long(value: str, limit: int) -> bool:
    return len(value.encode()) > limit


# What nearly every name is: right, which these find in one match. All that they match is ASCII.
_right_label = re.compile(_LABEL).fullmatch
_right_subdomain = re.compile(_SUBDOMAIN).fullmatch
_right_key = re.compile(
    rf"((?=[^/]{{1,{SUBDOMAIN_MAX}}}/){_SUBDOMAIN}/)?(?=[^/]{{1,{LABEL_MAX}}}\Z){_QUALIFIED}"
).fullmatch
_right_value = re.compile(_LABEL_VALUE).fullmatch
_right_env_name = re.compile(_ENV_NAME).fullmatch


def dns_label(value: str, prefix: bool = False) -> list[str]:
    """RFC 1123 label: Namespaces, containers, volumes."""
    if len(value) <= LABEL_MAX and _right_label(value):
        return []
    value = _mask(value, prefix)
    wrong = [max_length(LABEL_MAX)] if _too_long(value, LABEL_MAX) else []
    if not _matches(_LABEL, value):
        text = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character"
        )
        wrong.append(_format(text, _LABEL, "my-name", "123-abc"))
    return wrong


def dns_subdomain(value: str, prefix: bool = False) -> list[str]:
    """RFC 1123 subdomain: most objects."""
    if len(value) <= SUBDOMAIN_MAX and _right_subdomain(value):
        return []
    value = _mask(value, prefix)
    wrong = [max_length(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _matches(_SUBDOMAIN, value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        wrong.append(_format(text, _SUBDOMAIN, "example.com"))
    return wrong


def search_domain(value: str) -> list[str]:
    """Domains that names are looked up in; unlike names of hosts they may have underscores."""
    wrong = [max_length(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _matches(_SEARCH, value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        wrong.append(_format(text, _SEARCH, "example.com"))
    return wrong


def dns_1035_label(value: str, prefix: bool = False) -> list[str]:
    """RFC 1035 label, which starts with a letter: Services."""
    value = _mask(value, prefix)
    wrong = [max_length(LABEL_MAX)] if _too_long(value, LABEL_MAX) else []
    if not _matches(_LABEL_1035, value):
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
        wrong.append(_format(text, _LABEL_1035, "my-name", "abc-123"))
    return wrong


def wildcard_subdomain(value: str) -> list[str]:
    """All names directly under a domain: "*.example.com"."""
    wrong = [max_length(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _matches(_WILDCARD, value):
        text = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        wrong.append(_format(text, _WILDCARD, "*.example.com"))
    return wrong


def path_segment(value: str, prefix: bool = False) -> list[str]:
    """Anything that can stand between two slashes of a URL: RBAC objects."""
    wrong = [f"may not contain '{mark}'" for mark in ("/", "%") if mark in value]
    if not prefix and value in (".", ".."):
        wrong.append(f"may not be '{value}'")
    return wrong


def _mask(value: str, prefix: bool) -> str:
    """A prefix may end in the dash that a suffix will follow."""
    return value[:-1] + "a" if prefix and len(value) > 1 and value.endswith("-") else value


def qualified_name(value: str) -> list[str]:
    """Label and annotation keys, finalizers, resource names: "name" or "example.com/name"."""
    if _right_key(value):
        return []
    text = (
        "must consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character"
    )
    examples = ("MyName", "my.name", "123-abc")
    parts = value.split("/")
    if len(parts) > 2:
        return [
            _format(f"a qualified name {text}", _QUALIFIED, *examples)
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    wrong = []
    if len(parts) == 2:
        wrong = [f"prefix part {reason}" for reason in (dns_subdomain(parts[0]) if parts[0] else ["must be non-empty"])]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif _too_long(name, LABEL_MAX):
        wrong.append(f"name part {max_length(LABEL_MAX)}")
    if not _matches(_QUALIFIED, name):
        wrong.append(_format(f"name part {text}", _QUALIFIED, *examples))
    return wrong


def label_value(value: str) -> list[str]:
    """Values of labels: up to 63 characters, or empty."""
    if len(value) <= LABEL_MAX and _right_value(value):
        return []
    wrong = [max_length(LABEL_MAX)] if _too_long(value, LABEL_MAX) else []
    if not _matches(_LABEL_VALUE, value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        wrong.append(_format(text, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return wrong


def config_key(value: str) -> list[str]:
    """Keys of ConfigMaps and Secrets, which become file names."""
    wrong = [max_length(SUBDOMAIN_MAX)] if _too_long(value, SUBDOMAIN_MAX) else []
    if not _matches(_CONFIG_KEY, value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        wrong.append(_format(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        wrong.append(f"must not be '{value}'")
    elif value.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def env_name(value: str) -> list[str]:
    """Names of environment variables: printable ASCII without "="."""
    if _right_env_name(value):
        return []
    if not value:
        return ["environment variable name must be non-empty"]
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def port_name(value: str) -> list[str]:
    """IANA service names: what a container port is called."""
    wrong = []
    if len(value) > 15:
        wrong.append(max_length(15))
    if not _matches(r"[-a-z0-9]+", value):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any(char.isalpha() for char in value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def port_number(value: int) -> list[str]:
    """TCP, UDP and SCTP ports."""
    return [] if 1 <= value <= 65535 else [in_range(1, 65535)]


def http_header_name(value: str) -> list[str]:
    """Names of HTTP headers."""
    if _matches(_HTTP_HEADER, value):
        return []
    return [
        _format("a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER, "X-Header-Name")
    ]


def percent(value: str) -> list[str]:
    """Percentages in strings, as maxSurge takes them."""
    if _matches(_PERCENT, value):
        return []
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_format(text, _PERCENT, "1%", "93%")]


def ip_address(value: str) -> list[str]:
    """IPv4 and IPv6 addresses."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def cidr(value: str) -> list[str]:
    """Blocks of addresses; the address itself may have host bits."""
    try:
        ipaddress.ip_interface(value)
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    return [] if "/" in value else ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def canonical_ip(value: str, prefix: bool = False) -> list[str]:
    """Addresses in the one spelling that can be compared as text: names of IPAddresses."""
    del prefix
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return ["must not be an IPv4-mapped IPv6 address"]
    return [] if value == str(address) else [f'must be in canonical form ("{address}")']


def canonical_cidr(value: str) -> list[str]:
    """Blocks of addresses in the one spelling that can be compared as text, without host bits."""
    if wrong := cidr(value):
        return wrong
    block = ipaddress.ip_interface(value)
    if isinstance(block, ipaddress.IPv6Interface) and block.ipv4_mapped:
        return ["must not have an IPv4-mapped IPv6 address"]
    if block.ip != block.network.network_address:
        return ["must not have bits set beyond the prefix length"]
    return [] if value == str(block.network) else [f'must be in canonical form ("{block.network}")']
