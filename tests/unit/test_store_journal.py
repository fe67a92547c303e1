"""The journal: what was flushed is there again, what was torn is cut, what is damaged is refused, by place."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.services.store.errors import CorruptionError
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.segments import SegmentWriter

SMALL = 512


def journal_in(directory: Path, sync=os.fdatasync, segment_bytes: int = SMALL) -> Journal:
    journal = Journal(directory, SegmentWriter(directory, sync, segment_bytes))
    journal.open()
    return journal


def reopened(journal: Journal, directory: Path) -> Journal:
    journal.close()
    return journal_in(directory)


def fill(journal: Journal, count: int, term: int = 1) -> None:
    for _ in range(count):
        index = journal.last_index + 1
        journal.add(b"command %d" % index, index, term)
        journal.flush()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.journal"))


def content_end(path: Path) -> int:
    """Where the frames of a segment end and its reserved zeros begin."""
    return len(path.read_bytes().rstrip(b"\0"))


def test_what_was_flushed_is_there_again(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.vote(3, "me")
    fill(journal, 40, term=3)
    entries = list(journal.entries)
    assert len(segments(tmp_path)) > 2
    journal.add(b"not flushed", 41, 3)
    journal = reopened(journal, tmp_path)
    assert (journal.entries, journal.term, journal.voted_for, journal.durable_index) == (entries, 3, "me", 40)


def test_nothing_is_durable_before_it_is_flushed(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 2)
    journal.add(b"x", 3, 1)
    assert (journal.last_index, journal.durable_index, journal.dirty) == (3, 2, True)
    batch = journal.take()
    journal.add(b"y", 4, 1)
    journal.write(batch)
    journal.done(batch)
    assert (journal.durable_index, journal.dirty) == (3, True)
    journal.close()


def test_a_conflicting_tail_is_cut_for_good(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 20)
    journal.cut(11)
    assert journal.durable_index == 10
    fill(journal, 2, term=2)
    journal = reopened(journal, tmp_path)
    assert [(index, term) for _, index, term in journal.entries][-3:] == [(10, 1), (11, 2), (12, 2)]
    journal.close()


def test_old_segments_go_and_term_and_vote_stay(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.vote(5, "other")
    fill(journal, 60, term=5)
    before = len(segments(tmp_path))
    journal.release(50, 5, 1 << 20)
    assert journal.first_index == 45
    assert len(segments(tmp_path)) < before
    journal = reopened(journal, tmp_path)
    assert journal.first_index <= 45
    assert (journal.last_index, journal.term, journal.voted_for) == (60, 5, "other")
    journal.close()


def test_a_leftover_before_a_gap_is_no_damage(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 60)
    journal.close()
    segments(tmp_path)[1].unlink()
    journal = journal_in(tmp_path)
    assert journal.first_index > 1
    assert journal.last_index == 60
    journal.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(1, 40), lost=st.sets(st.integers(0, 4), min_size=1))
def test_a_torn_last_frame_is_cut(tmp_path_factory: pytest.TempPathFactory, before: int, lost: set[int]) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = journal_in(directory, lambda descriptor: None, segment_bytes=1 << 16)
    fill(journal, before)
    (path,) = segments(directory)
    good = content_end(path)
    journal.add(b"torn" * 600, before + 1, 1)
    journal.flush()
    journal.close()
    data = bytearray(path.read_bytes())
    # Some sectors of the last frame never reached the disk: the zeros of before are in their place.
    begin, end = good + -good % 8, content_end(path)
    for start in (begin - begin % 512 + sector * 512 for sector in lost):
        torn = slice(max(begin, start), min(end, start + 512))
        data[torn] = bytes(torn.stop - torn.start)
    path.write_bytes(data)
    journal = journal_in(directory)
    assert journal.last_index == before
    fill(journal, 3)
    journal = reopened(journal, directory)
    assert journal.last_index == before + 3
    journal.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_loses_an_entry_silently(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = journal_in(directory, sync=lambda descriptor: None)
    fill(journal, 25)
    entries = list(journal.entries)
    journal.close()
    path = data.draw(st.sampled_from(segments(directory)))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, content_end(path) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    refusal = ""
    try:
        journal = journal_in(directory)
        journal.close()
    except CorruptionError as corruption:
        refusal = str(corruption)
    # Where nothing is refused the bit was in the padding between frames.
    assert path.name in refusal or journal.entries == entries


def test_a_file_shorter_than_its_frames_is_torn(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes=1 << 16)
    fill(journal, 10)
    journal.close()
    (path,) = segments(tmp_path)
    os.truncate(path, content_end(path) - 3)
    journal = journal_in(tmp_path)
    assert journal.last_index == 9
    journal.close()


def test_a_segment_that_was_only_begun_is_no_damage(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 3)
    journal.close()
    (tmp_path / "0000000000000002.journal").write_bytes(bytes(100))
    (tmp_path / "0000000000000001.tmp").write_bytes(b"left over")
    journal = journal_in(tmp_path)
    assert journal.last_index == 3
    fill(journal, 1)
    journal = reopened(journal, tmp_path)
    assert journal.last_index == 4
    journal.close()


@pytest.mark.parametrize("position", [0, -1], ids=["an old segment", "the last segment"])
def test_damage_to_what_was_acknowledged_is_refused(tmp_path: Path, position: int) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 25)
    journal.close()
    path = segments(tmp_path)[position]
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match=path.name):
        journal_in(tmp_path)


def test_a_failed_flush_fails_for_ever(tmp_path: Path) -> None:
    failing = False

    def sync(descriptor: int) -> None:
        if failing:
            raise OSError(errno.EIO, "injected")
        os.fdatasync(descriptor)

    journal = journal_in(tmp_path, sync)
    fill(journal, 2)
    failing = True
    journal.add(b"x", 3, 1)
    with pytest.raises(OSError, match="injected"):
        journal.flush()
    assert journal.durable_index == 2
    failing = False
    journal.add(b"y", 4, 1)
    with pytest.raises(OSError, match="injected"):
        journal.flush()
    journal.close()


def test_the_journal_and_its_segments_are_named_durably_before_they_count(tmp_path: Path) -> None:
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        os.fsync(descriptor)

    journal = journal_in(tmp_path / "journal", sync)
    assert synced == [tmp_path.stat().st_ino]
    fill(journal, 1)
    (path,) = segments(tmp_path / "journal")
    assert synced[1:] == [path.stat().st_ino, path.parent.stat().st_ino]
    journal.close()


def test_nothing_is_removed_before_the_journal_is_known_to_be_complete(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    fill(journal, 60)
    journal.close()
    segments(tmp_path)[1].unlink()
    before = segments(tmp_path)
    journal = journal_in(tmp_path)
    assert segments(tmp_path) == before
    journal.release(30, 5, 1 << 20)
    assert segments(tmp_path)[0] != before[0]
    journal.close()
