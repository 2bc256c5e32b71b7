"""A fragmented file that ends between two fragments is incomplete if it promises more."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.media.video_layout import VideoIncomplete, plays_inline
from tests.media.videos import write_video

EMPTY_MOOV = "frag_keyframe+empty_moov"
WRITERS = [EMPTY_MOOV, "frag_keyframe", "cmaf", "dash", "frag_every_frame+empty_moov", f"{EMPTY_MOOV}+global_sidx"]
MOVIE_SCALE = 1000  # FFmpeg's

Change = Callable[[bytearray], None]


def is_incomplete(path: Path, data: bytes | bytearray) -> bool:
    path.write_bytes(data)
    try:
        plays_inline(path)
    except VideoIncomplete:
        return True
    return False


def fragmented(folder: Path, movflags: str = EMPTY_MOOV, *, sound: str | None = None) -> bytearray:
    """One second in three fragments."""
    source = write_video(folder / "video.mp4", movflags=movflags, options={"g": "10"}, sound=sound)
    return bytearray(source.read_bytes())


def before_last_fragment(data: bytearray) -> bytes:
    """What comes before it, and before its segment index if it has one."""
    start = data.rindex(b"moof") - 4
    previous = data.rindex(b"mdat", 0, start)
    end = previous - 4 + int.from_bytes(data[previous - 4 : previous], "big")
    assert end == start or data[end + 4 : end + 8] == b"sidx"
    return bytes(data[:end])


def insert_mehd(milliseconds: int, *, is_wide: bool = False) -> Change:
    """Adds the length with all fragments, as packagers write it."""

    def change(data: bytearray) -> None:
        number = struct.pack(">IQ" if is_wide else ">II", is_wide << 24, milliseconds)
        box = struct.pack(">I4s", 8 + len(number), b"mehd") + number
        at = data.index(b"mvex")
        for start in (data.index(b"moov") - 4, at - 4):
            struct.pack_into(">I", data, start, len(box) + int.from_bytes(data[start : start + 4], "big"))
        data[at + 4 : at + 4] = box

    return change


def says(kind: bytes, field_at: int, number: int) -> Change:
    """Sets a field of a header; its offset counts from the kind."""
    return lambda data: struct.pack_into(">I", data, data.index(kind) + field_at, number)


PROMISES: dict[str, Change] = {
    "mehd": insert_mehd(1000),
    "mehd of 64 bits": insert_mehd(1000, is_wide=True),
    "movie header": says(b"mvhd", 20, MOVIE_SCALE),
    "track header": says(b"tkhd", 24, MOVIE_SCALE),
    "media header": says(b"mdhd", 20, 15360),
}


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("movflags", [EMPTY_MOOV, "cmaf", "dash"])
def test_one_that_ends_before_the_length_that_it_promises_is_incomplete(
    tmp_path: Path, promise: str, movflags: str
) -> None:
    data = fragmented(tmp_path, movflags)
    PROMISES[promise](data)
    assert not is_incomplete(tmp_path / "whole", data)
    assert is_incomplete(tmp_path / "cut", before_last_fragment(data))


def test_one_that_ends_before_the_fragments_that_its_index_lists_is_incomplete(tmp_path: Path) -> None:
    data = fragmented(tmp_path, f"{EMPTY_MOOV}+global_sidx")
    assert not is_incomplete(tmp_path / "whole", data)
    assert is_incomplete(tmp_path / "cut", before_last_fragment(data))


@pytest.mark.parametrize("movflags", WRITERS)
def test_one_with_fewer_fragments_than_are_listed_at_its_end_is_incomplete(tmp_path: Path, movflags: str) -> None:
    data = fragmented(tmp_path, movflags)
    assert is_incomplete(tmp_path / "cut", before_last_fragment(data) + data[data.rindex(b"mfra") - 4 :])


def test_one_without_any_fragment_is_incomplete(tmp_path: Path) -> None:
    data = fragmented(tmp_path)
    assert is_incomplete(tmp_path / "cut", data[: data.index(b"moof") - 4])


@pytest.mark.parametrize("sound", [None, "aac"])
@pytest.mark.parametrize("movflags", [*WRITERS, "hybrid_fragmented", f"{EMPTY_MOOV}+separate_moof"])
def test_a_whole_one_is_complete_however_it_was_written(tmp_path: Path, movflags: str, sound: str | None) -> None:
    assert not is_incomplete(tmp_path / "whole", fragmented(tmp_path, movflags, sound=sound))


@pytest.mark.parametrize("unknown", [0, 0xFFFFFFFF])
def test_one_that_promises_nothing_is_complete(tmp_path: Path, unknown: int) -> None:
    data = fragmented(tmp_path)
    for field in (says(b"mvhd", 20, unknown), says(b"tkhd", 24, unknown), says(b"mdhd", 20, unknown)):
        field(data)
    assert not is_incomplete(tmp_path / "cut", before_last_fragment(data))


@pytest.mark.parametrize("promised_ms", [1000, 3_601_000])
def test_a_recording_that_does_not_begin_at_zero_is_complete(tmp_path: Path, promised_ms: int) -> None:
    """The length that it promises may count from its own beginning, or from zero."""
    data = fragmented(tmp_path)
    insert_mehd(promised_ms)(data)
    at = -1
    while (at := data.find(b"tfdt", at + 1)) >= 0:
        [start] = struct.unpack_from(">Q", data, at + 8)
        struct.pack_into(">Q", data, at + 8, start + 15360 * 3600)
    assert not is_incomplete(tmp_path / "whole", data)


def test_a_track_that_begins_later_by_its_edit_list_is_complete(tmp_path: Path) -> None:
    """The movie's length counts the time before it."""
    data = fragmented(tmp_path, f"{EMPTY_MOOV}+delay_moov")
    at = data.index(b"elst")
    struct.pack_into(">Ii", data, at + 12, 2000, -1)
    insert_mehd(3000)(data)
    assert not is_incomplete(tmp_path / "whole", data)


def test_frames_of_different_lengths_are_measured_each(tmp_path: Path) -> None:
    ticks = [
        0,
        1,
        2,
        10,
        20,
        28,
        29,
        30,
        31,
        32,
    ]  # half of them are in the first fragment, and last most of the time
    source = write_video(tmp_path / "video.mp4", movflags=EMPTY_MOOV, options={"g": "5", "bf": "0"}, ticks=ticks)
    data = bytearray(source.read_bytes())
    whole, cut = bytearray(data), bytearray(data)
    insert_mehd(1100)(whole)
    assert not is_incomplete(tmp_path / "whole", whole)
    insert_mehd(900)(cut)
    assert not is_incomplete(tmp_path / "cut", before_last_fragment(cut))
    insert_mehd(1300)(data)
    assert is_incomplete(tmp_path / "cut", before_last_fragment(data))
