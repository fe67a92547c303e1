"""Domain names: labels in lower case without the root, on the wire (RFC 1035, 3.1) and as addresses' reverse names.

A label is text of which each character is one byte of the wire, so that any bytes survive the way there and back.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address

Name = tuple[str, ...]
Address = IPv4Address | IPv6Address

MAX_NAME_BYTES = 255
MAX_LABEL_BYTES = 63
REVERSE_4: Name = ("in-addr", "arpa")
REVERSE_6: Name = ("ip6", "arpa")
_HEX = frozenset("0123456789abcdef")


class MalformedName(ValueError):
    """What stands on the wire is no name, or a name is too long for the wire."""


def from_text(text: str) -> Name:
    """The name that a person writes, with or without its last dot. Raises MalformedName."""
    labels = tuple(text.lower().removesuffix(".").split(".")) if text.strip(".") else ()
    to_wire(labels)
    return labels


def to_text(name: Name) -> str:
    """As a person reads it, with the dot of the root; what is not printable as \\DDD."""
    return "".join(f"{_printable(label)}." for label in name) or "."


def to_wire(name: Name) -> bytes:
    """The name on the wire, uncompressed. Raises MalformedName for empty or long labels and long names."""
    parts = []
    for label in name:
        if not 0 < len(label) <= MAX_LABEL_BYTES:
            raise MalformedName(f"label {label!r} has {len(label)} bytes; accepted are 1 to {MAX_LABEL_BYTES}")
        try:
            parts.append(bytes((len(label),)) + label.encode("latin-1"))
        except UnicodeEncodeError:
            raise MalformedName(f"label {label!r} is not ASCII") from None
    wire = b"".join(parts) + b"\0"
    if len(wire) > MAX_NAME_BYTES:
        raise MalformedName(
            f"name {'.'.join(name)[:80]!r} has {len(wire)} bytes; at most {MAX_NAME_BYTES} are accepted"
        )
    return wire


def from_wire(data: bytes, at: int) -> tuple[Name, int]:
    """The uncompressed name at an offset, and the offset behind it. Raises MalformedName.

    The name of a message's first question cannot be compressed: only the header stands before it.
    """
    labels: list[str] = []
    begin = at
    while True:
        if at >= len(data):
            raise MalformedName("the message ends within a name")
        length = data[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > MAX_LABEL_BYTES:
            raise MalformedName(f"byte {length:#04x} begins no label of a question")
        if at + length - begin >= MAX_NAME_BYTES:
            raise MalformedName(f"a name is longer than {MAX_NAME_BYTES} bytes")
        label = data[at : at + length]
        if len(label) < length:
            raise MalformedName("the message ends within a label")
        # Of bytes, not of text: only A to Z have a lower case in DNS (RFC 4343).
        labels.append(label.lower().decode("latin-1"))
        at += length


def is_below(name: Name, zone: Name) -> bool:
    """Whether a name is a zone's or below it."""
    return len(name) >= len(zone) and name[len(name) - len(zone) :] == zone


def reverse_name(address: Address) -> Name:
    """Where the PTR record of an address stands (RFC 1035, 3.5; RFC 3596, 2.5)."""
    if isinstance(address, IPv4Address):
        return (*reversed(str(address).split(".")), *REVERSE_4)
    return (*reversed(address.packed.hex()), *REVERSE_6)


def is_reverse(name: Name) -> bool:
    """Whether a name lies where addresses are looked up."""
    return is_below(name, REVERSE_4) or is_below(name, REVERSE_6)


def reversed_prefix(name: Name) -> tuple[Address, int] | None:
    """The address that a reverse name means, and how many of its bits are given; None for what means none."""
    if is_below(name, REVERSE_4):
        octets = name[-3::-1]
        if len(octets) > 4 or not all(_is_octet(octet) for octet in octets):
            return None
        packed = bytes(int(octet) for octet in octets)
        return IPv4Address(packed.ljust(4, b"\0")), 8 * len(octets)
    nibbles = name[-3::-1]
    if len(nibbles) > 32 or not all(nibble in _HEX for nibble in nibbles):
        return None
    return IPv6Address(bytes.fromhex("".join(nibbles).ljust(32, "0"))), 4 * len(nibbles)


def dashed(address: str) -> str:
    """The label that stands for an endpoint without a name: 10.244.1.2 is 10-244-1-2."""
    label = address.replace(".", "-").replace(":", "-")
    # A label neither begins nor ends with a hyphen, as "::1" and "fd00::" would.
    return f"{'0' if label[0] == '-' else ''}{label}{'0' if label[-1] == '-' else ''}"


def undashed(label: str) -> str | None:
    """The address that such a label stands for; None where it stands for none."""
    dotted = label.count("-") == 3 and "--" not in label and all(_is_octet(part) for part in label.split("-"))
    try:
        return str(ip_address(label.replace("-", "." if dotted else ":")))
    except ValueError:
        return None


def _is_octet(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255 and text == str(int(text))


def _printable(label: str) -> str:
    def shown(char: str) -> str:
        if char in '."\\();@$':
            return f"\\{char}"
        return char if "!" <= char <= "~" else f"\\{ord(char):03d}"

    return "".join(map(shown, label))
