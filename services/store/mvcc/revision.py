"""Revisions as one integer, so that they compare, sort and store cheaply.

A write has a main revision (one per transaction that changed something) and a sub revision (its position in
the transaction). Packed: main in the high bits, 31 bits of sub, and one bit that marks a tombstone.
"""

TOMBSTONE = 1
_SUB_SHIFT = 1
_MAIN_SHIFT = 32
_LOW_BITS = (1 << _MAIN_SHIFT) - 1
KEY_BYTES = 12


def pack(main: int, sub: int, tombstone: bool = False) -> int:
    """One write's revision."""
    return main << _MAIN_SHIFT | sub << _SUB_SHIFT | tombstone


def main_of(packed: int) -> int:
    """The revision clients see."""
    return packed >> _MAIN_SHIFT


def first_of(main: int) -> int:
    """The lowest packed revision of a main revision."""
    return main << _MAIN_SHIFT


def last_of(main: int) -> int:
    """The highest packed revision of a main revision."""
    return main << _MAIN_SHIFT | _LOW_BITS


def to_bytes(packed: int) -> bytes:
    """Big-endian, so that byte order is revision order."""
    return packed.to_bytes(KEY_BYTES, "big")


def from_bytes(raw: bytes) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(raw, "big")
