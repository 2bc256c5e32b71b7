"""A file that lies about its layout costs little, whatever it says, and raises nothing unexpected.

The bot reads layouts in its own process, where a result must neither hang nor bloat it.
"""

import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.media.video_layout import VideoIncomplete, plays_inline
from tests.media.videos import write_video

MOOV_BYTES = 255_000
HUGE = 0xFFFFFFFF
MAX_MEMORY_BYTES = 20_000_000
MAX_CALLS = 200_000
"""Of functions, and of generators for their next value. A megabyte of boxes would take more."""

kept_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def table(*values: int, rest: bytes = b"") -> bytes:
    """The content of a box: version and flags, then numbers of 32 bits."""
    return struct.pack(f">{len(values) + 1}I", 0, *values) + rest


def track(*samples: bytes, handler: bytes = b"vide") -> bytes:
    """A track that lasts one second by its header. samples: the boxes of its table of samples."""
    header = box(b"mdhd", table(0, 0, 1000, 1000))
    information = box(b"minf", box(b"stbl", *samples))
    return box(b"trak", TKHD, box(b"mdia", header, box(b"hdlr", bytes(8), handler), information))


def movie(*tracks: bytes) -> bytes:
    return FTYP + box(b"moov", box(b"mvhd", table(0, 0, 1000, 1000)), *tracks)


TKHD = box(b"tkhd", table(0, 0, 1, 0, 1000))
FTYP = box(b"ftyp", b"isom", bytes(4))
MDAT = box(b"mdat")
AVC = box(b"stsd", table(1), box(b"avc1", bytes(78), box(b"avcC", b"\x01\x42")))
NO_SAMPLES = box(b"stsz", table(0, 0)) + box(b"stco", table(0)) + box(b"stsc", table(0))
EMPTY_TRACK = track(NO_SAMPLES)


