"""A video of which a little can't be decoded is posted without that, as players show it."""

from pathlib import Path
from typing import Any

import av
import pytest

from bot.media.transcode import VideoUnusable
from bot.media.transcode_worker import convert
from bot.media.video_layout import plays_inline
from tests.media.videos import BLUE, GREEN, RED, YELLOW, Look, look, write_video

NO_LIMIT = 10_000_000
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "g": "10"}
EACH_FRAME_ALONE = {"g": "1"}

CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264": ("video.mp4", {"pix_fmt": "yuv444p", "options": {"g": "10", "bf": "0"}}),
    "MPEG-4 part 2": ("video.mp4", {"codec": "mpeg4", "options": {"g": "10"}}),
    "VP9": ("video.webm", {"codec": "libvpx-vp9", "form": "webm", "options": FAST_VP9}),
}


def write_damaged(folder: Path, *lost: int, name: str = "video.mp4", **options: Any) -> Path:
    """A video of 30 frames of which these packets hold nothing that can be decoded."""
    path = write_video(folder / name, **options)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]
    at = 0
    for index, packet in enumerate(packets):
        at = data.index(packet, at)
        if index in lost:
            data[at : at + len(packet)] = bytes(len(packet))
        at += len(packet)
    path.write_bytes(data)
    return path


def converted(source: Path) -> Look:
    target = source.with_name("postable.mp4")
    convert(source, target, NO_LIMIT)
    assert plays_inline(target)
    return look(target)


@pytest.mark.parametrize("codec", CODECS)
def test_a_frame_that_cannot_be_decoded_is_left_out(tmp_path: Path, codec: str) -> None:
    name, options = CODECS[codec]
    seen = converted(write_damaged(tmp_path, 19, name=name, **options))
    assert len(seen.times_s) == 29
    assert seen.end_s == pytest.approx(1.0, abs=0.05)
    for got, wanted in zip(seen.quarters, (RED, GREEN, BLUE, YELLOW), strict=True):
        assert all(abs(one - other) <= 8 for one, other in zip(got, wanted, strict=True))


def test_the_others_keep_their_times(tmp_path: Path) -> None:
    seen = converted(write_damaged(tmp_path, 7, 20, pix_fmt="yuv444p", options=EACH_FRAME_ALONE))
    assert seen.times_s == pytest.approx([n / 30 for n in range(30) if n not in {7, 20}], abs=0.001)


def test_the_first_frame_may_be_the_one(tmp_path: Path) -> None:
    seen = converted(write_damaged(tmp_path, 0, pix_fmt="yuv444p", options=EACH_FRAME_ALONE))
    assert len(seen.times_s) == 29


def test_sound_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", sound="ac3")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size][5]
    at = data.index(packet)
    data[at : at + len(packet)] = bytes(len(packet))
    source.write_bytes(data)
    seen = converted(source)
    assert len(seen.times_s) == 30
    assert seen.sound_s > 0.8


@pytest.mark.parametrize("lost", [range(10, 14), range(26, 30), range(4), range(0, 30, 5), range(30)])
def test_one_of_which_more_than_a_tenth_is_lost_is_unusable(tmp_path: Path, lost: range) -> None:
    source = write_damaged(tmp_path, *lost, pix_fmt="yuv444p", options=EACH_FRAME_ALONE)
    with pytest.raises(VideoUnusable, match="can't be read"):
        converted(source)


@pytest.mark.parametrize("lost", [range(10, 13), range(27, 30), range(3), range(0, 30, 10)])
def test_one_of_which_a_tenth_is_lost_is_posted(tmp_path: Path, lost: range) -> None:
    source = write_damaged(tmp_path, *lost, pix_fmt="yuv444p", options=EACH_FRAME_ALONE)
    assert len(converted(source).times_s) == 27


def test_one_that_loses_few_frames_but_much_time_is_unusable(tmp_path: Path) -> None:
    ticks = [0, *range(60, 89)]
    source = write_damaged(tmp_path, 0, pix_fmt="yuv444p", options=EACH_FRAME_ALONE, ticks=ticks)
    with pytest.raises(VideoUnusable, match="29 of 30 frames"):
        converted(source)


def of_unknown_codec(source: Path, codec: bytes) -> Path:
    source.write_bytes(source.read_bytes().replace(codec, b"what"))
    return source


def test_a_picture_of_an_unknown_codec_makes_a_video_unusable(tmp_path: Path) -> None:
    source = of_unknown_codec(write_video(tmp_path / "video.mp4", sound="aac"), b"avc1")
    assert not plays_inline(source)
    with pytest.raises(VideoUnusable, match="no picture that FFmpeg can decode"):
        converted(source)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_sound_of_an_unknown_codec_is_left_out(tmp_path: Path, pix_fmt: str) -> None:
    source = of_unknown_codec(write_video(tmp_path / "video.mp4", pix_fmt=pix_fmt, sound="ac3"), b"ac-3")
    assert not plays_inline(source)
    seen = converted(source)
    assert (len(seen.times_s), seen.sound_codec) == (30, None)
