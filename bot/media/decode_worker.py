"""The picture decoder: `python -m bot.media.decode_worker PARENT_PID`, with requests as `decode_server.py` says.

Decoders are large C libraries that hostile files try to exploit, so each picture gets its own sandboxed process.
Its response is a header of numbers (`decode_protocol.py`), then the bytes of the frame and its thumbnail, if any;
`decode_client.py` validates all of it.
"""

import sys

from bot.domain.errors import PictureRefused
from bot.domain.models import PictureLimits
from bot.media import first_frame
from bot.media.decode_protocol import (
    HEADER,
    LIMITS,
    MIME_TYPES,
    PICTURE_LIMITS,
    PROBLEMS,
    READY,
    Change,
    ResponseKind,
)
from bot.media.decode_server import Work, serve
from bot.media.picture_problems import Size, UnusablePicture
from bot.media.prepared_frame import MAX_INPUT_BYTES, PreparedFrame

MAX_REQUEST_BYTES = PICTURE_LIMITS.size + MAX_INPUT_BYTES


def respond(request: bytes) -> bytes:
    """The encoded response to a picture, which comes after the limits of its frame."""
    limits, data = PictureLimits(*PICTURE_LIMITS.unpack_from(request)), request[PICTURE_LIMITS.size :]
    try:
        return _encode_frame(first_frame.prepare_first_frame(data, limits))
    except PictureRefused as refused:
        if not isinstance(refused.reason, UnusablePicture):
            raise
        why = refused.reason
    sizes = *_uint32(why.size), *_uint32(why.minimum_size)
    return HEADER.pack(ResponseKind.REFUSED, PROBLEMS.index(why.problem), *sizes, 0, 0)


def _encode_frame(prepared: PreparedFrame) -> bytes:
    kind = next(kind for kind, mime in MIME_TYPES.items() if mime == prepared.frame.mime)
    flags = Change.FIRST_OF_ANIMATION * prepared.changes.is_first_of_animation
    flags |= Change.FLATTENED_ON_WHITE * prepared.changes.is_flattened_on_white
    flags |= Change.LATER_OF_ANIMATION * prepared.changes.is_later_of_animation
    flags |= Change.FLATTENED_ON_DARK * prepared.changes.is_flattened_on_dark
    flags |= Change.PREVIEW_OF_RAW * prepared.changes.is_preview_of_raw
    sizes = prepared.width, prepared.height, *_uint32(prepared.changes.scaled_from)
    data, thumbnail = prepared.frame.data, prepared.frame.thumbnail or b""
    return HEADER.pack(kind, flags, *sizes, len(data), len(thumbnail)) + data + thumbnail


def _uint32(size: Size | None) -> Size:
    return (0, 0) if size is None else (min(size[0], 2**32 - 1), min(size[1], 2**32 - 1))


if __name__ == "__main__":
    serve(Work(respond, LIMITS, READY, MAX_REQUEST_BYTES), int(sys.argv[1]))
