"""Why a file can't become a first frame: what the stages of making one have in common."""

from dataclasses import dataclass
from enum import StrEnum

from bot.domain.errors import PictureRefused, Reason
from bot.domain.models import PictureLimits

MAX_PIXELS = 100_000_000


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
    LINK_EXPIRED = "link_expired"
    LINK_DEAD = "link_dead"
    EMPTY = "empty"
    RAW_PHOTO = "raw_photo"
    ANIMATED_JPEG_XL = "animated_jpeg_xl"
    NO_JPEG_XL = "no_jpeg_xl"


Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class UnusablePicture(Reason):
    """Why a file can't become a first frame.

    size: the picture's, if that is the problem. minimum_size: the smallest that would do. size_bytes: the file's.
    limits: the model's.
    """

    problem: PictureProblem
    size: Size | None = None
    minimum_size: Size | None = None
    size_bytes: int | None = None
    limits: PictureLimits = PictureLimits()


def refusal(
    problem: PictureProblem,
    size: Size | None = None,
    minimum: Size | None = None,
    limits: PictureLimits = PictureLimits(),
) -> PictureRefused:
    """The error to raise for a picture with this problem."""
    return PictureRefused(UnusablePicture(problem, size, minimum, limits=limits))


def check_pixel_count(size: Size) -> None:
    """Raises PictureRefused if a picture has more pixels than any decoder should be asked for."""
    if size[0] * size[1] > MAX_PIXELS:
        raise refusal(PictureProblem.TOO_MANY_PIXELS, size)
