"""Why a picture can't be used, or what was changed about one that can."""

import math
from collections.abc import Mapping

from bot.chat.messages.reason_texts import FREE, text_of
from bot.domain.models import PictureLimits
from bot.media.picture_problems import MAX_PIXELS, PictureProblem, Size, UnusablePicture
from bot.media.prepared_frame import MAX_INPUT_BYTES, PictureChanges

_TEXTS: Mapping[PictureProblem, str] = {
    PictureProblem.NOT_A_PICTURE: (
        "I can't find a picture in this file. I can read JPEG, PNG, WEBP, GIF, HEIC, AVIF, JPEG XL, BMP and TIFF: "
        "please send one of those."
    ),
    PictureProblem.DAMAGED: (
        "This picture is damaged or incomplete, so I can't open it. "
        "Please save or download it again and send the new copy."
    ),
    PictureProblem.FILE_TOO_LARGE: (
        f"This file is {{found_mb}}, and I can take up to {MAX_INPUT_BYTES // 1_000_000} MB. "
        "Please send a smaller copy."
    ),
    PictureProblem.TOO_MANY_PIXELS: (
        f"This picture has {{found_pixels}}, and I can take up to {MAX_PIXELS // 1_000_000} megapixels. "
        "Please send a smaller copy."
    ),
    PictureProblem.TOO_THIN: (
        "This picture{size} is too long and thin. It can be at most about {ratio} times as long as it's wide, "
        "such as {limits.side_max_px}×{limits.side_min_px}. Please crop it and send it again."
    ),
    PictureProblem.TOO_SMALL: (
        "This picture{size} is too small. It needs to be {enough}, and looks sharp from {limits.side_min_px} "
        "pixels on its shorter side. Please send a larger one."
    ),
    PictureProblem.TOO_MUCH_MEMORY: (
        "This picture needs more memory to open than I can spare. "
        "Please send a smaller copy, or save it as a JPEG and send that."
    ),
    PictureProblem.TOO_MANY_SCANS: (
        "This JPEG is stored in a way that takes too long to open. Please save it again and send the new copy."
    ),
    PictureProblem.INCOMPRESSIBLE: (
        "I can't make this picture's file small enough for the model. Please try another picture."
    ),
    PictureProblem.TOO_SLOW: (
        "This picture takes too long to open. "
        "Please save it again, for example as a JPEG or PNG, and send that copy."
    ),
    PictureProblem.DECODER_CRASHED: (
        "I can't open this picture: something in the file breaks my picture reader. "
        "Please open it in an image editor, save it again and send that copy."
    ),
    PictureProblem.EMPTY: (
        "There is nothing to see in this picture: all of it is transparent. Please send one that shows something."
    ),
    PictureProblem.RAW_PHOTO: (
        "This is a raw photo, without a preview in it that I could use. "
        "Please export it as a JPEG in your photo app and send that."
    ),
    PictureProblem.ANIMATED_JPEG_XL: (
        "I can't read animations in JPEG XL. Please send a still picture, or the animation as a GIF or WEBP."
    ),
    PictureProblem.NO_JPEG_XL: (
        "JPEG XL isn't supported here. Please save the picture as a JPEG or PNG and send that copy."
    ),
    PictureProblem.NOT_FETCHED: "I couldn't get the picture from Discord. Please send it again.",
    PictureProblem.LINK_EXPIRED: (
        "That link doesn't work any more: Discord's links to uploaded files expire after a day. Please open the "
        "picture in Discord, copy its link again and use the new one."
    ),
    PictureProblem.LINK_DEAD: "There's no picture behind that link any more. Please use another one.",
}


@text_of.register
def _(picture: UnusablePicture) -> str:
    why = _TEXTS[picture.problem].format(
        size=f" ({_size(picture.size)})" if picture.size else "",
        enough="larger" if picture.minimum_size is None else f"at least {_size(picture.minimum_size)}",
        found_mb="too large" if picture.size_bytes is None else f"{_millions(picture.size_bytes)} MB",
        found_pixels=_megapixels(picture.size),
        limits=picture.limits,
        ratio=_ratio(picture.limits),
    )
    return f"{why} {FREE}"


def picture_changes(changes: PictureChanges) -> str:
    """What was changed about the picture, in one line; empty if nothing was."""
    parts = []
    if changes.is_preview_of_raw:
        parts.append("the camera's own JPEG from the raw photo")
    if changes.is_first_of_animation:
        parts.append("only the first frame of the animation")
    if changes.is_later_of_animation:
        parts.append("only one frame of the animation, as its first one is empty")
    if changes.scaled_from is not None and changes.scaled_to is not None:
        verb = "scaled down" if changes.scaled_from > changes.scaled_to else "enlarged"
        parts.append(f"{verb} from {_size(changes.scaled_from)} to {_size(changes.scaled_to)}")
    if changes.is_flattened_on_white:
        parts.append("transparent parts filled with white")
    if changes.is_flattened_on_dark:
        parts.append("transparent parts filled with dark gray, because the picture is white")
    return f"I adjusted your picture for the model: {', '.join(parts)}." if parts else ""


def _ratio(limits: PictureLimits) -> str:
    """How many times as long as wide a picture may be, rounded down to a half, such as 5½."""
    halves = 2 * limits.side_max_px // limits.side_min_px
    return f"{halves // 2}{'½' if halves % 2 else ''}"


def _size(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _megapixels(size: Size | None) -> str:
    if size is None:
        return "far too many pixels"
    return f"{_millions(size[0] * size[1])} megapixels ({_size(size)})"


def _millions(number: int) -> str:
    """In millions, rounded up to a tenth, so that what is over a limit never reads as the limit itself."""
    return f"{math.ceil(number / 100_000) / 10:,.1f}".removesuffix(".0")
