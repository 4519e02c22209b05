"""Damaged files of a change log: what is before it is read, nothing is invented, the error is clear."""

import shutil
from pathlib import Path

import pytest
from changes import entry

from catalog.change_log.file import FileChangeLog
from catalog.change_log.segments import SEGMENT_HEADER, read_frame, read_segment_header, segment_path
from core.errors import ChangeLogError

GROUPS = (["1", "2"], ["3"], ["4", "5", "6"], ["7"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of one segment with four frames."""
    log = FileChangeLog(tmp_path / "log")
    for group in GROUPS:
        log.append([entry(name) for name in group])
    log.close()
    return tmp_path / "log"


def frame_ends(path: Path) -> list[tuple[int, int]]:
    """The place behind each frame, and the revision of its last entry."""
    with path.open("rb") as file:
        log_id, _ = read_segment_header(file.fileno(), path)
        ends, place = [], SEGMENT_HEADER
        while frame := read_frame(file.fileno(), place, log_id):
            place = frame.end
            ends.append((place, frame.next - 1))
    return ends


def read_all(folder: Path) -> tuple[list[str], str]:
    """Request ids in their order as far as they can be read, and the error that ended it."""
    log = FileChangeLog(folder)
    ids: list[str] = []
    try:
        while more := log.read(len(ids), 1):
            ids += [one.request_id for one in more]
    except ChangeLogError as error:
        return ids, str(error)
    finally:
        log.close()
    return ids, ""


def test_a_log_that_was_cut_anywhere_has_all_whole_frames_and_takes_new_entries(folder: Path, tmp_path: Path) -> None:
    path = segment_path(folder, 1)
    ends, size = frame_ends(path), path.stat().st_size
    assert [last for _, last in ends] == [2, 3, 6, 7] and ends[-1][0] == size
    for length in range(SEGMENT_HEADER, size + 1):
        copy = Path(shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True))
        with segment_path(copy, 1).open("r+b") as file:
            file.truncate(length)
        whole = max((last for end, last in ends if end <= length), default=0)
        expected = [str(number) for number in range(1, whole + 1)]
        assert read_all(copy) == (expected, ""), length
        log = FileChangeLog(copy)
        assert [one.revision for one in log.append([entry("new")])] == [whole + 1], length
        log.close()
        assert read_all(copy) == ([*expected, "new"], ""), length


@pytest.mark.parametrize("length", range(0, SEGMENT_HEADER, 7))
def test_a_segment_without_its_header_is_damaged(folder: Path, length: int) -> None:
    path = segment_path(folder, 1)
    path.write_bytes(path.read_bytes()[:length])
    for call in (lambda log: log.read(0), lambda log: log.append([entry("new")]), lambda log: log.bounds()):
        with pytest.raises(ChangeLogError, match=rf"{path} is damaged at byte 0: put the file back"):
            call(FileChangeLog(folder))


def test_every_changed_bit_is_noticed_and_what_is_before_it_is_read(folder: Path, tmp_path: Path) -> None:
    path = segment_path(folder, 1)
    ends, content = frame_ends(path), path.read_bytes()
    last_frame = ends[-2][0]
    for place in range(len(content)):
        copy = Path(shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True))
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        segment_path(copy, 1).write_bytes(changed)
        ids, error = read_all(copy)
        before = max((last for end, last in ends if end <= place), default=0)
        assert ids == [str(number) for number in range(1, len(ids) + 1)], place
        assert len(ids) >= before, place
        if len(ids) < 7 and place < last_frame:
            assert f"{segment_path(copy, 1)} is damaged at byte" in error, place
        assert len(ids) < 7 or not error, place


def test_a_damaged_middle_is_refused_to_writers_too(folder: Path) -> None:
    path = segment_path(folder, 1)
    content = bytearray(path.read_bytes())
    start = frame_ends(path)[0][0]
    content[start + 6] ^= 1  # the length of the second frame
    path.write_bytes(content)
    with pytest.raises(ChangeLogError, match=f"is damaged at byte {start}"):
        FileChangeLog(folder).append([entry("new")])
    assert path.read_bytes() == content


def test_zeros_behind_the_end_are_the_rest_of_a_write(folder: Path) -> None:
    with segment_path(folder, 1).open("ab") as file:
        file.write(bytes(5000))
    assert read_all(folder) == ([str(number) for number in range(1, 8)], "")
    assert FileChangeLog(folder).append([entry("new")])[0].revision == 8


def test_a_frame_that_was_not_confirmed_counts_once_its_writer_is_gone(folder: Path) -> None:
    path = segment_path(folder, 1)
    content = bytearray(path.read_bytes())
    place = frame_ends(path)[-2][0] + 28
    assert content[place] == 1
    content[place] = 0
    path.write_bytes(content)
    reader = FileChangeLog(folder)
    with reader._locked():  # as a writer that is at it
        assert FileChangeLog(folder).bounds() == (1, 6)
    assert reader.bounds() == (1, 7)
    assert path.read_bytes()[place] == 1


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    log = FileChangeLog(tmp_path, rotate_bytes=1)
    for number in range(4):
        log.append([entry(str(number))])
    segment_path(tmp_path, 2).unlink()
    opened = FileChangeLog(tmp_path)
    assert [one.revision for one in opened.read(0, 1)] == [1]
    with pytest.raises(ChangeLogError, match=f"{segment_path(tmp_path, 1)} is damaged at byte"):
        opened.read(1)


def test_entries_that_look_like_frames_are_no_frames(tmp_path: Path) -> None:
    """What a shop writes into a product cannot make a write that was cut off look like damage."""
    other = FileChangeLog(tmp_path / "other")
    other.append([entry("x")])
    frame = segment_path(tmp_path / "other", 1).read_bytes()[SEGMENT_HEADER:]
    log = FileChangeLog(tmp_path / "log")
    log.append([entry("a")])
    path = segment_path(tmp_path / "log", 1)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"torn" + frame)
    assert FileChangeLog(tmp_path / "log").append([entry("b")])[0].revision == 2
    assert path.stat().st_size > size


def test_a_segment_of_a_later_version_is_refused(folder: Path) -> None:
    import struct
    import zlib

    path = segment_path(folder, 1)
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack("<I", 2)
    content[36:40] = struct.pack("<I", zlib.crc32(content[:36]))
    path.write_bytes(content)
    with pytest.raises(ChangeLogError, match="has format 2, and this version reads 1"):
        FileChangeLog(folder).read(0)
