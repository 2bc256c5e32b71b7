"""Turns any picture into a first frame that the model accepts, or says why it can't.

A picture is untrusted: only its content counts, its header is checked before a pixel is decoded, and the frame is
newly encoded without metadata (a phone photo holds its GPS position). Pure and synchronous. It takes up to some
seconds of a core in decoders written in C, so `bot.media.decode_client` runs it in a sandboxed process.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

from PIL import Image, ImageFile

from bot.domain.errors import PictureRefused
from bot.domain.jobs import Frame
from bot.domain.models import PictureLimits
from bot.media import raw_photo
from bot.media.color import ALPHA_MODES, Backdrop, Flattened, contrast, flatten_to_srgb, to_8_bit
from bot.media.color_encoding import ColorEncoding
from bot.media.picture_file import open_picture, pictures
from bot.media.picture_problems import PictureProblem, Size, refusal
from bot.media.prepared_frame import THUMBNAIL_SIDE, PictureChanges, PreparedFrame, check_file_size

MAX_ENLARGE = 2

_MAX_PNG_BYTES = 4_000_000  # a longer one is a photo: as a JPEG it looks the same and uploads several times faster
_JPEG_QUALITIES = (95, 90, 80, 60, 30)
_BAND_ROWS = 128
_CLOSE = 1.1  # times the frame's size: scaled down from less, the quicker filter gives the same

_MIN_CONTRAST = 24  # of 255: below, a picture counts as one of a single color
_CLEAR_CONTRAST = 64  # many animations fade in

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


def prepare_first_frame(data: bytes, limits: PictureLimits = PictureLimits()) -> PreparedFrame:
    """Turns a member's file into a first frame within these limits.

    Raises: PictureRefused, with an `UnusablePicture`.
    """
    check_file_size(len(data))
    try:
        return _prepare(data, limits)
    except PictureRefused:
        raise
    except MemoryError as error:
        raise refusal(PictureProblem.TOO_MUCH_MEMORY) from error
    except Exception as error:
        # Decoders raise nearly anything on broken bytes. The traceback helps when the bug is ours.
        _log.info("could not decode a picture of %d bytes", len(data), exc_info=True)
        raise refusal(PictureProblem.DAMAGED) from error


def _prepare(data: bytes, limits: PictureLimits, orientation: int = 1) -> PreparedFrame:
    """orientation: as EXIF counts, if the file itself doesn't say."""
    raw = raw_photo.read_raw_photo(data)
    if raw is not None:
        return _prepare_preview(raw, limits)
    file = open_picture(data)
    image = file.image
    transpose = _TRANSPOSE_OF_ORIENTATION.get(file.orientation or orientation)
    size = _transposed(image.size, transpose)
    frame_size = _frame_size(size, limits)
    stored_frame_size = _transposed(frame_size, transpose)  # before the transpose
    is_lossless = _is_lossless(image, data)
    rendered = (
        _render(picture, stored_frame_size, transpose, file.profile)
        for picture in pictures(file, stored_frame_size)
    )
    index, flattened = _first_with_content(rendered) if file.is_animation else (0, next(rendered))
    if not flattened.is_visible:
        raise refusal(PictureProblem.EMPTY)
    changes = PictureChanges(
        scaled_from=None if size == frame_size else size,
        scaled_to=None if size == frame_size else frame_size,
        is_first_of_animation=file.is_animation and not index,
        is_flattened_on_white=flattened.backdrop is Backdrop.WHITE,
        is_later_of_animation=bool(index),
        is_flattened_on_dark=flattened.backdrop is Backdrop.DARK,
    )
    frame = _encode(flattened.picture, limits.max_bytes, is_lossless=is_lossless)
    return PreparedFrame(replace(frame, thumbnail=_thumbnail(flattened.picture)), *frame_size, changes)


def _prepare_preview(raw: raw_photo.RawPhoto, limits: PictureLimits) -> PreparedFrame:
    for preview in raw.previews:
        try:
            prepared = _prepare(preview, limits, raw.orientation)
        except Exception:  # noqa: BLE001  # whatever is wrong with a preview, a smaller one may do
            _log.info("could not use a raw photo's preview of %d bytes", len(preview), exc_info=True)
        else:
            return replace(prepared, changes=replace(prepared.changes, is_preview_of_raw=True))
    raise refusal(PictureProblem.RAW_PHOTO)


def _first_with_content(rendered: Iterator[Flattened]) -> tuple[int, Flattened]:
    """The first picture, or if that is of one color, the first later one that shows something well; its number."""
    chosen = 0, next(rendered)
    seen = contrast(chosen[1].picture)
    if seen >= _MIN_CONTRAST:
        return chosen
    for index, flattened in enumerate(rendered, start=1):
        found = contrast(flattened.picture)
        if flattened.is_visible and (found > max(seen, _MIN_CONTRAST) or not chosen[1].is_visible):
            chosen, seen = (index, flattened), found
        if seen >= _CLEAR_CONTRAST:
            break
    return chosen


def _render(
    image: Image.Image, size: Size, transpose: Image.Transpose | None, profile: bytes | ColorEncoding | None
) -> Flattened:
    is_deep = image.mode in {"I", "F"} or image.mode.startswith("I;16")
    # Converting deep pixels takes copies, which are smaller after scaling. But a transparent value must become
    # alpha before scaling mixes it with others.
    scale_first = is_deep and "transparency" not in image.info
    picture = _scaled(to_8_bit(_scaled(image, size) if scale_first else image), size)
    return flatten_to_srgb(picture if transpose is None else picture.transpose(transpose), profile)


def _transposed(size: Size, transpose: Image.Transpose | None) -> Size:
    return size[::-1] if transpose in _SIDE_SWAPS.values() else size


def _frame_size(size: Size, limits: PictureLimits) -> Size:
    """The frame's size for an upright picture: its aspect ratio kept, scaled no more than necessary."""
    width, height = size
    min_side, max_side = limits.side_min_px, limits.side_max_px
    short, long = sorted(size)
    if round(max_side * short / long) < min_side:
        raise refusal(PictureProblem.TOO_THIN, size, limits=limits)
    if short * MAX_ENLARGE < min_side:
        enough = min_side // MAX_ENLARGE
        minimum_size = math.ceil(width * enough / short), math.ceil(height * enough / short)
        raise refusal(PictureProblem.TOO_SMALL, size, minimum_size, limits)
    if min_side <= short <= long <= max_side:
        return size
    max_factor = Fraction(max_side, long)
    factor = max_factor if long > max_side else min(max_factor, Fraction(min_side, short))
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
    is_close = size[0] <= image.width < _CLOSE * size[0] and size[1] <= image.height < _CLOSE * size[1]
    return image.resize(size, Image.Resampling.BICUBIC if is_close else Image.Resampling.LANCZOS)


def _encode(picture: Image.Image, max_bytes: int, *, is_lossless: bool) -> Frame:
    picture.info.clear()  # the encoders would write comments, profiles and more from it
    if is_lossless:
        file = BytesIO()
        # Level 6, the default, takes three times as long for a tenth fewer bytes.
        picture.save(file, "PNG", compress_level=3)
        if file.tell() <= min(_MAX_PNG_BYTES, max_bytes):
            return Frame(file.getvalue(), "image/png")
    for quality in _JPEG_QUALITIES:
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling="4:4:4")
        if file.tell() <= max_bytes:
            return Frame(file.getvalue(), "image/jpeg")
    raise refusal(PictureProblem.INCOMPRESSIBLE)


def _thumbnail(picture: Image.Image) -> bytes:
    """Changes the picture: call it last."""
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()
