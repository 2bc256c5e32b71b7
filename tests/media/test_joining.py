"""A video that goes on from another one's last frame becomes one clip with it."""

import asyncio
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from bot.media import joining, video_join
from bot.media.join_worker import join
from bot.media.transcode import VideoTooLarge, VideoUnusable
from bot.media.video_layout import plays_inline
from tests.media.samples import pixel
from tests.media.videos import (
    BLUE,
    GREEN,
    HEIGHT,
    NO_LIMIT,
    RED,
    UNTAGGED,
    WIDTH,
    YELLOW,
    Look,
    assert_near,
    last_frame_of,
    levels_of,
    look,
    turned,
    write_levels,
    write_red,
    write_video,
)
from tests.stage_harness import noisy_video

WITHOUT_B_FRAMES = {"bf": "0"}
QUIET = {"x265-params": "log-level=none"}
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}
FIRST, SECOND = range(40, 100, 2), range(98, 158, 2)
"""Brightness of the frames; the second video begins with the frame that ends the first one."""


def joined(first: Path, second: Path, limit_bytes: int = NO_LIMIT) -> Look:
    """The look of the clip that two videos become, which is also one that can be posted."""
    target = first.with_name("joined.mp4")
    join(first, second, target, limit_bytes)
    assert target.stat().st_size <= limit_bytes
    assert plays_inline(target)
    return look(target)


def is_copied(first: Path, second: Path) -> bool:
    return video_join.copy(video_join.inspect_parts(first, second), first.with_name("copied.mp4"))


def test_colours_that_no_tag_names_are_guessed_as_browsers_do(tmp_path: Path) -> None:
    """From 720 lines on, H.264 without tags counts as BT.709."""
    first = write_red(tmp_path / "first.mp4", UNTAGGED[1:])
    assert_near(pixel(last_frame_of(first), (0, 0)), RED)
    second = write_video(tmp_path / "second.mp4", colours=(1, 6, 6, 6), ticks=range(2))
    for videos in ((first, second), (second, first)):
        joined(*videos)
        assert_near(pixel(last_frame_of(tmp_path / "joined.mp4"), (20, 20)), RED, 5)


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_each_frame_is_shown_once_and_in_even_steps(tmp_path: Path, b_frames: str) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST, bf=b_frames)
    second = write_levels(tmp_path / "second.mp4", SECOND, bf=b_frames, crf="10")
    seen = joined(first, second)
    assert_near(levels_of(tmp_path / "joined.mp4"), [*FIRST, *SECOND[1:]], 3)
    assert seen.times_s[0] == 0
    assert {round(after - before, 4) for before, after in pairwise(seen.times_s)} == {round(1 / 30, 4)}
    assert seen.header_s == pytest.approx(59 / 30, abs=0.01)


def test_what_a_decoder_cannot_tell_from_one_video_is_copied(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST, bf="0")
    second = write_levels(tmp_path / "second.mp4", SECOND, bf="0")
    joined(first, second)
    packets = packets_of(first)[:-1] + packets_of(second)
    assert packets_of(tmp_path / "joined.mp4") == packets
    assert_near(levels_of(tmp_path / "joined.mp4"), [*FIRST[:-1], *SECOND])


