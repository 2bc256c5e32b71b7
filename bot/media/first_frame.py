"""Makes a first frame that the model accepts out of any picture a member has, or says why it can't.

What comes in is hostile until shown otherwise: it is judged by its content only, measured by its header before
a pixel is decoded, and leaves as freshly encoded pixels without any metadata (a phone photo's GPS is nobody's
business). Pure and synchronous: `prepare_first_frame` keeps a core busy for up to some seconds, and what it
calls is written
in C: `bot.media.decode_client` runs it in a process of its own.
"""

import logging
import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from io import BytesIO

import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from bot.domain.errors import PictureRefused, Reason
from bot.domain.jobs import Frame
from bot.media.color import WITH_ALPHA, to_eight_bits, to_srgb_on_white

MAX_INPUT_BYTES = 25_000_000
MAX_PIXELS = 100_000_000
MIN_SIDE = 360
MAX_SIDE = 2000
MAX_FRAME_BYTES = 10_000_000
MAX_ENLARGE = 2

_PNG_WORTH_BYTES = 4_000_000
"""A PNG above this is a photo: a JPEG looks the same to the model and is uploaded several times faster."""

_JPEG_QUALITIES = (95, 90, 80, 60, 30)

_MAX_SCANNED_PIXELS = 3_000_000_000
"""Pixels times scans of a JPEG: each scan walks the whole picture again, and a small file can hold thousands."""

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF")
_MAY_MOVE = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_TURNED_BY_DECODER = frozenset({"TIFF", "HEIF"})
_TILE_WIDTH, _TILE_HEIGHT = ExifTags.Base.TileWidth, ExifTags.Base.TileLength
_IN_BOXES = frozenset({"AVIF", "HEIF"})
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF"})
_LOSSY_IN_TIFF = frozenset({"jpeg", "tiff_jpeg", "webp"})

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its EXIF orientation."""

_SIDEWAYS = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))

_BAND_ROWS = 128

_log = logging.getLogger(__name__)

# Every plugin is loaded so that `Image.OPEN` has all of `_FORMATS`; the others are never asked.
Image.init()
# One thread a picture: how many cores are busy is for the caller to say, and each thread takes memory of its own.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Pillow would warn on its own from 89 megapixels, in the middle of decoding a TIFF.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class PictureProblem(StrEnum):
    """Why a file can't become a first frame."""

    NOT_A_PICTURE = "not_a_picture"
    DAMAGED = "damaged"
    FILE_TOO_LARGE = "file_too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_THIN = "too_thin"
    TOO_SMALL = "too_small"
    TOO_MUCH_MEMORY = "too_much_memory"
    TOO_MANY_SCANS = "too_many_scans"
    INCOMPRESSIBLE = "incompressible"
    TOO_SLOW = "too_slow"
    DECODER_CRASHED = "decoder_crashed"
    NOT_FETCHED = "not_fetched"


Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class UnusablePicture(Reason):
    """Why a file can't become a first frame, and what is known of it.

    size: the picture's, where that is the problem. enough: the smallest size that would do, of one that is too
    small. size_bytes: the file's, where it is too large.
    """

    problem: PictureProblem
    size: Size | None = None
    enough: Size | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PictureChanges:
    """What was changed about a picture that its member may notice. False where nothing was.

    scaled_from, scaled_to: both None where it kept its size.
    """

    scaled_from: Size | None = None
    scaled_to: Size | None = None
    is_first_of_animation: bool = False
    is_laid_on_white: bool = False

    def __bool__(self) -> bool:
        return self != PictureChanges()


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A picture made into a first frame. width, height: of the frame, in pixels."""

    frame: Frame
    width: int
    height: int
    changes: PictureChanges = PictureChanges()


def _refused(problem: PictureProblem, size: Size | None = None, enough: Size | None = None) -> PictureRefused:
    return PictureRefused(UnusablePicture(problem, size, enough))


def prepare_first_frame(data: bytes) -> PreparedFrame:
    """Makes `data`, a file as the member sent it, into a first frame.

    Raises: PictureRefused, with an `UnusablePicture`.
    """
    refuse_too_large(len(data))
    try:
        return _conform(data)
    except PictureRefused:
        raise
    except MemoryError as error:
        raise _refused(PictureProblem.TOO_MUCH_MEMORY) from error
    except Exception as error:
        # Decoders raise nearly anything on broken bytes. Should the fault be ours, this line shows where.
        _log.info("a picture of %d bytes could not be read", len(data), exc_info=True)
        raise _refused(PictureProblem.DAMAGED) from error


def refuse_too_large(size_bytes: int) -> None:
    """Raises PictureRefused for a file that is longer than any picture may be."""
    if size_bytes > MAX_INPUT_BYTES:
        raise PictureRefused(UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=size_bytes))


def _conform(data: bytes) -> PreparedFrame:
    image = _open(data)
    _refuse_too_many_pixels(image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile is decoded whole, however little of it the picture shows.
        tile_width, tile_height = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        _refuse_too_many_pixels((tile_width, tile_height))
    if image.format in _IN_BOXES and _ends_within_a_box(data):
        raise _refused(PictureProblem.DAMAGED)
    turn = _turn(image)
    sideways = turn in _SIDEWAYS
    size = _flipped(image.size, sideways=sideways)
    target = _fit(size)
    moving = image.format in _MAY_MOVE and bool(getattr(image, "is_animated", False))
    lossless = _is_lossless(image, data)

    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if "progressive" in image.info:
            _refuse_too_many_scans(image.size, data)
        # Decoded at a half or less where that leaves twice the target: most of the memory saved, nothing seen.
        width, height = _flipped(target, sideways=sideways)
        image.draft(image.mode, (2 * width, 2 * height))
    image.load()

    profile = image.info.get("icc_profile")
    stored_target = _flipped(target, sideways=sideways)
    deep = image.mode in {"I", "F"} or image.mode.startswith("I;16")
    # Deep pixels are scaled as they are: 8 bits take a copy or two, which should be of the smaller picture. A
    # transparent value must be found before scaling mixes it with others.
    picture: Image.Image = _scaled(image, stored_target) if deep and "transparency" not in image.info else image
    picture = _scaled(to_eight_bits(picture), stored_target)
    if turn is not None:
        picture = picture.transpose(turn)
    picture, had_holes = to_srgb_on_white(picture, profile)

    changes = PictureChanges(
        scaled_from=size if size != target else None,
        scaled_to=target if size != target else None,
        is_first_of_animation=moving,
        is_laid_on_white=had_holes,
    )
    return PreparedFrame(_encode(picture, lossless=lossless), *target, changes)


def _open(data: bytes) -> ImageFile.ImageFile:
    """Reads the header of `data`, asking the openers of `_FORMATS` only.

    Not `Image.open`, which warns about large pictures by itself and refuses them at twice the limit only.
    """
    cause: Exception | None = None
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(data[:16]) is not True:
            continue
        try:
            return factory(BytesIO(data), "")
        except Image.DecompressionBombError as error:
            raise _refused(PictureProblem.TOO_MANY_PIXELS) from error
        except Exception as error:  # noqa: BLE001  # AVIF and HEIF share a container: the next opener may know it
            cause = error
    problem = PictureProblem.NOT_A_PICTURE if cause is None else PictureProblem.DAMAGED
    raise _refused(problem) from cause


def _turn(image: ImageFile.ImageFile) -> Image.Transpose | None:
    """What is left to do to set `image` upright. A broken EXIF block is no reason to refuse a good picture."""
    if image.format in _TURNED_BY_DECODER:
        return None
    if image.format == "PNG":
        # Its EXIF block may stand behind the pixels. Loaded here and not by `getexif`, so that damage is noticed.
        image.load()
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  # a hostile EXIF block raises nearly anything
        _log.info("a broken EXIF block was ignored", exc_info=True)
        return None


def _flipped(size: Size, *, sideways: bool) -> Size:
    return (size[1], size[0]) if sideways else size


def _ends_within_a_box(data: bytes) -> bool:
    """Whether a HEIC or AVIF is cut off: libheif fills what is missing with a colour and says nothing.

    Such a file is a row of boxes: size (32 bits, big-endian; 1: the 64 bits behind the name hold it; 0: up to the
    end), name, content (ISO/IEC 14496-12, 4.2).
    """
    start = 0
    name = b""
    while start < len(data):
        size, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if size == 0:
            return False
        start += max(size, 8)
    # Some cameras append what is no box at all.
    return start > len(data) and name in {b"mdat", b"meta", b"moov"}


def _refuse_too_many_pixels(size: Size) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _refused(PictureProblem.TOO_MANY_PIXELS, size)


def _refuse_too_many_scans(size: Size, data: bytes) -> None:
    """Bytes that look like a start of scan are escaped within the scans, so counting them is enough."""
    if data.count(b"\xff\xda") * size[0] * size[1] > _MAX_SCANNED_PIXELS:
        raise _refused(PictureProblem.TOO_MANY_SCANS)


def _fit(size: Size) -> Size:
    """The frame's size for an upright picture of `size`: one factor for both sides, where one is needed at all."""
    width, height = size
    short, long = sorted(size)
    if round(MAX_SIDE * short / long) < MIN_SIDE:
        raise _refused(PictureProblem.TOO_THIN, size)
    if short * MAX_ENLARGE < MIN_SIDE:
        least = MIN_SIDE // MAX_ENLARGE
        enough = math.ceil(width * least / short), math.ceil(height * least / short)
        raise _refused(PictureProblem.TOO_SMALL, size, enough)
    if long > MAX_SIDE:
        factor = Fraction(MAX_SIDE, long)
    elif short < MIN_SIDE:
        factor = Fraction(MIN_SIDE, short)
    else:
        return size
    return round(width * factor), round(height * factor)


