"""What the picture decoder's process (`decode_worker.py`) and the bot (`decode_client.py`) agree on.

Apart from the decoder, so that the bot's main process doesn't load Pillow and its plugins.
"""

import struct
from enum import IntEnum, IntFlag

from bot.domain.models import PictureLimits
from bot.media.picture_problems import PictureProblem
from bot.media.sandbox import ResourceLimits

READY = b"\x06"
"""Written before the file is read: any later failure is the picture's fault."""

PICTURE_LIMITS = struct.Struct(">3I")
"""What comes before the file: the model's `PictureLimits`, in their order."""

HEADER = struct.Struct(">BB4I2I")
"""Kind, detail, two sizes (width, height), lengths of the frame and of its thumbnail in bytes.

Frame: its `Change` flags, its size, the picture's size if it was scaled. Refusal: the index of its problem in
`PROBLEMS`, the picture's size, the minimum size. An unknown size is 0×0.
"""

PROBLEMS = tuple(PictureProblem)

LIMITS = ResourceLimits(memory_bytes=1_800 << 20, cpu_s=20, wall_s=60, max_file_bytes=0)
"""Measured at 100 megapixels: a lossless WEBP with alpha takes 1,550 MB, the most of all, an AVIF 1,120 MB, a PNG
650 MB; the slowest, a HEIC, takes 3.5 s of a core."""


def request_header(limits: PictureLimits) -> bytes:
    """What is sent before a file."""
    return PICTURE_LIMITS.pack(limits.side_min_px, limits.side_max_px, limits.max_bytes)


class ResponseKind(IntEnum):
    """A refusal, or the format of the frame."""

    REFUSED = 0
    PNG = 1
    JPEG = 2


class Change(IntFlag):
    """What was changed about a picture other than its size."""

    FIRST_OF_ANIMATION = 1
    FLATTENED_ON_WHITE = 2
    LATER_OF_ANIMATION = 4
    FLATTENED_ON_DARK = 8
    PREVIEW_OF_RAW = 16


MIME_TYPES = {ResponseKind.PNG: "image/png", ResponseKind.JPEG: "image/jpeg"}
