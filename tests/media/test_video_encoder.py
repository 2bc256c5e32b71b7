"""What is posted is an H.264 MP4 that looks, sounds and lasts like its source."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from bot.media.transcode_worker import convert
from bot.media.video_layout import plays_inline
from tests.media.videos import (
    BLUE,
    FPS,
    GREEN,
    HEIGHT,
    RED,
    WIDTH,
    YELLOW,
    Look,
    look,
    quarters_picture,
    turned,
    write_video,
)

NO_LIMIT = 10_000_000
QUIET = {"x265-params": "log-level=none"}
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}
FULL_RANGE, UNSPECIFIED = 2, 2
BT709, SMPTE170M = 1, 6
UNEVEN = Path(__file__).with_name("uneven-times.mp4")


def converted(source: Path, limit_bytes: int = NO_LIMIT) -> Look:
    """The look of what becomes of a video, which is also what can be posted."""
    target = source.with_name("postable.mp4")
    convert(source, target, limit_bytes)
    assert target.stat().st_size <= limit_bytes
    assert plays_inline(target)
    seen = look(target)
    assert (seen.codec, seen.pix_fmt) == ("h264", "yuv420p")
    return seen


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def assert_quarters(seen: Look, *expected: tuple[int, int, int]) -> None:
    """Each quarter has its colour, but for roundings."""
    for got, wanted in zip(seen.quarters, expected, strict=True):
        assert all(abs(one - other) <= 5 for one, other in zip(got, wanted, strict=True)), (got, wanted)


KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"pix_fmt": "yuv444p"},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "gray": {"pix_fmt": "gray"},
    "HEVC": {"codec": "libx265", "options": QUIET},
    "HEVC of 10 bits": {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": QUIET},
    "VP9": {"codec": "libvpx-vp9", "options": FAST_VP9},
    "MPEG-4 part 2": {"codec": "mpeg4"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_phones_do_not_play_is_encoded_again(tmp_path: Path, kind: str) -> None:
    source = write_video(tmp_path / "video.mp4", **KINDS[kind])
    assert not plays_inline(source)
    before, seen = look(source), converted(source)
    assert seen.times_s == before.times_s
    assert seen.header_s == pytest.approx(1.0, abs=0.01)
    if kind != "gray":
        assert_quarters(seen, RED, GREEN, BLUE, YELLOW)


def test_a_webm_becomes_an_mp4_with_its_sound(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.webm", "libvpx-vp9", form="webm", sound="libopus", options=FAST_VP9)
    seen = converted(source)
    assert_quarters(seen, RED, GREEN, BLUE, YELLOW)
    assert seen.times_s == pytest.approx(look(source).times_s, abs=0.001)
    assert seen.sound_codec == "aac"
    assert seen.sound_s == pytest.approx(1.0, abs=0.05)


REMUXED: dict[str, tuple[str, dict[str, Any]]] = {
    "the table of contents at the end": ("video.mp4", {"movflags": ""}),
    "fragments": ("video.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "QuickTime": ("video.mov", {"form": "mov"}),
}


@pytest.mark.parametrize("kind", REMUXED)
def test_an_mp4_in_another_order_keeps_its_pictures_and_sound_untouched(tmp_path: Path, kind: str) -> None:
    name, options = REMUXED[kind]
    source = write_video(tmp_path / name, sound="aac", **options)
    assert not plays_inline(source)
    before, seen = look(source), converted(source)
    assert sorted(packets(tmp_path / "postable.mp4")) == sorted(packets(source))
    assert (seen.colours, seen.sound_codec) == (before.colours, "aac")


def test_an_mp4_in_another_order_keeps_its_rotation_and_pixel_aspect(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "video.mp4", movflags="", pixel_aspect=Fraction(4, 3), changes=[turned(0, 1, -1, 0)]
    )
    before, seen = look(source), converted(source)
    assert (seen.rotation, seen.pixel_aspect) == (before.rotation, before.pixel_aspect) == (-90, Fraction(4, 3))


LATE_CLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MP4": ("video.mp4", {}),
    "MP4 that must be encoded": ("video.mp4", {"pix_fmt": "yuv444p"}),
    "Matroska": ("video.mkv", {"form": "matroska"}),
    "WebM": ("video.webm", {"codec": "libvpx-vp9", "form": "webm", "options": FAST_VP9}),
}


@pytest.mark.parametrize("kind", LATE_CLOCKS)
def test_a_video_whose_clock_begins_late_begins_at_once(tmp_path: Path, kind: str) -> None:
    """As parts of a recording do. Players would show nothing for these ten seconds."""
    name, options = LATE_CLOCKS[kind]
    source = write_video(tmp_path / name, ticks=range(10 * FPS, 11 * FPS), **options)
    assert not plays_inline(source)
    seen = converted(source)
    assert seen.times_s == pytest.approx([tick / FPS for tick in range(FPS)], abs=0.002)
    assert seen.header_s == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", LATE_CLOCKS)
def test_a_picture_that_begins_after_its_sound_keeps_its_time(tmp_path: Path, kind: str) -> None:
    name, options = LATE_CLOCKS[kind]
    sound = "libopus" if kind == "WebM" else "aac"
    source = write_video(tmp_path / name, ticks=range(FPS // 2, FPS // 2 + FPS), sound=sound, **options)
    seen = look(source) if plays_inline(source) else converted(source)
    assert (seen.times_s[0], seen.end_s) == pytest.approx((0.5, 1.5), abs=0.03)


TURNS = {
    "a quarter": ((0, 1, -1, 0), (BLUE, RED, YELLOW, GREEN)),
    "a half": ((-1, 0, 0, -1), (YELLOW, BLUE, GREEN, RED)),
    "three quarters": ((0, -1, 1, 0), (GREEN, YELLOW, RED, BLUE)),
    "mirrored": ((-1, 0, 0, 1), (GREEN, RED, YELLOW, BLUE)),
    "upside down": ((1, 0, 0, -1), (BLUE, YELLOW, RED, GREEN)),
    "transposed": ((0, 1, 1, 0), (RED, BLUE, GREEN, YELLOW)),
    "transposed the other way": ((0, -1, -1, 0), (YELLOW, GREEN, BLUE, RED)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_an_encoded_video_is_upright(tmp_path: Path, turn: str) -> None:
    matrix, quarters = TURNS[turn]
    source = write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", changes=[turned(*matrix)])
    seen = converted(source)
    assert_quarters(seen, *quarters)
    assert seen.rotation == 0
    assert seen.size == ((HEIGHT, WIDTH) if matrix[0] == 0 else (WIDTH, HEIGHT))


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(3, 2), (240, 120)), (Fraction(2, 3), (160, 180))])
def test_an_encoded_video_has_square_pixels_and_the_same_shape(
    tmp_path: Path, aspect: Fraction, size: tuple[int, int]
) -> None:
    seen = converted(write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", pixel_aspect=aspect))
    assert (seen.size, seen.pixel_aspect) == (size, Fraction(1))


@pytest.mark.parametrize("colours", [(1, 1, 1, 1), (1, 6, 6, 5), (1, 9, 14, 9)], ids=["709", "601", "2020"])
def test_an_encoded_video_keeps_its_colour_tags(tmp_path: Path, colours: tuple[int, int, int, int]) -> None:
    seen = converted(write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", colours=colours))
    assert seen.colours == colours
    assert_quarters(seen, RED, GREEN, BLUE, YELLOW)


@pytest.mark.parametrize("pix_fmt", ["yuvj444p", "gbrp"])
def test_full_range_and_rgb_become_limited_range_with_the_same_colours(tmp_path: Path, pix_fmt: str) -> None:
    codec = "libx264rgb" if pix_fmt == "gbrp" else "libx264"
    matrix = 0 if pix_fmt == "gbrp" else 5
    source = write_video(
        tmp_path / "video.mp4",
        codec,
        "rgb24" if pix_fmt == "gbrp" else pix_fmt,
        colours=(FULL_RANGE, UNSPECIFIED, UNSPECIFIED, matrix),
    )
    assert look(source).pix_fmt == pix_fmt
    seen = converted(source)
    assert_quarters(seen, RED, GREEN, BLUE, YELLOW)
    assert seen.colours[0] == 1
    assert UNSPECIFIED not in seen.colours  # Chromium heeds no tag of a video unless it has all


def write_untagged(path: Path, codec: str, pix_fmt: str, height: int) -> Path:
    """A video that says nothing about its colours."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=FPS, options=FAST_VP9 if codec == "libvpx-vp9" else {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, height, pix_fmt
        for _ in range(3):
            out.mux(stream.encode(VideoFrame(64, height, pix_fmt)))
        out.mux(stream.encode(None))
    assert look(path).colours[3] == UNSPECIFIED
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "height", "code"),
    [
        ("video.webm", "libvpx-vp9", "yuv420p", 720, SMPTE170M),
        ("video.mp4", "libx264", "yuv444p", 718, SMPTE170M),
        ("video.mp4", "libx264", "yuv444p", 720, BT709),
    ],
)
def test_colours_without_tags_get_those_by_which_chromium_shows_them(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, height: int, code: int
) -> None:
    """It guesses by codec and height, and both may change. The rule was read off screenshots of Chromium 150."""
    assert converted(write_untagged(tmp_path / name, codec, pix_fmt, height)).colours[1:] == (code,) * 3


