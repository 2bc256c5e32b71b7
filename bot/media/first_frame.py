"""Turns any picture into a first frame that the model accepts, or says why it can't.

A picture is untrusted: only its content counts, its header is checked before a pixel is decoded, and the frame is
newly encoded without metadata (a phone photo holds its GPS position). Pure and synchronous. It takes up to some
seconds of a core in decoders written in C, so `bot.media.decode_client` runs it in a sandboxed process.
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
from bot.media.color import ALPHA_MODES, flatten_to_srgb, to_8_bit

MAX_INPUT_BYTES = 25_000_000
MAX_PIXELS = 100_000_000
MIN_SIDE = 360
MAX_SIDE = 2000
MAX_FRAME_BYTES = 10_000_000
MAX_ENLARGE = 2

_MAX_PNG_BYTES = 4_000_000  # a longer one is a photo: as a JPEG it looks the same and uploads several times faster
_JPEG_QUALITIES = (95, 90, 80, 60, 30)
_MAX_SCANNED_PIXELS = 3_000_000_000  # pixels times scans: a small progressive JPEG can hold thousands of scans
_BAND_ROWS = 128

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF")
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_ORIENTED_BY_DECODER = frozenset({"TIFF", "HEIF"})
_ISO_MEDIA = frozenset({"AVIF", "HEIF"})
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF"})
_LOSSY_TIFF_COMPRESSIONS = frozenset({"jpeg", "tiff_jpeg", "webp"})

_SIDE_SWAPS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRANSPOSE_OF_ORIENTATION = _SIDE_SWAPS | {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
}
"""What makes a picture of that EXIF orientation upright."""

_log = logging.getLogger(__name__)

Image.init()  # loads the plugins of all `_FORMATS`
# One thread each: the caller decides how many cores are busy, and each thread takes more memory.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Pillow's default warns from 89 megapixels on, while it decodes a TIFF.
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
    """Why a file can't become a first frame.

    size: the picture's, if that is the problem. minimum_size: the smallest that would do. size_bytes: the file's.
    """

    problem: PictureProblem
    size: Size | None = None
    minimum_size: Size | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PictureChanges:
    """Changes to a picture that its member may notice; false if there are none."""

    scaled_from: Size | None = None
    scaled_to: Size | None = None
    is_first_of_animation: bool = False
    is_flattened_on_white: bool = False

    def __bool__(self) -> bool:
        return self != PictureChanges()


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A first frame, its size in pixels, and how it differs from the picture."""

    frame: Frame
    width: int
    height: int
    changes: PictureChanges = PictureChanges()


def prepare_first_frame(data: bytes) -> PreparedFrame:
    """Turns a member's file into a first frame. Raises: PictureRefused, with an `UnusablePicture`."""
    check_file_size(len(data))
    try:
        return _prepare(data)
    except PictureRefused:
        raise
    except MemoryError as error:
        raise _refused(PictureProblem.TOO_MUCH_MEMORY) from error
    except Exception as error:
        # Decoders raise nearly anything on broken bytes. The traceback helps when the bug is ours.
        _log.info("could not decode a picture of %d bytes", len(data), exc_info=True)
        raise _refused(PictureProblem.DAMAGED) from error


def check_file_size(size_bytes: int) -> None:
    """Raises PictureRefused if a file is too large for any picture."""
    if size_bytes > MAX_INPUT_BYTES:
        raise PictureRefused(UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=size_bytes))


def _refused(problem: PictureProblem, size: Size | None = None, minimum: Size | None = None) -> PictureRefused:
    return PictureRefused(UnusablePicture(problem, size, minimum))


