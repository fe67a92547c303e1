"""Damage to an LMDB file is named before LMDB trusts it; a full disk is called a full disk."""

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_backend import LmdbBackend, check_pages
from navarch.services.store.mvcc.revision import pack

PAGE_BYTES = 4096
QUOTA_BYTES = 1 << 30


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with all kinds of pages: branches, leaves, overflow and free ones."""
    path, rng = tmp_path_factory.mktemp("lmdb") / "data.mdb", random.Random(1)
    backend = LmdbBackend(path, QUOTA_BYTES)
    for number in range(2000):
        backend.put(pack(number + 2, 0), rng.randbytes(rng.choice([10, 100, 2048, 9000])))
        backend.put_value(b"applied", b"%d" % number)
        if number % 7 == 0 and number > 100:
            backend.delete(pack(rng.randrange(2, number), 0))
        if number % 300 == 0:
            backend.flush()
    backend.flush()
    backend.close()
    return path.read_bytes()


def damaged(tmp_path: Path, content: bytes | bytearray) -> str:
    path = tmp_path / "data.mdb"
    path.write_bytes(content)
    try:
        check_pages(path)
    except CorruptionError as damage:
        assert str(damage).startswith(f"{path}: ")
        return str(damage).removeprefix(f"{path}: ")
    return ""


def headers(content: bytes) -> list[int]:
    """Places of pages that begin with their number, as all but the inner ones of large values do."""
    starts = range(2 * PAGE_BYTES, len(content), PAGE_BYTES)
    return [start for start in starts if int.from_bytes(content[start : start + 8], "little") == start // PAGE_BYTES]


def test_an_intact_file_and_none_at_all_are_fine(tmp_path: Path, intact: bytes) -> None:
    assert damaged(tmp_path, intact) == ""
    assert damaged(tmp_path, b"") == ""
    check_pages(tmp_path / "nothing")


def test_damaged_page_headers_are_named_with_their_place(tmp_path: Path, intact: bytes) -> None:
    rng = random.Random(2)
    found = 0
    for start in rng.sample(headers(intact), 200):
        content = bytearray(intact)
        content[start : start + 16] = rng.randbytes(16)
        report = damaged(tmp_path, content)
        found += bool(report)
        assert not report or f"(page {start // PAGE_BYTES})" in report or "used" in report, report
    # The others are free pages, which nobody reads.
    assert found > 120


@pytest.mark.parametrize("place", [16, PAGE_BYTES + 16, 40, PAGE_BYTES + 42])
def test_damaged_roots_are_named(tmp_path: Path, intact: bytes, place: int) -> None:
    content = bytearray(intact)
    content[place] ^= 0xFF
    assert "damaged at byte" in damaged(tmp_path, content)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path, intact: bytes) -> None:
    assert "cut off at byte" in damaged(tmp_path, intact[: len(intact) // 2])
    assert "cut off at byte" in damaged(tmp_path, intact[:100])


def test_no_damage_anywhere_breaks_the_check(tmp_path: Path, intact: bytes) -> None:
    rng = random.Random(3)
    for _ in range(300):
        content = bytearray(intact)
        begin = rng.randrange(len(content) - 8)
        content[begin : begin + 8] = rng.randbytes(8)
        damaged(tmp_path, content)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "store-test", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def fill(disk: Path) -> None:
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))


def test_a_full_disk_is_no_damage(small_disk: Path) -> None:
    backend = LmdbBackend(small_disk / "data.mdb", QUOTA_BYTES)
    backend.put(pack(2, 0), b"kept")
    backend.flush()
    fill(small_disk)
    backend.put(pack(3, 0), bytes(100_000))
    with pytest.raises(OSError, match=r"No space left on device.*data\.mdb") as refusal:
        backend.flush()
    assert refusal.value.errno == errno.ENOSPC
    backend.close()
    reopened = LmdbBackend(small_disk / "data.mdb", QUOTA_BYTES)
    assert reopened.get(pack(2, 0)) == b"kept"
    with pytest.raises(OSError, match="No space left on device"):
        reopened.copy_to(small_disk / "copy")
    reopened.close()


def test_a_new_store_on_a_full_disk_is_refused(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(OSError, match="No space left on device"):
        LmdbBackend(small_disk / "data.mdb", QUOTA_BYTES)
