"""JPEG XL: the frame is what Chromium shows."""

import random
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bot.media import jpeg_xl
from bot.media.decode_client import DecodeClient
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import MAX_PIXELS, PictureProblem
from bot.media.prepared_frame import PictureChanges
from tests.media.samples import (
    BLUE,
    QUARTERS,
    SIZE,
    centers,
    distance,
    drawing,
    encoded,
    frame,
    jpeg_xl_header,
    problem,
)
from tests.media.samples import quarters as quarters_image

ORIENTATION = 0x0112
ANIMATION = Path(__file__).with_name("animated.jxl")  # red, green and blue, written by libjxl


def bare(image: Image.Image, **options: object) -> bytes:
    """A JPEG XL without a container."""
    return encoded(image, "JXL", lossless=True, effort=1, **options)


def in_container(image: Image.Image, exif: bytes = b"") -> bytes:
    return encoded(image, "JXL", lossless=True, effort=1, use_container=True, exif=exif)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def in_parts(stream: bytes, *lengths: int) -> bytes:
    """A container with the codestream in parts of these lengths, and the rest."""
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    parts, at = b"", 0
    for number, length in enumerate(lengths):
        parts += box(b"jxlp", struct.pack(">I", number) + stream[at : at + length]) + box(b"xml ", b"<x/>")
        at += length
    return start + parts + box(b"jxlp", struct.pack(">I", 1 << 31 | len(lengths)) + stream[at:])


QUARTERS_FILE = bare(quarters_image())


@pytest.mark.parametrize(
    "data",
    [
        QUARTERS_FILE,
        encoded(quarters_image(), "JXL", quality=95),
        bare(quarters_image().convert("RGBA")),
        in_container(quarters_image()),
        in_parts(QUARTERS_FILE, 1, 3, 20),
        in_parts(QUARTERS_FILE, 60) + box(b"Exif", bytes(99))[:50],
        in_container(quarters_image())[:-1] + QUARTERS_FILE[-1:] + b"more",
    ],
    ids=["bare", "lossy", "RGBA", "container", "parts", "metadata cut off", "more at the end"],
)
def test_a_jpeg_xl_is_taken(data: bytes) -> None:
    assert distance(centers(data), QUARTERS) <= 3


async def test_the_sandboxed_decoder_reads_it() -> None:
    async with DecodeClient() as client:
        assert await client.prepare(QUARTERS_FILE) == prepare_first_frame(QUARTERS_FILE)


def test_exif_turns_no_jpeg_xl() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = in_container(quarters_image(), exif.tobytes())
    assert b"Exif" in data
    assert distance(centers(data), QUARTERS) <= 3


def test_its_header_turns_it() -> None:
    data = jpeg_xl_header(QUARTERS_FILE, orientation=6)
    above_left, above_right, below_left, below_right = QUARTERS
    assert frame(prepare_first_frame(data)).size == SIZE[::-1]
    assert distance(centers(data), (below_left, above_left, below_right, above_right)) <= 3


def test_one_made_of_a_jpeg_is_turned_as_that_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    jpeg = encoded(quarters_image(), "JPEG", quality=95, exif=exif)
    (tmp_path / "picture.jpg").write_bytes(jpeg)
    with Image.open(tmp_path / "picture.jpg") as opened:
        data = encoded(opened, "JXL", lossless_jpeg=True)
    assert b"jbrd" in data
    assert distance(centers(data), centers(jpeg)) <= 3


def test_a_white_drawing_is_put_on_dark() -> None:
    data = bare(drawing((255, 255, 255, 255)))
    assert prepare_first_frame(data).changes == PictureChanges(is_flattened_on_dark=True)


@pytest.mark.parametrize("lost_bytes", [1, 10, 100])
@pytest.mark.parametrize("stream", [bare, in_container])
def test_one_that_lacks_pixels_is_refused(stream: object, lost_bytes: int) -> None:
    assert callable(stream)
    assert problem(stream(quarters_image())[:-lost_bytes]) is PictureProblem.DAMAGED


def test_an_animation_is_refused() -> None:
    assert problem(ANIMATION.read_bytes()) is PictureProblem.ANIMATED_JPEG_XL
    assert problem(jpeg_xl_header(QUARTERS_FILE, is_animation=True)) is PictureProblem.ANIMATED_JPEG_XL


def test_the_library_gives_no_other_picture_of_an_animation_than_the_last() -> None:
    """Browsers begin with the first, red one. Once the library gives that, animations can be taken."""
    data = ANIMATION.read_bytes()
    with Image.open(BytesIO(data)) as opened:
        assert opened.getpixel((0, 0)) == BLUE
        with pytest.raises(EOFError):
            opened.seek(1)


WITHOUT_PLUGIN = """
import sys
sys.modules["pillow_jxl"] = None  # importing it fails, as if it weren't installed
from bot.domain.errors import PictureRefused
from bot.media.first_frame import prepare_first_frame
for path in sys.argv[1:]:
    try:
        print(prepare_first_frame(open(path, "rb").read()).frame.mime)
    except PictureRefused as refused:
        print(refused.reason.problem)
"""


def test_without_the_library_a_jpeg_xl_is_refused_as_such_and_others_are_taken(tmp_path: Path) -> None:
    files = {"jxl": QUARTERS_FILE, "container": in_container(quarters_image())}
    files |= {format_: encoded(quarters_image(), format_) for format_ in ("PNG", "AVIF")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", WITHOUT_PLUGIN, *(str(tmp_path / name) for name in files)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    assert run.stdout.split() == ["no_jpeg_xl", "no_jpeg_xl", "image/png", "image/jpeg"]


def test_a_container_within_the_container_is_refused() -> None:
    """Its header would not be checked, but the decoder would take it."""
    nested = box(b"jxlc", in_container(quarters_image()))
    whole = in_container(quarters_image())
    head = whole[: 12 + 20]  # signature and type
    assert problem(head + nested) is PictureProblem.DAMAGED


@pytest.mark.parametrize("size", [(480, 360), (256, 256), (64, 248), (1920, 1080), (1000, 777), (9, 5000)])
def test_the_header_tells_the_size(size: tuple[int, int]) -> None:
    assert jpeg_xl.read_header(bare(Image.new("L", size))) == jpeg_xl.Header(size, is_animation=False)


@pytest.mark.parametrize("side", [10_001, 1 << 30])
def test_too_many_pixels_are_refused_by_the_header(side: int) -> None:
    """32 bits of each side follow the flag that they are not small."""
    height = side - 1 << 2 | 3
    bits = height << 1 | (height << 3) << 33
    data = b"\xff\x0a" + bits.to_bytes(9, "little")
    assert side * side > MAX_PIXELS
    assert jpeg_xl.read_header(data).size == (side, side)
    assert problem(data) is PictureProblem.TOO_MANY_PIXELS


@pytest.mark.parametrize("seed", range(3))
def test_any_bytes_are_accepted(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # repeatable
    whole = in_parts(QUARTERS_FILE, 1, 3, 20)
    for length in range(0, len(whole), 3):
        for data in (whole[:length], whole[:length] + rng.randbytes(60), QUARTERS_FILE[:length]):
            jpeg_xl.read_header(jpeg_xl.codestream(data))


def test_one_that_cannot_be_decoded_is_too_large_if_it_may_be_memory_that_lacked() -> None:
    """The library has one error for both."""
    large = bare(Image.new("L", (10_000, 5_001)))
    assert problem(large[:-10]) is PictureProblem.TOO_MUCH_MEMORY
