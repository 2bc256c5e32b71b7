"""The process that opens one picture and ends: `python -m bot.media.decode_worker PARENT`.

Decoders are large, written in C, and read files made to break them. So each picture has a process to itself: it
says that it is ready, reads the file from its standard input, answers on its standard output in the format below
and is gone. `bot.media.decode_client` starts it and believes nothing it says unchecked.

The answer is a header of fixed size, a text and the frame's bytes. The text is the note or, where there is no
frame, what the member is told instead.
"""

import logging
import os
import struct
import sys
from enum import IntEnum

from bot.domain.errors import PictureRefused
from bot.media.first_frame import MAX_INPUT_BYTES, prepare_first_frame
from bot.media.sandbox import Limits, confine

READY = b"\x06"
"""Said before the file is read: what goes wrong from here on is the picture's doing."""

HEADER = struct.Struct(">BHHHI")
"""Kind, width, height, length of the text in bytes, length of the frame in bytes."""

MAX_TEXT_BYTES = 1000

LIMITS = Limits(data_bytes=1_800 << 20, cpu_s=20, wall_s=60, file_bytes=0, opens_files=False)
"""Of pictures with 100 megapixels, the hungriest, a lossless WEBP with alpha, takes 1,550 MB, an AVIF 1,120 MB, a
PNG 650 MB; the slowest, a HEIC, 3.5 s of a core."""


class Kind(IntEnum):
    """What is answered."""

    REFUSED = 0
    PNG = 1
    JPEG = 2


_OUTPUT, _MESSAGES = 1, 2
"""What standard output and standard error are numbered as, in C too."""

MIMES = {Kind.PNG: "image/png", Kind.JPEG: "image/jpeg"}


def answer_to(data: bytes) -> bytes:
    """The whole answer to a picture."""
    try:
        made = prepare_first_frame(data)
    except PictureRefused as refused:
        text = str(refused).encode()
        return HEADER.pack(Kind.REFUSED, 0, 0, len(text), 0) + text
    kind = next(kind for kind, mime in MIMES.items() if mime == made.frame.mime)
    note = (made.note or "").encode()
    return HEADER.pack(kind, made.width, made.height, len(note), len(made.frame.data)) + note + made.frame.data


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
