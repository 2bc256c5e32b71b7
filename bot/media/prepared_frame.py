"""A first frame that is ready, what was changed for it, and the bounds of pictures.

The bot's main process uses these; it never imports Pillow, which only the processes that decode pictures need.
"""

from dataclasses import dataclass

from bot.domain.errors import PictureRefused
from bot.domain.jobs import Frame
from bot.media.picture_problems import PictureProblem, Size, UnusablePicture

MAX_INPUT_BYTES = 25_000_000
THUMBNAIL_SIDE = 256
"""The longer side of a thumbnail, in pixels."""

MAX_THUMBNAIL_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class PictureChanges:
    """Changes to a picture that its member may notice; false if there are none.

    is_later_of_animation: a later picture than the first, which is empty.
    """

    scaled_from: Size | None = None
    scaled_to: Size | None = None
    is_first_of_animation: bool = False
    is_flattened_on_white: bool = False
    is_later_of_animation: bool = False
    is_flattened_on_dark: bool = False
    is_preview_of_raw: bool = False

    def __bool__(self) -> bool:
        return self != PictureChanges()


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A first frame, its size in pixels, and how it differs from the picture."""

    frame: Frame
    width: int
    height: int
    changes: PictureChanges = PictureChanges()


def check_file_size(size_bytes: int) -> None:
    """Raises PictureRefused if a file is too large for any picture."""
    if size_bytes > MAX_INPUT_BYTES:
        raise PictureRefused(UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=size_bytes))
