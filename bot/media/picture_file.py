"""Opens a picture, and decodes what a viewer shows of it: the part that knows files and formats.

It reads a header first, checks the size, and keeps from the file what decides over pixels. All of it runs in the
sandboxed process of `bot.media.decode_worker`.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import cast

import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
)

from bot.domain.errors import PictureRefused
from bot.media import color_encoding, containers, hevc, jpeg_xl
from bot.media.color import gray16_to_gray8
from bot.media.color_encoding import ColorEncoding
from bot.media.picture_problems import MAX_PIXELS, PictureProblem, Size, check_pixel_count, refusal

try:
    import pillow_jxl.JpegXLImagePlugin
except ImportError:  # some leave it out for its licence (docs/operating.md)
    pass
else:
    pillow_jxl.JpegXLImagePlugin.DECODE_THREADS = 0  # none beside the caller's

_USUAL_SCANS = 4
_MAX_SCANNED_PIXELS = 3_000_000_000  # pixels times scans: a small progressive JPEG can hold thousands of scans
_FILLER_BYTES = 4096
_MAX_PAGES = 32
_MAX_SEARCHED_PICTURES = 200
_MAX_SEARCHED_PIXELS = 200_000_000  # up to 5 s of a core
_MAX_JPEG_XL_PIXELS = 50_000_000  # for which the memory of a decoder's process is always enough
_SRGB, _UNSPECIFIED = 13, 2  # CICP's numbers
_VIDEO_TRANSFERS = frozenset({1, 6, 14, 15})
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF")
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_ISO_MEDIA = frozenset({"AVIF", "HEIF"})

_Ranges = tuple[tuple[int, int], ...]

_log = logging.getLogger(__name__)

Image.init()  # loads the plugins of all `_FORMATS`
# One thread each: the caller decides how many cores are busy, and each thread takes more memory.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Pillow's default warns from 89 megapixels on, while it decodes a TIFF.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An opened picture. profile: how its colors are meant. orientation: as EXIF counts, None if not stated."""

    image: ImageFile.ImageFile
    data: bytes
    profile: bytes | ColorEncoding | None = None
    orientation: int | None = None

    @property
    def is_animation(self) -> bool:
        """Whether it has more than one picture, of which a viewer shows one after the other."""
        if self.image.format not in _ANIMATED:
            return False
        if isinstance(self.image, PngImagePlugin.PngImageFile) and self.image.default_image:
            return self.image.n_frames > 2  # noqa: PLR2004  # Pillow counts the one for programs without animation
        return bool(getattr(self.image, "is_animated", False))