def _prepare(data: bytes) -> PreparedFrame:
    image = _open(data)
    _check_pixel_count(image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile is decoded as a whole, even if it is larger than the picture.
        tags = image.tag_v2
        _check_pixel_count((tags.get(ExifTags.Base.TileWidth, 0), tags.get(ExifTags.Base.TileLength, 0)))
    if image.format in _ISO_MEDIA and _is_truncated_iso_media(data):
        raise _refused(PictureProblem.DAMAGED)
    transpose = _upright_transpose(image)
    size = _transposed(image.size, transpose)
    frame_size = _frame_size(size)
    stored_frame_size = _transposed(frame_size, transpose)  # before the transpose
    is_animation = image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    is_lossless = _is_lossless(image, data)

    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Bytes that look like a start of scan are escaped within scans, so counting them is enough.
        scans = data.count(b"\xff\xda") if "progressive" in image.info else 0
        if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
            raise _refused(PictureProblem.TOO_MANY_SCANS)
        # Decoding at ½, ¼ or ⅛ saves most of the memory; at twice the frame's size, nothing visible is lost.
        image.draft(image.mode, (2 * stored_frame_size[0], 2 * stored_frame_size[1]))
    image.load()

    icc_profile = image.info.get("icc_profile")
    is_deep = image.mode in {"I", "F"} or image.mode.startswith("I;16")
    # Converting deep pixels takes copies, which are smaller after scaling. But a transparent value must become
    # alpha before scaling mixes it with others.
    scale_first = is_deep and "transparency" not in image.info
    picture = to_8_bit(_scaled(image, stored_frame_size) if scale_first else image)
    picture = _scaled(picture, stored_frame_size)
    if transpose is not None:
        picture = picture.transpose(transpose)
    picture, is_flattened = flatten_to_srgb(picture, icc_profile)

    scaled_from, scaled_to = (None, None) if size == frame_size else (size, frame_size)
    changes = PictureChanges(scaled_from, scaled_to, is_animation, is_flattened)
    return PreparedFrame(_encode(picture, is_lossless=is_lossless), *frame_size, changes)


def _open(data: bytes) -> ImageFile.ImageFile:
    """Reads the header with the plugins of `_FORMATS` only.

    `Image.open` would warn about large pictures, and refuse them only at twice the limit.
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
        except Exception as error:  # noqa: BLE001  # AVIF and HEIF share a container: the next plugin may read it
            cause = error
    raise _refused(PictureProblem.NOT_A_PICTURE if cause is None else PictureProblem.DAMAGED) from cause


def _upright_transpose(image: ImageFile.ImageFile) -> Image.Transpose | None:
    """The transpose that EXIF asks for and the decoder doesn't do itself. A broken EXIF block is ignored."""
    if image.format in _ORIENTED_BY_DECODER:
        return None
    if image.format == "PNG":
        # Its EXIF block may follow the pixels; `getexif` would load them too, but hide damage.
        image.load()
    try:
        return _TRANSPOSE_OF_ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  # a hostile EXIF block raises nearly anything
        _log.info("ignored a broken EXIF block", exc_info=True)
        return None


def _transposed(size: Size, transpose: Image.Transpose | None) -> Size:
    return size[::-1] if transpose in _SIDE_SWAPS.values() else size


def _is_truncated_iso_media(data: bytes) -> bool:
    """Whether a HEIC or AVIF is cut off; libheif silently fills the missing part with one color.

    The file is a sequence of boxes: size (32 bits, big-endian; 1: 64 bits after the name instead; 0: to the file's
    end), name, content. Source: ISO/IEC 14496-12, 4.2.
    """
    offset, name = 0, b""
    while offset < len(data):
        size, name = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        if size == 1:
            size = int.from_bytes(data[offset + 8 : offset + 16], "big")
        if size == 0:
            return False
        offset += max(size, 8)
    # Some cameras append data that is not a box.
    return offset > len(data) and name in {b"mdat", b"meta", b"moov"}


def _check_pixel_count(size: Size) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _refused(PictureProblem.TOO_MANY_PIXELS, size)


def _frame_size(size: Size) -> Size:
    """The frame's size for an upright picture: its aspect ratio kept, scaled no more than necessary."""
    width, height = size
    short, long = sorted(size)
    if round(MAX_SIDE * short / long) < MIN_SIDE:
        raise _refused(PictureProblem.TOO_THIN, size)
    if short * MAX_ENLARGE < MIN_SIDE:
        min_side = MIN_SIDE // MAX_ENLARGE
        minimum_size = math.ceil(width * min_side / short), math.ceil(height * min_side / short)
        raise _refused(PictureProblem.TOO_SMALL, size, minimum_size)
    if MIN_SIDE <= short <= long <= MAX_SIDE:
        return size
    max_factor = Fraction(MAX_SIDE, long)
    factor = max_factor if long > MAX_SIDE else min(max_factor, Fraction(MIN_SIDE, short))
    return round(width * factor), round(height * factor)


def _is_lossless(image: ImageFile.ImageFile, data: bytes) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression") not in _LOSSY_TIFF_COMPRESSIONS
    if image.format == "WEBP":
        # The name of the lossless chunk; a chance match only costs a larger frame.
        return b"VP8L" in data
    return image.format in _LOSSLESS


def _scaled(image: Image.Image, size: Size) -> Image.Image:
    """Pillow premultiplies alpha in a copy. To save its memory, a large picture is first reduced in bands."""
    if image.size == size:
        return image
    factor = min(image.width // size[0], image.height // size[1]) // 2
    if image.mode in ALPHA_MODES and factor > 1:
        reduced = Image.new(image.mode, (-(-image.width // factor), -(-image.height // factor)))
        for top in range(0, image.height, _BAND_ROWS * factor):
            band = image.crop((0, top, image.width, min(top + _BAND_ROWS * factor, image.height)))
            reduced.paste(band.reduce(factor), (0, top // factor))
        image = reduced
    return image.resize(size, Image.Resampling.LANCZOS)


def _encode(picture: Image.Image, *, is_lossless: bool) -> Frame:
    picture.info.clear()  # the encoders would write comments, profiles and more from it
    if is_lossless:
        file = BytesIO()
        # Level 6, the default, takes three times as long for a tenth fewer bytes.
        picture.save(file, "PNG", compress_level=3)
        if file.tell() <= _MAX_PNG_BYTES:
            return Frame(file.getvalue(), "image/png")
    for quality in _JPEG_QUALITIES:
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling="4:4:4")
        if file.tell() <= MAX_FRAME_BYTES:
            return Frame(file.getvalue(), "image/jpeg")
    raise _refused(PictureProblem.INCOMPRESSIBLE)
