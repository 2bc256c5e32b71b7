"""The size and the orientation at which a video's frames look right. Pure."""

import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import cast

from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

_MIN_BITS_PER_PIXEL = 0.04  # below this, H.264 shows blocks at these sizes, and fewer pixels look better


def square_pixels(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[float, float]:
    """The size at which a picture looks right in square pixels; the side that is too short grows."""
    if not pixel_aspect or not Fraction(1, 8) <= pixel_aspect <= 8:  # noqa: PLR2004  beyond, it is a mistake
        return width, height
    return (width * float(pixel_aspect), height) if pixel_aspect > 1 else (width, height / float(pixel_aspect))


def upright_filters(frame: VideoFrame) -> tuple[str, ...]:
    """The filters that turn a frame upright.

    The matrix in its track's header (ISO/IEC 14496-12, tkhd) says x' = a x + c y and y' = b x + d y.
    """
    side_data = cast("Mapping[SideDataType, SideData]", frame.side_data)  # PyAV declares another type for it
    matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return ()
    a: int
    b: int
    c: int
    d: int
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return ("hflip",) * (a < 0) + ("vflip",) * (d < 0)
    direction = ("cclock_flip" if c > 0 else "clock") if b > 0 else ("cclock" if c > 0 else "clock_flip")
    return (f"transpose={direction}",)


def is_sideways(turn: tuple[str, ...]) -> bool:
    """Whether these filters swap width and height."""
    return any(step.startswith("transpose") for step in turn)


def scaled_size(width: float, height: float, bits_per_frame: float) -> tuple[int, int]:
    """Even sides of the same aspect ratio, with no more pixels than the bits allow."""
    scale = min(1.0, math.sqrt(bits_per_frame / _MIN_BITS_PER_PIXEL / (width * height)))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)