def open_picture(data: bytes) -> PictureFile:
    """Opens a picture of `_FORMATS`, reads from its header what decides over its pixels, and checks its size."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        png = containers.read_png(data)
        return PictureFile(
            _open_image(png.data), png.data, _png_profile(png), containers.exif_orientation(png.exif)
        )
    if data.startswith(b"\xff\xd8"):
        jpeg = containers.read_jpeg(data)
        image = _open_image(jpeg.data)
        return PictureFile(image, jpeg.data, image.info.get("icc_profile"), containers.exif_orientation(jpeg.exif))
    if jpeg_xl.is_jpeg_xl(data):
        return _open_jpeg_xl(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        data = containers.read_webp(data)
    image = _open_image(data)
    profile, orientation = image.info.get("icc_profile"), None
    if image.format in _ISO_MEDIA:
        if containers.is_truncated_iso_media(data):
            raise refusal(PictureProblem.DAMAGED)
        profile = profile or _iso_media_encoding(image, data)
    if image.format == "BMP":
        profile = containers.bmp_profile(data)
    if image.format == "AVIF":
        # Pillow puts the container's own turns here, and drops those of EXIF, as browsers do.
        orientation = containers.exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _skip_thumbnail(image)
        # A tile is decoded as a whole, even if it is larger than the picture.
        tags = image.tag_v2
        check_pixel_count(image.size)
        check_pixel_count((tags.get(ExifTags.Base.TileWidth, 0), tags.get(ExifTags.Base.TileLength, 0)))
    return PictureFile(image, data, profile, orientation)


def _open_jpeg_xl(data: bytes) -> PictureFile:
    """Checks the size first, as the plugin decodes a picture while it opens it.

    No EXIF block turns the picture, as in browsers; the decoder turns it as the codestream says. An animation is
    refused: the plugin (1.3.8) gives only its last picture, and takes no file that was cut off after the first.
    """
    if "JXL" not in Image.OPEN:
        raise refusal(PictureProblem.NO_JPEG_XL)
    stream = jpeg_xl.codestream(data)
    if not stream.startswith(jpeg_xl.CODESTREAM):  # the plugin would take a container within the container
        raise refusal(PictureProblem.DAMAGED)
    header = jpeg_xl.read_header(stream)
    check_pixel_count(header.size)
    if header.is_animation:
        raise refusal(PictureProblem.ANIMATED_JPEG_XL)
    try:
        image = _open_image(stream, ("JXL",))
    except PictureRefused as error:
        if header.size[0] * header.size[1] > _MAX_JPEG_XL_PIXELS:
            raise refusal(PictureProblem.TOO_MUCH_MEMORY) from error  # the plugin gives one error for all causes
        raise
    return PictureFile(image, stream, image.info.get("icc_profile"))


def _open_image(data: bytes, formats: Sequence[str] = _FORMATS) -> ImageFile.ImageFile:
    """Reads the header with the plugins of these formats only.

    `Image.open` would warn about large pictures, and refuse them only at twice the limit.
    """
    cause: Exception | None = None
    for name in formats:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(data[:16]) is not True:
            continue
        try:
            image = factory(BytesIO(data), "")
        except Image.DecompressionBombError as error:
            raise refusal(PictureProblem.TOO_MANY_PIXELS) from error
        except Exception as error:  # noqa: BLE001  # AVIF and HEIF share a container: the next plugin may read it
            cause = error
        else:
            check_pixel_count(image.size)
            return image
    raise refusal(PictureProblem.NOT_A_PICTURE if cause is None else PictureProblem.DAMAGED) from cause


def _skip_thumbnail(image: TiffImagePlugin.TiffImageFile) -> None:
    """Goes on to the first page that isn't a smaller version of another."""
    for _ in range(_MAX_PAGES):
        if not image.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & 1:
            return
        try:
            image.seek(image.tell() + 1)
        except EOFError:
            break
    image.seek(0)


def _png_profile(png: containers.Png) -> bytes | ColorEncoding | None:
    """How a PNG's colors are meant, in the order of PNG 3, 13.1."""
    if png.cicp is not None and png.cicp[2:] == b"\0\1" and _UNSPECIFIED not in png.cicp:  # RGB of the full range
        encoding = color_encoding.from_cicp(png.cicp[0], png.cicp[1])
        if encoding is not None:
            return encoding
    if png.icc_profile is not None or png.is_srgb or png.gamma is None:
        return png.icc_profile
    return color_encoding.from_gamma(png.gamma, png.chromaticities)


def _iso_media_encoding(image: ImageFile.ImageFile, data: bytes) -> ColorEncoding | None:
    """What the container of a HEIC or AVIF says about colors, else the stream in a HEIC."""
    try:
        # Pillow doesn't read an AVIF's; libheif does, without a decoder for it.
        info = image.info if image.format == "HEIF" else pillow_heif.open_heif(BytesIO(data)).info
    except Exception:  # noqa: BLE001  # several types; AVIF's decoder knows variants that libheif doesn't
        return None
    nclx = info.get("nclx_profile")
    if nclx is not None:
        primaries, transfer = nclx["color_primaries"], nclx["transfer_characteristics"]
    elif image.format == "HEIF":
        primaries, transfer = hevc.color_description(data) or (_UNSPECIFIED, _UNSPECIFIED)
        if primaries == transfer == _UNSPECIFIED and info.get("bit_depth", 8) > 8:  # noqa: PLR2004
            return _guessed_encoding(image)
    else:
        return None
    # Stills are made for sRGB and only labelled like the video that the encoder is made for.
    return color_encoding.from_cicp(primaries, _SRGB if transfer in _VIDEO_TRANSFERS else transfer)


def _guessed_encoding(image: ImageFile.ImageFile) -> ColorEncoding | None:
    if image.mode not in {"RGB", "RGBA"}:
        return None
    image.load()
    ranges = cast("_Ranges", image.getextrema())[:3]
    counts = image.convert("L").histogram()
    shadows = sum(counts[code] for code in color_encoding.PQ_SHADOWS) / sum(counts)
    darkest, brightest = min(low for low, _ in ranges), max(high for _, high in ranges)
    return color_encoding.from_unlabelled_10_bit(darkest, brightest, shadows)