def test_a_frame_that_others_need_is_not_left_out_of_a_copy(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", range(40, 102, 2), bf="3")
    second = write_levels(tmp_path / "second.mp4", SECOND, bf="3")
    assert shown_times(first)[-1] != max(shown_times(first))  # the last frame isn't decoded last
    assert not is_copied(first, second)
    joined(first, second)
    assert_near(levels_of(tmp_path / "joined.mp4"), [*range(40, 102, 2), *SECOND[1:]], 3)


OTHERS: dict[str, dict[str, Any]] = {
    "parameter sets": {"preset": "ultrafast"},
    "rate": {"rate": 25},
    "B-frames": {"bf": "2"},
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_differs_is_encoded(tmp_path: Path, other: str) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST, bf="0")
    second = write_levels(tmp_path / "second.mp4", SECOND, **{"bf": "0", **OTHERS[other]})
    assert not is_copied(first, second)
    joined(first, second)
    assert_near(levels_of(tmp_path / "joined.mp4"), [*FIRST, *SECOND[1:]], 3)


def test_packets_that_bring_parameter_sets_of_their_own_are_encoded(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST, bf="0")
    second = tmp_path / "second.mp4"
    with av.open(str(first)) as source, av.open(str(second), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        header = stream.codec_context.extradata or b""
        size = int.from_bytes(header[6:8], "big")
        for packet in source.demux(stream):
            if not packet.size:
                continue
            data = bytes(packet)
            if packet.is_keyframe:
                data = size.to_bytes(4, "big") + header[8 : 8 + size] + data
            changed = av.Packet(data)
            changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
            changed.time_base, changed.is_keyframe, changed.stream = packet.time_base, packet.is_keyframe, copy
            out.mux(changed)
    assert not is_copied(first, second)
    assert is_copied(first, first)


def test_frames_of_other_rates_keep_their_times(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST)
    second = write_levels(tmp_path / "second.mp4", SECOND, rate=16)
    seen = joined(first, second)
    steps = [after - before for before, after in pairwise(seen.times_s)]
    assert steps == pytest.approx([1 / 30] * 30 + [1 / 16] * 28, abs=0.001)
    assert seen.end_s == pytest.approx(1 + 29 / 16, abs=0.001)
    assert seen.header_s == pytest.approx(seen.end_s, abs=0.01)


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    first = write_video(tmp_path / "first.mp4", ticks=[0, 1, 2, 7, 8, 20, 29], options=WITHOUT_B_FRAMES)
    second = write_video(tmp_path / "second.mp4")
    seen = joined(first, second)
    assert seen.times_s[:8] == pytest.approx([tick / 30 for tick in (0, 1, 2, 7, 8, 20, 29, 30)], abs=0.001)
    assert seen.end_s == pytest.approx(59 / 30, abs=0.001)


@pytest.mark.parametrize(("first_sound", "second_sound"), [("aac", "aac"), ("aac", None), (None, "aac")])
def test_the_clip_has_sound_throughout_if_a_part_has_some(
    tmp_path: Path, first_sound: str | None, second_sound: str | None
) -> None:
    first = write_video(tmp_path / "first.mp4", sound=first_sound)
    second = write_video(tmp_path / "second.mp4", sound=second_sound)
    seen = joined(first, second)
    assert seen.sound_codec == "aac"
    assert seen.sound_s == pytest.approx(59 / 30, abs=0.03)
    loudness = [loudness_at(tmp_path / "joined.mp4", at) for at in (0.5, 1.5)]
    assert [loud > 0.05 for loud in loudness] == [first_sound is not None, second_sound is not None]


def test_sound_that_outlasts_its_part_ends_with_it(tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", sound="aac")
    first = with_sound_of(long, write_video(tmp_path / "short.mp4", ticks=range(15)), tmp_path / "first.mp4")
    seen = joined(first, write_video(tmp_path / "second.mp4", ticks=range(16)))
    assert seen.header_s == pytest.approx(1.0, abs=0.01)
    assert seen.sound_s == pytest.approx(1.0, abs=0.03)
    assert loudness_at(tmp_path / "joined.mp4", 0.3) > 0.05
    assert loudness_at(tmp_path / "joined.mp4", 0.6) < 0.01
    assert joined(write_video(tmp_path / "other.mp4", ticks=range(16)), first).sound_s == pytest.approx(
        1, abs=0.03
    )


@pytest.mark.full
def test_sound_stands_in_the_file_where_it_is_heard(tmp_path: Path) -> None:
    first = write_video(tmp_path / "first.mp4", ticks=range(450))
    joined(first, write_video(tmp_path / "second.mp4", sound="aac"))
    now_s = {"video": 0.0, "audio": 0.0}
    with av.open(str(tmp_path / "joined.mp4")) as container:
        by_place = sorted((one for one in container.demux() if one.size), key=lambda packet: packet.pos or 0)
        for packet in by_place:
            now_s[packet.stream.type] = float((packet.dts or 0) * packet.time_base)
            assert abs(now_s["video"] - now_s["audio"]) < 3


def test_a_clip_of_two_silent_videos_has_no_sound(tmp_path: Path) -> None:
    first = write_video(tmp_path / "first.mp4")
    assert joined(first, first).sound_codec is None


def test_the_second_video_is_scaled_and_turned_like_the_first(tmp_path: Path) -> None:
    first = write_video(tmp_path / "first.mp4", pixel_aspect=Fraction(2))
    second = write_video(tmp_path / "second.mp4", changes=[turned(-1, 0, 0, -1)])
    seen = joined(first, second)
    assert seen.size == (2 * WIDTH, HEIGHT)
    end = last_frame_of(tmp_path / "joined.mp4")
    assert_near(pixel(end, (WIDTH // 2, HEIGHT // 4)), YELLOW, 5)  # upside down


@pytest.mark.parametrize("first_colours", [UNTAGGED, (1, 6, 6, 6), (2, 1, 1, 1)])
def test_both_parts_keep_the_colours_that_players_show(
    tmp_path: Path, first_colours: tuple[int, int, int, int]
) -> None:
    for counts in ((40, 10), (10, 40)):  # what is in the middle is of the first part, then of the second
        first = write_video(tmp_path / "first.mp4", colours=first_colours, ticks=range(counts[0]))
        second = write_video(tmp_path / "second.mp4", ticks=range(counts[1]))
        for got, wanted in zip(joined(first, second).quarters, (RED, GREEN, BLUE, YELLOW), strict=True):
            assert_near(got, wanted, 5)


@pytest.mark.full
@pytest.mark.parametrize(
    "kind",
    [
        {"codec": "libx265", "options": QUIET},
        {"form": "webm", "codec": "libvpx-vp9", "options": FAST_VP9, "sound": "libopus"},
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "colours": (1, 9, 16, 9), "options": QUIET},
    ],
    ids=["HEVC", "WebM", "HDR"],
)
def test_videos_of_other_kinds_are_joined(tmp_path: Path, kind: dict[str, Any]) -> None:
    first = write_video(tmp_path / ("first.webm" if "form" in kind else "first.mp4"), **kind)
    second = write_video(tmp_path / "second.mp4")
    seen = joined(first, second)
    assert (seen.codec, seen.pix_fmt, len(seen.times_s)) == ("h264", "yuv420p", 59)


def test_a_clip_is_encoded_to_the_limit(tmp_path: Path) -> None:
    first = tmp_path / "first.mp4"
    noisy_video(first)
    assert len(joined(first, first, first.stat().st_size).times_s) == 19


def test_a_clip_goes_on_again(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST)
    second = write_levels(tmp_path / "second.mp4", SECOND)
    joined(first, second)
    clip = (tmp_path / "joined.mp4").rename(tmp_path / "clip.mp4")
    third = write_levels(tmp_path / "third.mp4", range(156, 216, 2))
    joined(clip, third)
    assert_near(levels_of(tmp_path / "joined.mp4"), [*FIRST, *SECOND[1:], *range(158, 216, 2)], 4)


def test_a_video_of_one_frame_cannot_go_on_from_another(tmp_path: Path) -> None:
    first, second = write_video(tmp_path / "first.mp4"), write_video(tmp_path / "second.mp4", ticks=[0])
    with pytest.raises(VideoUnusable, match="a single frame"):
        join(first, second, tmp_path / "joined.mp4", NO_LIMIT)


async def test_a_subprocess_takes_the_last_frame_and_joins(tmp_path: Path) -> None:
    first = write_levels(tmp_path / "first.mp4", FIRST)
    second = write_levels(tmp_path / "second.mp4", SECOND)
    assert (await joining.last_frame(first, tmp_path / "last.png")).startswith(b"\x89PNG")
    slots = asyncio.Semaphore(1)
    clip = await joining.join(first, second, tmp_path / "joined.mp4", NO_LIMIT, slots=slots)
    assert len(levels_of(clip)) == 59


async def test_a_subprocess_says_that_nothing_fits(tmp_path: Path) -> None:
    video = write_video(tmp_path / "first.mp4")
    with pytest.raises(VideoTooLarge):
        await joining.join(video, video, tmp_path / "joined.mp4", 100)


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def shown_times(path: Path) -> list[int]:
    """When the packets are shown, in the order in which they are decoded."""
    with av.open(str(path)) as container:
        return [packet.pts or 0 for packet in container.demux() if packet.size]


def with_sound_of(heard: Path, seen: Path, to: Path) -> Path:
    """A video with the pictures of one file and the sound of another."""
    with av.open(str(heard)) as one, av.open(str(seen)) as other, av.open(str(to), "w") as out:
        sources = (one, one.streams.audio[0]), (other, other.streams.video[0])
        copies = [out.add_stream_from_template(stream) for _, stream in sources]
        for (source, stream), copy in zip(sources, copies, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
    return to


def loudness_at(path: Path, at_s: float) -> float:
    """The largest sample of a tenth of a second, 1 at the most."""
    with av.open(str(path)) as container:
        loudest = 0.0
        for frame in container.decode(audio=0):
            if frame.time is not None and at_s <= frame.time < at_s + 0.1:
                values = struct.unpack(f"={frame.samples}f", bytes(frame.planes[0])[: 4 * frame.samples])
                loudest = max(loudest, *map(abs, values))
    return loudest