def long_track(size: int, chunks: int, *boxes: bytes, sizes: bytes = b"", handler: bytes = b"vide") -> bytes:
    """As many samples as chunks, or all of them in one chunk."""
    count = size or chunks
    return track(
        box(b"stsz", table(0 if sizes else 1, count, rest=sizes)),
        box(b"stco", table(chunks, rest=bytes(4 * chunks))),
        box(b"stsc", table(1, 1, count // chunks, 1)),
        *boxes,
        handler=handler,
    )


def runs(count: int, value: int) -> bytes:
    return table(count, rest=struct.pack(">II", 1, value) * count)


def fragmented(*fragments: bytes) -> bytes:
    """A movie without samples, and fragments."""
    return movie(EMPTY_TRACK, box(b"mvex", box(b"trex", table(1, 1, 1000, 0, 0)))) + b"".join(fragments) + MDAT


def fragment(*runs_: bytes) -> bytes:
    return box(b"traf", box(b"tfhd", table(1)), *runs_)


HOSTILE: dict[str, bytes] = {
    "many fragments": fragmented(*[box(b"moof", fragment())] * 9_000),
    "many tracks in a fragment": fragmented(box(b"moof", fragment() * (MOOV_BYTES // 32))),
    "many runs in a fragment": fragmented(box(b"moof", fragment(box(b"trun", table(HUGE)) * (MOOV_BYTES // 16)))),
    "many samples in a fragment": fragmented(
        box(
            b"moof",
            fragment(struct.pack(">I4sII", MOOV_BYTES // 2, b"trun", 0x100, HUGE) + bytes(MOOV_BYTES // 2 - 16)),
        )
    ),
    "long fragments": fragmented(*[box(b"moof", bytes(900_000))] * 20),
    "many fragments in a list": fragmented(
        box(b"moof"), box(b"mfra", box(b"tfra", table(1, 0, HUGE), bytes(MOOV_BYTES)))
    ),
    "many boxes": FTYP + box(b"moov") + box(b"free") * 200_000,
    "many indexes": movie(EMPTY_TRACK) + box(b"sidx", table(1, 1000, 0, 0, 65535, rest=bytes(786_420))) * 8 + MDAT,
    "many boxes in a movie": FTYP + box(b"moov", box(b"free") * (MOOV_BYTES // 8)) + MDAT,
    "many kinds of boxes in a table": movie(track(*(struct.pack(">II", 8, n) for n in range(30_000)))) + MDAT,
    "a long table of contents": movie(track(*(struct.pack(">II", 8, n) for n in range(500_000)))) + MDAT,
    "many tracks": movie(EMPTY_TRACK * (MOOV_BYTES // len(EMPTY_TRACK))) + MDAT,
    "many chunks": movie(long_track(0, MOOV_BYTES // 4)) + MDAT,
    "many sizes": movie(long_track(MOOV_BYTES // 4, 1, sizes=bytes(MOOV_BYTES // 4 * 4))) + MDAT,
    "many runs of times": movie(
        long_track(15_000, 1, AVC, box(b"stts", runs(15_000, 1)), box(b"ctts", runs(15_000, 0)))
    )
    + MDAT,
    "billions of frames in all tracks": movie(
        *[
            long_track(HUGE, 1, AVC, box(b"stts", table(1, HUGE, HUGE)), box(b"ctts", table(1, HUGE, HUGE)))
            for _ in range(16)
        ]
    )
    + MDAT,
    "empty runs of times": movie(
        long_track(1, 1, AVC, box(b"stts", table(1, 1, 5000)), box(b"ctts", table(20_000, rest=bytes(160_000))))
    )
    + MDAT,
    "deep nesting": FTYP + (struct.pack(">I4s", MOOV_BYTES, b"moov") * (MOOV_BYTES // 8))[:MOOV_BYTES] + MDAT,
    "no end of a descriptor's length": movie(
        long_track(
            1,
            1,
            box(b"stts", table(1, 1, 1000)),
            box(b"stsd", table(1), box(b"mp4a", bytes(28), box(b"esds", bytes(4), b"\x03" + b"\xff" * 9))),
            handler=b"soun",
        ),
        long_track(1, 1, AVC, box(b"stts", table(1, 1, 1000))),
    )
    + MDAT,
}
LENGTHS = [0, 1, 7, 8, 15, 16, 17, 1 << 31, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def judge(path: Path, data: bytes) -> bool | None:
    """Whether the file plays; None if it is incomplete."""
    path.write_bytes(data)
    try:
        return plays_inline(path)
    except VideoIncomplete:
        return None


def calls_of(function: Callable[[], Any]) -> int:
    """How many calls of Python functions, and values of generators, a function takes."""
    count = 0

    def on_event(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on_event)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.full
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_layout_costs_little(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "video.mp4"
    assert not judge(path, HOSTILE[kind])
    tracemalloc.start()
    judge(path, HOSTILE[kind])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < MAX_MEMORY_BYTES
    assert calls_of(lambda: judge(path, HOSTILE[kind])) < MAX_CALLS


@pytest.mark.parametrize("length", LENGTHS)
def test_a_fragmented_video_before_a_box_of_any_length_is_judged(tmp_path: Path, length: int) -> None:
    data = movie(EMPTY_TRACK) + box(b"moof") + box(b"mdat") + struct.pack(">I4sQ", 1, b"junk", length)
    judge(tmp_path / "video.mp4", data)  # raises nothing else


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", [b"mdat", b"moov", b"junk"])
def test_a_box_of_any_length_is_judged(tmp_path: Path, length: int, kind: bytes) -> None:
    path, whole = tmp_path / "video.mp4", movie(EMPTY_TRACK)
    lacks_bytes = kind != b"junk" and length > 16
    assert judge(path, whole + struct.pack(">I4sQ", 1, kind, length)) is (None if lacks_bytes else False)
    if length <= HUGE:
        lacks_bytes = kind != b"junk" and length > 8
        assert judge(path, whole + struct.pack(">I4s", length, kind)) is (None if lacks_bytes else False)


@pytest.fixture(scope="module")
def video_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", sound="aac").read_bytes()


NUMBERS = st.sampled_from([0, 1, 2, 7, 8, 0x7FFFFFFF, 0x80000000, HUGE]) | st.integers(0, HUGE)


@given(
    edits=st.lists(st.tuples(st.integers(0, 3500), NUMBERS), min_size=1, max_size=6),
    size=st.none() | st.integers(0, 9000),
)
@settings(kept_folder, max_examples=100)
def test_damaged_boxes_raise_nothing(
    tmp_path: Path, video_bytes: bytes, edits: list[tuple[int, int]], size: int | None
) -> None:
    data = bytearray(video_bytes)
    for at, number in edits:
        struct.pack_into(">I", data, at % (len(data) - 4), number)
    judge(tmp_path / "video.mp4", bytes(data[:size]))


@given(numbers=st.lists(NUMBERS, min_size=60, max_size=60))
@settings(kept_folder, max_examples=60)
def test_any_numbers_in_the_tables_raise_nothing(tmp_path: Path, numbers: list[int]) -> None:
    words = iter(numbers)

    def some(kind: bytes, count: int) -> bytes:
        return box(kind, table(*(next(words) % (3 if index == 0 else 1 << 32) for index in range(count))))

    samples = some(b"stsz", 4), some(b"stco", 3), some(b"stsc", 7), some(b"stts", 5), some(b"ctts", 5)
    edits = box(b"edts", some(b"elst", 4))
    whole = track(*samples, AVC)[8:] + edits
    fragments = box(b"moof", box(b"traf", some(b"tfhd", 3), some(b"tfdt", 1), some(b"trun", 4)))
    extensions = box(b"mvex", some(b"mehd", 1), some(b"trex", 3))
    judge(tmp_path / "video.mp4", movie(box(b"trak", whole), extensions) + some(b"sidx", 8) + fragments + MDAT)


@given(data=st.binary(max_size=64))
@settings(kept_folder, max_examples=50)
def test_any_bytes_after_an_ebml_header_raise_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "video").write_bytes(b"\x1a\x45\xdf\xa3" + data)
    with suppress(VideoIncomplete):
        assert not plays_inline(tmp_path / "video")