def _load(file: PictureFile, frame_size: Size) -> None:
    """Decodes the first picture that a viewer shows. frame_size: before it is turned upright."""
    image = file.image
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Bytes that look like a start of scan are escaped within scans, so counting them is enough.
        data = file.data
        if "progressive" not in image.info:  # what follows its end, such as a video, isn't read
            data = data[: data.find(b"\xff\xd9", data.find(b"\xff\xda"))]
        scans = max(0, data.count(b"\xff\xda") - _USUAL_SCANS)
        if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
            raise refusal(PictureProblem.TOO_MANY_SCANS)
        # At ½, ¼ or ⅛, but not below the frame's size, decoding takes a fraction of the time and memory.
        image.draft(image.mode, frame_size)
        try:
            image.load()
        except OSError:
            image.im = _jpeg_without_end(file.data, frame_size).im
            image.tile = []
        return
    image.load()
    if isinstance(image, PngImagePlugin.PngImageFile) and image.default_image:
        # Viewers show this picture only where they don't show animations, which begin on an empty canvas.
        image.paste(0, (0, 0, *image.size))
        image.seek(1)
        image.load()


def _jpeg_without_end(data: bytes, frame_size: Size) -> Image.Image:
    """A JPEG that lacks no more than its end marker. Raises: OSError if it lacks pixels.

    A decoder makes something up for missing pixels, and doesn't tell. So it decodes the file with two different
    ends: what differs is made up.
    """
    filler = random.Random(0).randbytes(_FILLER_BYTES).replace(b"\xff", b"\0")  # noqa: S311  # any noise
    pictures = []
    for end in (b"", filler):
        image = JpegImagePlugin.JpegImageFile(BytesIO(data.rstrip(b"\xff") + end + b"\xff\xd9"))
        image.draft(image.mode, frame_size)
        image.load()
        pictures.append(image)
    if ImageChops.difference(*pictures).getbbox(alpha_only=False) is not None:
        raise OSError("the file ends before its pixels do")
    return pictures[0]


def pictures(file: PictureFile, frame_size: Size) -> Iterator[Image.Image]:
    """The first picture, and those that follow it in an animation, until one is damaged or enough were decoded."""
    _load(file, frame_size)
    image = file.image
    if isinstance(image, BmpImagePlugin.BmpImageFile | TiffImagePlugin.TiffImageFile) and image.mode == "RGBA":
        # Some programs write an alpha channel without filling it. No viewer of these formats shows that as empty.
        *colors, (_, max_alpha) = cast("_Ranges", image.getextrema())
        is_filled = max_alpha or all(low == high for low, high in colors)
        yield image if is_filled else image.convert("RGB")
        return
    covered = None
    canvas = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_negative(image):
        yield gray16_to_gray8(image, is_negative=True)
        return
    for _ in range(min(_MAX_SEARCHED_PICTURES, _MAX_SEARCHED_PIXELS // (canvas[0] * canvas[1]))):
        if isinstance(image, GifImagePlugin.GifImageFile):
            covered = _covered(image, covered)
        yield image if covered is None else _transparent_outside(image, covered)
        if not file.is_animation:
            return
        try:
            image.seek(image.tell() + 1)
            image.load()
        except Exception:  # noqa: BLE001  # decoders raise nearly anything: at the end, or on broken bytes
            return
        if image.size != canvas:
            return


def _is_negative(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether white is 0 in a TIFF of 16-bit gray; Pillow inverts only those of 8 bits."""
    return image.mode.startswith("I;16") and image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0


def _covered(image: GifImagePlugin.GifImageFile, before: Image.Image | None) -> Image.Image | None:
    """A mask of what a GIF's pictures have covered so far, None for all; Pillow fills the rest with some color."""
    drawn = image.dispose_extent
    if drawn is None or (before is None and (image.tell() or drawn == (0, 0, *image.size))):
        return None
    covered = before or Image.new("L", image.size)
    covered.paste(255, drawn)
    return covered


def _transparent_outside(image: Image.Image, mask: Image.Image) -> Image.Image:
    limited = image.convert("RGBA")
    limited.putalpha(ImageChops.darker(limited.getchannel("A"), mask))
    return limited
