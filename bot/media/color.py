"""Brings any kind of pixels to one: 8-bit sRGB without alpha, as the picture is meant to look.

Deep and floating grays, CMYK, colour profiles and transparency end here. Pure; what a file holds and how large
a frame may be is the business of `bot.media.first_frame`.
"""

import logging
from io import BytesIO
from typing import cast

from PIL import Image, ImageChops, ImageCms

WITH_ALPHA = frozenset({"LA", "RGBA"})

_SEEN_THROUGH = 250
"""Alpha below this can be seen; tools leave 253 and 254 in pictures that were meant to be opaque."""

_log = logging.getLogger(__name__)


def to_eight_bits(image: Image.Image) -> Image.Image:
    """`image` as L, LA, RGB, RGBA or CMYK of 8 bits: what can be scaled and has a colour profile."""
    hole = image.info.get("transparency")
    match image.mode:
        case "L" | "RGB" | "CMYK" | "LA" | "RGBA" if hole is None:
            return _plain_cmyk(image) if image.mode == "CMYK" else image
        case "I;16" | "I;16L" | "I;16B" | "I;16N":
            return _sixteen_to_eight(image, hole)
        case "I" | "F":
            return _stretched(image)
        case "RGB" if hole is not None and max(hole) >= 1 << 8:
            # The transparent colour of a 16-bit PNG comes in 16 bits, its pixels in 8.
            image.info["transparency"] = tuple(part >> 8 for part in hole)
            return image.convert("RGBA")
        case "1" | "L" if hole is None:
            return image.convert("L")
        case "La":
            return image.convert("LA")
        case _:
            return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _plain_cmyk(image: Image.Image) -> Image.Image:
    """Pillow takes every CMYK JPEG for one of Adobe's, which are inverted; browsers look for Adobe's marker."""
    if image.format in {"JPEG", "MPO"} and "adobe" not in image.info:
        return ImageChops.invert(image)
    return image


def _sixteen_to_eight(image: Image.Image, hole: int | None) -> Image.Image:
    """Pillow's own conversion would clip everything above 255 to white."""
    values = image.convert("I")
    gray = values.point([round(value / 257) for value in range(65536)], "L")
    if hole is not None:
        gray.putalpha(values.point([0 if value == hole else 255 for value in range(65536)], "L"))
    return gray


def _stretched(image: Image.Image) -> Image.Image:
    """Floats from 0 to 1 go from black to white; others have no white point: their darkest to their brightest."""
    floats = image.convert("F")
    low, high = cast("tuple[float, float]", floats.getextrema())
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0, 1
    scale = 255 / ((high - low) or 1)
    return floats.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def to_srgb_on_white(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """`image` as sRGB without alpha, and whether one could see through any of it."""
    alpha = image.getchannel("A") if image.mode in WITH_ALPHA else None
    colours = _to_srgb(image.convert(image.mode.removesuffix("A")), profile)
    if alpha is None:
        return colours, False
    white = Image.new("RGB", colours.size, "white")
    white.paste(colours, mask=alpha)
    most_transparent, _ = cast("tuple[int, int]", alpha.getextrema())
    return white, most_transparent < _SEEN_THROUGH


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` (L, RGB or CMYK) as RGB, by `profile` if it can be used: a broken one is no reason to refuse."""
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except Exception:  # noqa: BLE001  # several kinds, all meaning: broken, or not for pixels of this kind
            _log.info("a colour profile was ignored", exc_info=True)
        else:
            return converted or image.convert("RGB")
    return image.convert("RGB")
