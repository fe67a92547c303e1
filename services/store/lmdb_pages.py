"""Whether the pages of an LMDB file hang together. No I/O.

LMDB believes what its pages say: a damaged page header makes it read beyond the file, or write into pages that are in
use. So the pages that can be reached are looked at before LMDB opens the file: that they are of the expected kind and
at the place they name, that their nodes lie within them, and that no page is used twice. What the nodes hold is not
looked at; stored values have checksums of their own.

The format is that of LMDB 0.9: two pages with the roots as of the last and the last but one transaction, and two trees,
of free pages and of databases, each of which is a tree again.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_META = struct.Struct("<IIQQ")
_TREE = struct.Struct("<IHHQQQQQ")
_TAIL = struct.Struct("<QQ")
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_PAGE_NUMBER = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 0x01, 0x02, 0x04, 0x08
_KINDS = _BRANCH | _LEAF | _OVERFLOW | _META_PAGE
_BIG_DATA, _SUBTREE = 0x01, 0x02
_NO_PAGE = (1 << 64) - 1
# Deeper than any tree of 64-bit page numbers.
_MAX_DEPTH = 32


class _Root(NamedTuple):
    page_size: int
    free: int
    main: int
    last_page: int
    transaction: int


class DamagedPage(Exception):
    """Where the file is damaged, and how."""


class _Walk:
    def __init__(self, data: memoryview, root: _Root) -> None:
        self._data = data
        self._size = root.page_size
        self._last_page = root.last_page
        # By page: whether it is in use, by a tree or as a free page.
        self._used = bytearray(root.last_page + 1)
        self._used[0:2] = b"\1\1"

    def tree(self, root: int, depth: int = 0) -> Iterator[tuple[int, memoryview]]:
        """The flags and values of a tree's leaves; overflowing values are checked and left out."""
        if root == _NO_PAGE:
            return
        page, kind, lower, upper = self._page(root, depth)
        for position in struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", page, _PAGE.size):
            if not upper <= position <= self._size - _NODE.size:
                raise self._damage(root, f"a node at byte {position}")
            low, high, flags, key_bytes = _NODE.unpack_from(page, position)
            begin = position + _NODE.size + key_bytes
            if begin > self._size:
                raise self._damage(root, f"a key of {key_bytes} bytes")
            if kind == _BRANCH:
                yield from self.tree(low | high << 16 | flags << 32, depth + 1)
                continue
            value_bytes = low | high << 16
            if flags & _BIG_DATA:
                self._check_overflow(root, page, begin, value_bytes)
            elif begin + value_bytes > self._size:
                raise self._damage(root, f"a value of {value_bytes} bytes")
            else:
                yield flags, page[begin : begin + value_bytes]

    def _page(self, number: int, depth: int) -> tuple[memoryview, int, int, int]:
        self.use(number)
        page = self._data[number * self._size : (number + 1) * self._size]
        named, _, flags, lower, upper = _PAGE.unpack_from(page)
        kind = flags & _KINDS
        if named != number:
            raise self._damage(number, f"it says that it is page {named}")
        if kind not in (_BRANCH, _LEAF) or depth > _MAX_DEPTH:
            raise self._damage(number, f"it is of kind {flags:#x}")
        if not _PAGE.size <= lower <= upper <= self._size or lower % 2:
            raise self._damage(number, f"its bounds are {lower} and {upper}")
        return page, kind, lower, upper

    def _check_overflow(self, leaf: int, page: memoryview, begin: int, value_bytes: int) -> None:
        if begin + _PAGE_NUMBER.size > self._size:
            raise self._damage(leaf, "a value without a place")
        (number,) = _PAGE_NUMBER.unpack_from(page, begin)
        pages = (_PAGE.size - 1 + value_bytes) // self._size + 1
        for other in range(number, number + pages):
            self.use(other)
        named, _, flags, low, high = _PAGE.unpack_from(self._data, number * self._size)
        if (named, flags & _KINDS) != (number, _OVERFLOW) or low | high << 16 != pages:
            raise self._damage(number, f"it does not hold the {value_bytes} bytes of a value")

    def use(self, number: int) -> None:
        """A page belongs to somebody. Raises DamagedPage when it does already, or is none."""
        if number > self._last_page:
            raise DamagedPage(f"page {number} is used, the last one is {self._last_page}")
        if self._used[number]:
            raise self._damage(number, "it is used twice")
        self._used[number] = 1

    def _damage(self, number: int, how: str) -> DamagedPage:
        return DamagedPage(f"damaged at byte {number * self._size} (page {number}): {how}")


def check(data: memoryview) -> None:
    """Raises DamagedPage where the file is damaged."""
    root = _root(data)
    if root.last_page >= len(data) // root.page_size:
        raise DamagedPage(f"cut off at byte {len(data)}: it should hold {(root.last_page + 1) * root.page_size} bytes")
    walk = _Walk(data, root)
    for flags, value in walk.tree(root.main):
        if flags & _SUBTREE:
            if len(value) != _TREE.size:
                raise DamagedPage("damaged in the list of databases")
            for _ in walk.tree(_TREE.unpack(value)[-1]):
                pass
    for _, value in walk.tree(root.free):
        for free in _free_pages(value):
            walk.use(free)


def _free_pages(value: memoryview) -> Iterator[int]:
    if len(value) % _PAGE_NUMBER.size or not value:
        raise DamagedPage("damaged in the list of free pages")
    count, *pages = (number for (number,) in _PAGE_NUMBER.iter_unpack(value))
    if count > len(pages):
        raise DamagedPage("damaged in the list of free pages")
    yield from pages[:count]


def _root(data: memoryview) -> _Root:
    """The newer of the two."""
    first = _read_root(data, 0)
    second = _read_root(data, first.page_size)
    if first.page_size != second.page_size:
        raise DamagedPage(f"damaged at byte {first.page_size}: another page size than at byte 0")
    return max(first, second, key=lambda root: root.transaction)


def _read_root(data: memoryview, offset: int) -> _Root:
    trees = offset + _PAGE.size + _META.size
    if len(data) < trees + 2 * _TREE.size + _TAIL.size:
        raise DamagedPage(f"cut off at byte {len(data)}")
    magic, version, *_ = _META.unpack_from(data, offset + _PAGE.size)
    flags = _PAGE.unpack_from(data, offset)[2]
    page_size, *_, free = _TREE.unpack_from(data, trees)
    main = _TREE.unpack_from(data, trees + _TREE.size)[-1]
    last_page, transaction = _TAIL.unpack_from(data, trees + 2 * _TREE.size)
    if magic != _MAGIC or version != _VERSION or not flags & _META_PAGE:
        raise DamagedPage(f"damaged at byte {offset}: no LMDB file of version {_VERSION}")
    if page_size not in (1 << shift for shift in range(9, 17)):
        raise DamagedPage(f"damaged at byte {offset}: pages of {page_size} bytes")
    return _Root(page_size, free, main, last_page, transaction)
