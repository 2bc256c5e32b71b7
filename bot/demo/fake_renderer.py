"""Renders a real video from one picture, in place of a paid model: the camera slowly zooms in.

It starts on the whole picture, as an image-to-video model starts on its first frame, and ends a little closer, at
a point that depends on the seed. It takes some seconds of CPU time, so run it in another process.
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
"""The code of BT.709 for both primaries and transfer (ITU-T H.273)."""


@dataclass(frozen=True, slots=True)
class _CameraPath:
    """Where the camera ends: its `zoom`, and the position of the crop, from 0 to 1 of the room to move."""

    zoom: float
    x: float
    y: float

    def crop(self, progress: float, width: int, height: int) -> tuple[float, float, float, float]:
        """The box of a picture of that size that is visible at `progress` from 0 to 1."""
        eased = (1 - math.cos(math.pi * progress)) / 2
        scale = 1 / (1 + (self.zoom - 1) * eased)
        left = (1 - scale) * width * self.x
        top = (1 - scale) * height * self.y
        return left, top, left + scale * width, top + scale * height


def video_size(width: int, height: int, resolution: Resolution) -> tuple[int, int]:
    """Width and height of the video, both even: the picture's aspect ratio, about the resolution's pixels."""
    factor = math.sqrt(_PIXELS[resolution] / (width * height))
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def render(picture: bytes, to: Path, *, resolution: Resolution, seed: int, duration_s: float = 5.0) -> None:
    """Writes an H.264 MP4 of `picture` to `to`, which appears only once it is complete.

    Raises: OSError for a picture that can't be read, `av.FFmpegError` for one that can't be encoded.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        source = ImageOps.exif_transpose(opened).convert("RGB")
    size = video_size(*source.size, resolution)
    rng = random.Random(seed)  # noqa: S311 - not for security
    path = _CameraPath(zoom=rng.uniform(1.15, 1.3), x=rng.random(), y=rng.random())
    part = to.with_name(f"{to.name}.part")
    try:
        _encode(_frames(source, size, path, count=round(duration_s * FPS)), part, size)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _frames(source: Image.Image, size: tuple[int, int], path: _CameraPath, *, count: int) -> Iterator[VideoFrame]:
    """The frames, cropped from YUV planes that are converted only once."""
    width, height = (2 * round(side * path.zoom / 2) for side in size)
    enlarged = source.resize((width, height), Image.Resampling.LANCZOS)
    canvas: VideoFrame = VideoFrame.from_image(enlarged)  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
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
        for plane, source_plane in zip(frame.planes, planes, strict=True):
            cropped = source_plane.resize(
                (plane.width, plane.height),
                Image.Resampling.BILINEAR,
                box=path.crop(index / max(count - 1, 1), *source_plane.size),
            )
            if plane.line_size != plane.width:  # the plane's lines are padded
                cropped = cropped.crop((0, 0, plane.line_size, plane.height))
            plane.update(cropped.tobytes())
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
