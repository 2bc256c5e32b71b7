"""Converts pixels of any mode to 8-bit sRGB without alpha: the color pipeline of a first frame. Pure."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import cast

from PIL import Image, ImageChops, ImageCms

from bot.media.color_encoding import ColorEncoding, from_icc_profile, to_srgb

ALPHA_MODES = frozenset({"LA", "RGBA"})

_MIN_OPAQUE_ALPHA = 250  # tools leave 253 and 254 in pictures that were meant to be opaque
_MIN_CONTRAST = 24  # of 255; fainter traces are what editors and compression leave behind
_MIN_SHARE_SEEN = 0.02  # of what is visible at all

_ICC_COLOR_SPACE = slice(16, 20)  # in a profile's header: ICC.1:2022, 7.2

_Ranges = tuple[tuple[int, int], ...]

_log = logging.getLogger(__name__)


def to_8_bit(image: Image.Image) -> Image.Image:
    """Converts `image` to 8-bit L, LA, RGB, RGBA or CMYK: the modes that Pillow can scale and color-manage."""
    transparent = image.info.get("transparency")
    match image.mode:
        case "L" | "RGB" | "CMYK" | "LA" | "RGBA" if transparent is None:
            return image
        case "I;16" | "I;16L" | "I;16B" | "I;16N":
            return gray16_to_gray8(image, transparent)
        case "I" | "F":
            return _stretch_to_gray8(image)
        case "RGB" if transparent is not None and max(transparent) >= 1 << 8:
            # Pillow reads the pixels of a 16-bit PNG as 8 bits, but leaves the transparent color at 16.
            image.info["transparency"] = tuple(channel >> 8 for channel in transparent)
            return image.convert("RGBA")
        case "1" if transparent is None:
            return image.convert("L")
        case "La":
            return image.convert("LA")
        case _:
            return image.convert("RGBA" if image.has_transparency_data else "RGB")


def gray16_to_gray8(
    image: Image.Image, transparent: int | None = None, *, is_negative: bool = False
) -> Image.Image:
    """Scales the values; Pillow's own conversion would clip everything above 255 to white."""
    values = image.convert("I")
    gray = values.point([round(value / 257) for value in range(65536)], "L")
    if is_negative:
        gray = ImageChops.invert(gray)
    if transparent is not None:
        gray.putalpha(values.point([0 if value == transparent else 255 for value in range(65536)], "L"))
    return gray


def _stretch_to_gray8(image: Image.Image) -> Image.Image:
    """Maps floats within 0 to 1 to black to white; other values define no white, so their own range is used."""
    floats = image.convert("F")
    low, high = cast("tuple[float, float]", floats.getextrema())
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0, 1
    scale = 255 / ((high - low) or 1)
    return floats.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


class Backdrop(StrEnum):
    """What is put behind transparent parts: a picture that is all but white would vanish on white."""

    WHITE = "white"
    DARK = "#313338"  # Discord's dark theme, where such pictures are at home


@dataclass(frozen=True, slots=True)
class Flattened:
    """A picture in sRGB without alpha. backdrop: behind its transparent parts, None if it has none.

    is_visible: whether anything of it is more than a trace.
    """

    picture: Image.Image
    backdrop: Backdrop | None = None
    is_visible: bool = True


def flatten_to_srgb(image: Image.Image, profile: bytes | ColorEncoding | None) -> Flattened:
    """`image`, of a mode that `to_8_bit` returns, as sRGB. profile: an ICC profile, or an encoding."""
    if image.mode not in ALPHA_MODES:
        return Flattened(_to_srgb(image, profile))
    opaque = _to_srgb(image.convert(image.mode.removesuffix("A")), profile)
    alpha = image.getchannel("A")
    min_alpha, max_alpha = cast("tuple[int, int]", alpha.getextrema())
    on_white = _on(Backdrop.WHITE, opaque, alpha)
    if min_alpha >= _MIN_OPAQUE_ALPHA:
        return Flattened(on_white)
    if max_alpha < _MIN_CONTRAST:
        return Flattened(on_white, Backdrop.WHITE, is_visible=False)
    if _vanishes_on_white(on_white, alpha):
        return Flattened(_on(Backdrop.DARK, opaque, alpha), Backdrop.DARK)
    return Flattened(on_white, Backdrop.WHITE)


def contrast(picture: Image.Image) -> int:
    """The widest range of a channel, 0 to 255."""
    ranges = cast("_Ranges", picture.getextrema())
    return max(high - low for low, high in ranges)


def _on(backdrop: Backdrop, opaque: Image.Image, alpha: Image.Image) -> Image.Image:
    flattened = Image.new("RGB", opaque.size, backdrop)
    flattened.paste(opaque, mask=alpha)
    return flattened


def _vanishes_on_white(on_white: Image.Image, alpha: Image.Image) -> bool:
    """Whether nearly all that is visible of a picture is white."""
    darkest = ImageChops.invert(on_white).split()
    unlike_white = ImageChops.lighter(ImageChops.lighter(darkest[0], darkest[1]), darkest[2])
    return _count_over(unlike_white, _MIN_CONTRAST) < _MIN_SHARE_SEEN * _count_over(alpha, _MIN_CONTRAST)


def _count_over(image: Image.Image, value: int) -> int:
    return sum(image.histogram()[value:])


def _to_srgb(image: Image.Image, profile: bytes | ColorEncoding | None) -> Image.Image:
    """Converts L, RGB or CMYK to RGB by its profile; a profile that can't be used is ignored."""
    encoding = from_icc_profile(profile) if isinstance(profile, bytes) else profile
    if encoding is not None and image.mode != "CMYK":
        return to_srgb(image, encoding)
    converted = None
    if isinstance(profile, bytes):
        if image.mode == "L" and profile[_ICC_COLOR_SPACE] == b"RGB ":  # of a photo that was made gray
            image = image.convert("RGB")
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except Exception:  # noqa: BLE001  # several types, all meaning: broken, or for another color mode
            _log.info("ignored an unusable ICC profile", exc_info=True)
    return converted or image.convert("RGB")
