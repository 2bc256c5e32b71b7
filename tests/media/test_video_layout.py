"""What the layout of a file says: whether all of it is there, and whether phones play it as it is."""

import struct
from pathlib import Path
from typing import Any

import av
import pytest

from bot.media.video_layout import VideoIncomplete, plays_inline
from tests.media.videos import movie_header_says_it_lasts, says_it_lasts, turned, write_video

QUIET = {"x265-params": "log-level=none"}
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


def is_incomplete(path: Path) -> bool:
    try:
        plays_inline(path)
    except VideoIncomplete:
        return True
    return False


PLAYED: dict[str, dict[str, Any]] = {
    "High": {},
    "Main": {"options": {"profile": "main"}},
    "Baseline": {"options": {"profile": "baseline"}},
    "sound": {"sound": "aac"},
    "full range": {"pix_fmt": "yuvj420p", "colours": (2, 1, 1, 1)},
    "turned": {"changes": [turned(0, 1, -1, 0)]},
    "without B-frames": {"options": {"bf": "0"}},
}


@pytest.mark.parametrize("kind", PLAYED)
def test_what_every_phone_plays_is_known_as_such(tmp_path: Path, kind: str) -> None:
    assert plays_inline(write_video(tmp_path / "video.mp4", **PLAYED[kind]))


NOT_PLAYED: dict[str, dict[str, Any]] = {
    "4:2:2": {"pix_fmt": "yuv422p"},
    "4:4:4": {"pix_fmt": "yuv444p"},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "gray": {"pix_fmt": "gray"},
    "HEVC": {"codec": "libx265", "options": QUIET},
    "VP9": {"codec": "libvpx-vp9", "options": FAST_VP9},
    "MPEG-4 part 2": {"codec": "mpeg4"},
    "Opus": {"sound": "libopus"},
    "MP3": {"sound": "libmp3lame"},
    "the table of contents at the end": {"movflags": ""},
    "fragments": {"movflags": "frag_keyframe+empty_moov"},
    "QuickTime": {"form": "mov"},
    "a header that says it is longer": {"changes": [says_it_lasts(5.0)]},
    "a movie header alone that says it is longer": {"changes": [movie_header_says_it_lasts(5.0)]},
    "a header that says it is shorter": {"changes": [says_it_lasts(0.2)]},
}


@pytest.mark.parametrize("kind", NOT_PLAYED)
def test_what_some_phone_does_not_play_is_known_as_such(tmp_path: Path, kind: str) -> None:
    assert not plays_inline(write_video(tmp_path / "video.mp4", **NOT_PLAYED[kind]))


CUT: dict[str, tuple[str, dict[str, Any]]] = {
    "MP4": ("video.mp4", {}),
    "MP4 with sound": ("video.mp4", {"sound": "aac"}),
    "table of contents at the end": ("video.mp4", {"movflags": ""}),
    "WebM": ("video.webm", {"codec": "libvpx-vp9", "form": "webm", "options": FAST_VP9}),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_off_anywhere_is_known_as_incomplete(tmp_path: Path, kind: str) -> None:
    name, options = CUT[kind]
    data = write_video(tmp_path / name, **options).read_bytes()
    cut = tmp_path / "cut"
    for size in [*range(12, len(data), len(data) // 50), len(data) - 1]:
        cut.write_bytes(data[:size])
        assert is_incomplete(cut), f"{size} of {len(data)} bytes"


def test_a_file_cut_off_between_two_boxes_is_known_by_its_table_of_contents(tmp_path: Path) -> None:
    """As if the box of the frames had been shortened to what has come, which no box contradicts."""
    data = bytearray(write_video(tmp_path / "video.mp4").read_bytes())
    start = data.index(b"mdat") - 4
    del data[start + 600 :]
    struct.pack_into(">I", data, start, 600)
    (tmp_path / "cut.mp4").write_bytes(data)
    with av.open(str(tmp_path / "cut.mp4")) as container:  # nobody else complains
        assert container.streams.video[0].frames == 30
        assert 0 < sum(1 for packet in container.demux() if packet.size) < 30
    with pytest.raises(VideoIncomplete, match="table of contents"):
        plays_inline(tmp_path / "cut.mp4")


def test_a_fragmented_file_cut_off_inside_a_fragment_is_known_as_incomplete(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", movflags="frag_keyframe+empty_moov", options={"g": "10"})
    data = source.read_bytes()
    last = data.rindex(b"moof") - 4
    for size in (last + 3, last + 4, last + 6, last + 20, data.rindex(b"mdat") - 4, data.rindex(b"mdat") + 20):
        source.write_bytes(data[:size])
        assert is_incomplete(source), size


@pytest.mark.parametrize("movflags", ["+faststart", "frag_keyframe+empty_moov"])
@pytest.mark.parametrize("junk", [b"\n", b"\r\n\r\n", b"appended text", b"\xff\xff\xff\xff\x00\x01\x02\x03" * 9])
def test_what_is_appended_to_a_whole_file_makes_it_no_less_whole(
    tmp_path: Path, junk: bytes, movflags: str
) -> None:
    video = write_video(tmp_path / "video.mp4", movflags=movflags)
    video.write_bytes(video.read_bytes() + junk)
    assert plays_inline(video) is (movflags == "+faststart")


@pytest.mark.parametrize("data", [b"", b"\0", b"<html>" * 9, b"\x1a\x45\xdf\xa3\0" * 9, bytes(100)])
def test_what_is_no_video_is_not_taken_for_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert not plays_inline(tmp_path / "file")