@pytest.mark.full  # FFmpeg computes its table of colours for seconds
@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_hdr_becomes_sdr(tmp_path: Path, transfer: int) -> None:
    """The codes of PQ and HLG, taken for SDR, would be washed out: PQ has 203 cd/m2, paper white, at 58 %."""
    source = write_video(
        tmp_path / "video.mp4",
        "libx265",
        "yuv420p10le",
        colours=(1, 9, transfer, 9),
        options=QUIET,
        ticks=range(3),
    )
    seen = converted(source)
    assert seen.colours == (1, 1, 1, 1)
    assert seen.quarters[1][1] > 190, "the code of green, 62 %, is about as bright as paper"


def test_frames_that_fall_into_one_tick_stay_in_order(tmp_path: Path) -> None:
    source = tmp_path / "video.mp4"
    source.write_bytes(UNEVEN.read_bytes())
    before = look(source)
    assert len(set(before.times_s)) < len(before.times_s)
    seen = converted(source, source.stat().st_size * 2 // 3)
    assert len(set(seen.times_s)) == len(seen.times_s) == len(before.times_s)
    assert seen.times_s == pytest.approx(before.times_s, abs=0.001)
    assert seen.header_s == pytest.approx(before.end_s, abs=0.01)


def test_frames_closer_together_than_the_frame_rate_says_keep_their_times(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 33, 34, 100, 101, 102, 500, 900]
    seen = converted(write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", ticks=ticks, rate=1000))
    assert seen.times_s == pytest.approx([tick / 1000 for tick in ticks], abs=0.0005)


def test_a_picture_that_is_held_is_held_as_long(tmp_path: Path) -> None:
    """With B-frames, FFmpeg's header would end seconds before the last frame is shown."""
    ticks = [*range(FPS), 4 * FPS]
    source = write_video(tmp_path / "video.mp4", ticks=ticks, options={"bf": "2"})
    assert not plays_inline(source)
    seen = converted(source)
    assert seen.times_s[-1] == pytest.approx(4.0, abs=0.01)
    assert seen.header_s == pytest.approx(seen.end_s, abs=0.05)


def test_the_last_picture_is_shown_as_long(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", options={"bf": "0"}, last_ticks=2 * FPS)
    before, seen = look(source), converted(source)
    assert before.end_s > before.times_s[-1] + 1.9
    assert (seen.end_s, seen.header_s) == pytest.approx((before.end_s, before.end_s), abs=0.01)


def test_a_video_that_must_be_smaller_keeps_its_sound(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", sound="aac", options={"crf": "0"})
    seen = converted(source, source.stat().st_size * 9 // 10)
    assert seen.sound_codec == "aac"
    assert seen.sound_s == pytest.approx(1.0, abs=0.05)


def test_sound_of_another_kind_becomes_aac(tmp_path: Path) -> None:
    seen = converted(write_video(tmp_path / "video.mp4", sound="ac3"))
    assert seen.sound_codec == "aac"
    assert seen.sound_s == pytest.approx(1.0, abs=0.08)


def test_a_stream_that_changes_its_size_keeps_one_shape(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.webm", "libvpx-vp9", form="webm", options=FAST_VP9, ticks=range(10))
    source = tmp_path / "video.webm"
    with av.open(str(small)) as reader, av.open(str(source), "w", format="webm") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        pieces = [packet for packet in reader.demux(0) if packet.size]
        for packet in pieces:
            packet.stream = copy
            writer.mux(packet)
        large = larger_frames(tmp_path)
        for index, data in enumerate(large):
            packet = av.Packet(data)
            packet.pts = packet.dts = 333 + 33 * index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 1000), copy, index == 0
            writer.mux(packet)
    seen = converted(source)
    assert seen.size == (WIDTH, HEIGHT)
    assert len(seen.times_s) == 20
    assert_quarters(seen, RED, GREEN, BLUE, YELLOW)


def larger_frames(folder: Path) -> list[bytes]:
    """Ten frames of VP9 at twice the size."""
    path = folder / "large.webm"
    with av.open(str(path), "w", format="webm") as out:
        stream = out.add_stream("libvpx-vp9", rate=FPS, options=FAST_VP9)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 2 * WIDTH, 2 * HEIGHT, "yuv420p"
        picture = quarters_picture().resize((2 * WIDTH, 2 * HEIGHT))
        for _ in range(10):
            frame: VideoFrame = VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        out.mux(stream.encode(None))
    return packets(path)


def test_a_short_video_is_encoded_under_a_limit_of_gigabytes(tmp_path: Path) -> None:
    source = write_video(tmp_path / "video.mp4", pix_fmt="yuv444p", ticks=range(3))
    assert_quarters(converted(source, 4 << 30), RED, GREEN, BLUE, YELLOW)
