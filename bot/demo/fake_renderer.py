"""Makes a real video out of one picture, in place of a paid model: the camera moves slowly into it.

It starts on the whole picture, as an image-to-video model starts on its first frame, and ends a little closer
at a spot that hangs on the seed. Everything is CPU work of some seconds, so it belongs into another process.
"""

import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageOps

from bot.domain.jobs import Resolution

FPS = 30
_PIXELS = {Resolution.P480: 832 * 480, Resolution.P720: 1280 * 720}
_BT709 = 1
"""The code of BT.709 for primaries and transfer alike (ITU-T H.273)."""


@dataclass(frozen=True, slots=True)
class _Move:
    """Where the camera goes: `zoom` at the end, and the spot it ends at, from 0 to 1 of the room to move."""

    zoom: float
    x: float
    y: float

    def box(self, share: float, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of a picture of that size that is in sight when `share` of the time has passed."""
        eased = (1 - math.cos(math.pi * share)) / 2
        scale = 1 / (1 + (self.zoom - 1) * eased)
        left = (1 - scale) * width * self.x
        top = (1 - scale) * height * self.y
        return left, top, left + scale * width, top + scale * height


def film_size(width: int, height: int, resolution: Resolution) -> tuple[int, int]:
    """Sides of the video, even, for a picture of that size: its aspect, about the resolution's pixels."""
    factor = math.sqrt(_PIXELS[resolution] / (width * height))
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def film(picture: bytes, to: Path, *, resolution: Resolution, seed: int, seconds: float = 5.0) -> None:
    """Writes an H.264 MP4 of `picture` to `to`, which appears only when it is whole.

    Raises: OSError for a picture that can't be read, `av.FFmpegError` for one that no film can be made of.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        source = ImageOps.exif_transpose(opened).convert("RGB")
    size = film_size(*source.size, resolution)
    dice = random.Random(seed)  # noqa: S311  a camera's way is no secret
    move = _Move(zoom=dice.uniform(1.15, 1.3), x=dice.random(), y=dice.random())
    part = to.with_name(f"{to.name}.part")
    try:
        _encode(_frames(source, size, move, count=round(seconds * FPS)), part, size)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _frames(source: Image.Image, size: tuple[int, int], move: _Move, *, count: int) -> Iterator[VideoFrame]:
    """The frames, cut out of planes that were made once: no colours are converted and no RGB is scaled later."""
    whole = tuple(2 * round(side * move.zoom / 2) for side in size)
    large = source.resize((whole[0], whole[1]), Image.Resampling.LANCZOS)
    canvas: VideoFrame = VideoFrame.from_image(large)  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
    canvas = canvas.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
    planes = [
        Image.frombuffer("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in canvas.planes
    ]
    for index in range(count):
        frame = VideoFrame(*size, "yuv420p")
        for plane, still in zip(frame.planes, planes, strict=True):
            seen = still.resize(
                (plane.width, plane.height),
                Image.Resampling.BILINEAR,
                box=move.box(index / max(count - 1, 1), *still.size),
            )
            # A plane's lines may be longer than what is seen of them.
            lined = seen if plane.line_size == plane.width else seen.crop((0, 0, plane.line_size, plane.height))
            plane.update(lined.tobytes())
        frame.pts = index
        yield frame


def _encode(frames: Iterator[VideoFrame], to: Path, size: tuple[int, int]) -> None:
    with av.open(str(to), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = _BT709
        stream.codec_context.color_trc = _BT709
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
