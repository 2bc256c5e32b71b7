"""The last frame of a video, from which another one goes on."""

from fractions import Fraction
from pathlib import Path

import pytest

from bot.media import joining
from bot.media.first_frame import prepare_first_frame
from bot.media.join_worker import main
from bot.media.transcode import ExitCode, VideoUnusable
from tests.media.samples import frame, pixel
from tests.media.videos import (
    BLUE,
    GREEN,
    HEIGHT,
    RED,
    UNTAGGED,
    WIDTH,
    YELLOW,
    assert_near,
    ends_at,
    last_frame_of,
    turned,
    write_levels,
    write_red,
    write_video,
)

LEVELS = range(40, 100, 2)
"""Brightness of the frames."""


def test_the_last_frame_is_the_one_that_is_shown_last(tmp_path: Path) -> None:
    video = write_levels(tmp_path / "video.mp4", LEVELS, bf="3", g="250")
    assert_near(pixel(last_frame_of(video), (0, 0)), (LEVELS[-1],) * 3)


def test_frames_after_the_end_of_an_edit_list_are_not_the_last(tmp_path: Path) -> None:
    video = write_levels(tmp_path / "video.mp4", LEVELS, bf="0")
    data = bytearray(video.read_bytes())
    ends_at(0.5)(data)
    video.write_bytes(data)
    assert_near(pixel(last_frame_of(video), (0, 0)), (LEVELS[14],) * 3)


@pytest.mark.parametrize("colours", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), UNTAGGED])
def test_the_last_frame_has_the_colours_that_players_show(
    tmp_path: Path, colours: tuple[int, int, int, int]
) -> None:
    video = write_video(tmp_path / "video.mp4", colours=colours)
    picture = last_frame_of(video)
    assert picture.size == (WIDTH, HEIGHT)
    for at, wanted in (((40, 30), RED), ((120, 30), GREEN), ((40, 90), BLUE), ((120, 90), YELLOW)):
        assert_near(pixel(picture, at), wanted, 3)


@pytest.mark.parametrize("tags", [(1, 1, 1), UNTAGGED[1:]])
def test_the_last_frame_keeps_its_colours_as_a_first_frame(tmp_path: Path, tags: tuple[int, int, int]) -> None:
    """A PNG that names the video's transfer function would be converted to sRGB, and the next part look darker."""
    last_frame_of(write_red(tmp_path / "video.mp4", tags))
    prepared = prepare_first_frame((tmp_path / "video.png").read_bytes())
    assert not prepared.changes
    assert_near(pixel(frame(prepared), (20, 20)), RED)


def test_the_last_frame_is_upright_and_in_square_pixels(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", pixel_aspect=Fraction(2), changes=[turned(0, 1, -1, 0)])
    picture = last_frame_of(video)
    assert picture.size == (HEIGHT, WIDTH * 2)
    assert_near(pixel(picture, (10, 10)), BLUE, 3)  # what was at the lower left


async def test_a_subprocess_says_that_a_file_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "first.mp4").write_bytes(b"<html>")
    with pytest.raises(VideoUnusable, match="can't be read"):
        await joining.last_frame(tmp_path / "first.mp4", tmp_path / "last.png")


def test_a_last_frame_may_be_too_large(tmp_path: Path) -> None:
    video = write_video(tmp_path / "first.mp4")
    assert main(str(tmp_path / "last.png"), "10", str(video)) is ExitCode.VIDEO_TOO_LARGE