def _is_lossless(image: ImageFile.ImageFile, data: bytes) -> bool:
    match image.format:
        case "TIFF":
            return image.info.get("compression") not in _LOSSY_IN_TIFF
        case "WEBP":
            # The name of the chunk that lossless pixels come in; a chance match costs no more than a larger frame.
            return b"VP8L" in data
        case format_:
            return format_ in _LOSSLESS


def _scaled(image: Image.Image, size: Size) -> Image.Image:
    """`image` at `size`.

    Pillow multiplies the alpha in before scaling, in a copy; for a large picture that is done in bands, as the
    copy would take as much memory again.
    """
    if image.size == size:
        return image
    factor = min(image.width // size[0], image.height // size[1]) // 2
    if image.mode in WITH_ALPHA and factor > 1:
        smaller = Image.new(image.mode, (-(-image.width // factor), -(-image.height // factor)))
        for top in range(0, image.height, _BAND_ROWS * factor):
            band = image.crop((0, top, image.width, min(top + _BAND_ROWS * factor, image.height)))
            smaller.paste(band.reduce(factor), (0, top // factor))
        image = smaller
    return image.resize(size, Image.Resampling.LANCZOS)


def _encode(picture: Image.Image, *, lossless: bool) -> Frame:
    # The encoders take comments, profiles and more from `info` without being asked.
    picture.info.clear()
    if lossless:
        file = BytesIO()
        # Level 6, the default, takes three times as long for a tenth less.
        picture.save(file, "PNG", compress_level=3)
        if file.tell() <= _PNG_WORTH_BYTES:
            return Frame(file.getvalue(), "image/png")
    for quality in _JPEG_QUALITIES:
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling="4:4:4")
        if file.tell() <= MAX_FRAME_BYTES:
            return Frame(file.getvalue(), "image/jpeg")
    raise _refused(PictureProblem.INCOMPRESSIBLE)
