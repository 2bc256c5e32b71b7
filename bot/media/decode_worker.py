"""The process that opens one picture and ends: `python -m bot.media.decode_worker PARENT`.

Decoders are large, written in C, and read files made to break them. So each picture has a process to itself: it
says that it is ready, reads the file from its standard input, answers on its standard output in the format below
and is gone. `bot.media.decode_client` starts it and believes nothing it says unchecked.

The answer is a header of fixed size and, where there is one, the frame's bytes. It holds numbers only.
"""

import logging
import os
import struct
import sys
from enum import IntEnum, IntFlag

from bot.domain.errors import PictureRefused
from bot.media.first_frame import (
    MAX_INPUT_BYTES,
    PictureProblem,
    PreparedFrame,
    Size,
    UnusablePicture,
    prepare_first_frame,
)
from bot.media.sandbox import Limits, confine

READY = b"\x06"
"""Said before the file is read: what goes wrong from here on is the picture's doing."""

HEADER = struct.Struct(">BB4II")
"""Kind, detail, two sizes of width and height in pixels, length of the frame in bytes.

Of a frame: what was changed as `Change`, its size, the picture's size if it was another. Of a refusal: the place
of the problem in `REPORTED`, the picture's size, the size that would be enough. An unknown size is 0 by 0.
"""

REPORTED = (
    PictureProblem.NOT_A_PICTURE,
    PictureProblem.DAMAGED,
    PictureProblem.TOO_MANY_PIXELS,
    PictureProblem.TOO_THIN,
    PictureProblem.TOO_SMALL,
    PictureProblem.TOO_MUCH_MEMORY,
    PictureProblem.TOO_MANY_SCANS,
    PictureProblem.INCOMPRESSIBLE,
)
"""What this process can find; all else is noticed by the one that started it."""

_SIDE_MAX = 2**32 - 1

LIMITS = Limits(data_bytes=1_800 << 20, cpu_s=20, wall_s=60, file_bytes=0, opens_files=False)
"""Of pictures with 100 megapixels, the hungriest, a lossless WEBP with alpha, takes 1,550 MB, an AVIF 1,120 MB, a
PNG 650 MB; the slowest, a HEIC, 3.5 s of a core."""


class Kind(IntEnum):
    """What is answered."""

    REFUSED = 0
    PNG = 1
    JPEG = 2


class Change(IntFlag):
    """What was changed about a picture, beside its size."""

    FIRST_OF_ANIMATION = 1
    LAID_ON_WHITE = 2


_OUTPUT, _MESSAGES = 1, 2
"""What standard output and standard error are numbered as, in C too."""

MIMES = {Kind.PNG: "image/png", Kind.JPEG: "image/jpeg"}


def answer_to(data: bytes) -> bytes:
    """The whole answer to a picture."""
    try:
        made = prepare_first_frame(data)
    except PictureRefused as refused:
        if not isinstance(refused.reason, UnusablePicture):
            raise
        return _refusal(refused.reason)
    return _frame(made)


def _refusal(why: UnusablePicture) -> bytes:
    return HEADER.pack(Kind.REFUSED, REPORTED.index(why.problem), *_sides(why.size), *_sides(why.enough), 0)


def _frame(made: PreparedFrame) -> bytes:
    kind = next(kind for kind, mime in MIMES.items() if mime == made.frame.mime)
    changes = Change.FIRST_OF_ANIMATION * made.changes.is_first_of_animation
    changes |= Change.LAID_ON_WHITE * made.changes.is_laid_on_white
    before, data = _sides(made.changes.scaled_from), made.frame.data
    return HEADER.pack(kind, changes, made.width, made.height, *before, len(data)) + data


def _sides(size: Size | None) -> Size:
    return (0, 0) if size is None else (min(size[0], _SIDE_MAX), min(size[1], _SIDE_MAX))


def main(arguments: list[str]) -> None:
    """The process's own entry."""
    # A library that prints to standard output must not write into the answer.
    answers = os.dup(_OUTPUT)
    os.dup2(_MESSAGES, _OUTPUT)
    logging.basicConfig(level=logging.INFO)
    confine(LIMITS, int(arguments[0]))
    with os.fdopen(answers, "wb") as out:
        out.write(READY)
        out.flush()
        out.write(answer_to(sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)))


if __name__ == "__main__":
    main(sys.argv[1:])
