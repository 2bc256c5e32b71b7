import io
import itertools
from pathlib import Path

import av
import pytest
from av.video.reformatter import Colorspace
from PIL import Image, ImageChops, ImageStat

from bot.demo.fake_renderer import render, video_size
from bot.domain.jobs import Resolution
from bot.domain.models import WAN22_FLASH

RED, BLUE = (200, 40, 40), (40, 40, 200)


def picture(width: int, height: int) -> bytes:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def stills(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [
            # The colours as the file declares them; by default PyAV takes every video for BT.601.
            frame.reformat(
                format="rgb24",
                src_colorspace=Colorspace(frame.colorspace),
                dst_colorspace=Colorspace.ITU601,
            ).to_image()  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
            for frame in container.decode(video=0)
        ]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("render") / "video.mp4"
    render(picture(1000, 750), path, resolution=Resolution.P480, seed=3)
    return path


def test_a_video_is_five_seconds_of_h264_at_30_frames(rendered: Path) -> None:
    with av.open(str(rendered)) as container:
        (stream,) = container.streams
        video = container.streams.video[0]
        assert stream.type == "video"
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == 30
        assert video.frames == 150
        assert video.duration is not None
        assert video.time_base is not None
        assert float(video.duration * video.time_base) == pytest.approx(5.0, abs=0.05)


def test_playback_can_start_before_the_file_is_complete(rendered: Path) -> None:
    data = rendered.read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_video_is_a_few_megabytes_at_most(rendered: Path) -> None:
    assert 10_000 < rendered.stat().st_size < 5_000_000


def test_a_video_begins_with_the_whole_picture_in_its_colours(rendered: Path) -> None:
    first = stills(rendered)[0]
    for x, colour in ((0.02, RED), (0.45, RED), (0.55, BLUE), (0.98, BLUE)):
        pixel = first.getpixel((int(first.width * x), first.height // 2))
        assert isinstance(pixel, tuple)
        assert pixel == pytest.approx(colour, abs=6)


def test_a_video_moves(rendered: Path) -> None:
    frames = stills(rendered)
    moved = [
        sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)
        for one, other in itertools.pairwise(frames[::30])
    ]
    assert min(moved) > 0.1


def test_the_same_seed_gives_the_same_video_and_another_does_not(tmp_path: Path) -> None:
    def last(seed: int) -> bytes:
        path = tmp_path / "video.mp4"
        render(picture(400, 400), path, resolution=Resolution.P480, seed=seed, duration_s=0.2)
        return stills(path)[-1].tobytes()

    assert last(1) == last(1)
    assert last(1) != last(2)


@pytest.mark.parametrize("resolution", WAN22_FLASH.resolutions)
@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (1080, 1920), (800, 800), (2000, 360), (360, 2000), (361, 1999)]
)
def test_the_aspect_ratio_is_kept_at_about_the_resolutions_pixel_count(
    width: int, height: int, resolution: Resolution
) -> None:
    video_width, video_height = video_size(width, height, resolution)
    pixels = {Resolution.P480: 0.4e6, Resolution.P720: 0.92e6}[resolution]
    assert video_width % 2 == video_height % 2 == 0
    assert video_width / video_height == pytest.approx(width / height, rel=0.02)
    assert video_width * video_height == pytest.approx(pixels, rel=0.02)


@pytest.mark.parametrize(
    ("width", "height", "sides"),
    [(720, 1280, (474, 842)), (500, 500, (632, 632)), (2000, 360, (1490, 268))],
    ids=["portrait", "square", "panorama"],
)
def test_any_shape_becomes_a_video_without_borders(
    tmp_path: Path, width: int, height: int, sides: tuple[int, int]
) -> None:
    path = tmp_path / "video.mp4"
    render(picture(width, height), path, resolution=Resolution.P480, seed=1, duration_s=0.1)
    last = stills(path)[-1]
    assert last.size == sides
    for corner in ((0, 0), (0, sides[1] - 1), (sides[0] - 1, 0), (sides[0] - 1, sides[1] - 1)):
        pixel = last.getpixel(corner)
        assert isinstance(pixel, tuple)
        assert pixel == pytest.approx(RED if corner[0] == 0 else BLUE, abs=20)


def test_an_invalid_picture_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        render(b"no picture", tmp_path / "video.mp4", resolution=Resolution.P480, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_moved_into_place_leaves_nothing(tmp_path: Path) -> None:
    taken = tmp_path / "video.mp4"
    taken.mkdir()
    with pytest.raises(IsADirectoryError):
        render(picture(400, 400), taken, resolution=Resolution.P480, seed=1, duration_s=0.1)
    assert list(tmp_path.iterdir()) == [taken]
