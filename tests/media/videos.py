"""Makes small videos of many kinds, and says what a player sees of them."""

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from PIL import Image

from bot.media.join_worker import take_last_frame

FPS = 30
WIDTH, HEIGHT = 160, 120
RED, GREEN, BLUE, YELLOW = (208, 32, 32), (32, 160, 32), (32, 64, 208), (240, 208, 32)
UNTAGGED = (0, 2, 2, 2)
NO_LIMIT = 10_000_000

_SAMPLE_RATE = 48_000
_MATRIX_NAMES = {1: "bt709", 5: "bt601", 9: "bt2020"}


@dataclass(frozen=True)
class Look:
    """What a player sees of a video, and how it is coded. colours: range, primaries, transfer, matrix.

    quarters: RGB in the middle of the upper left, upper right, lower left and lower right quarter. times_s: of the
    frames. header_s: the length in the file's header.
    """

    codec: str
    profile: str | None
    pix_fmt: str | None
    size: tuple[int, int]
    pixel_aspect: Fraction
    rotation: int
    colours: tuple[int, int, int, int]
    quarters: tuple[tuple[int, ...], ...]
    times_s: tuple[float, ...]
    end_s: float
    header_s: float
    sound_codec: str | None
    sound_s: float


def quarters_picture() -> Image.Image:
    """Red and green above blue and yellow."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), RED)
    picture.paste(GREEN, (WIDTH // 2, 0, WIDTH, HEIGHT))
    picture.paste(BLUE, (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    picture.paste(YELLOW, (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    return picture


def write_video(  # a keyword for each way in which videos differ
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    form: str | None = None,
    movflags: str = "+faststart",
    options: dict[str, str] | None = None,
    sound: str | None = None,
    pixel_aspect: Fraction | None = None,
    colours: tuple[int, int, int, int] = (1, 1, 1, 1),
    ticks: Sequence[int] = range(FPS),
    rate: int = FPS,
    last_ticks: int = 1,
    changes: Sequence[Callable[[bytearray], None]] = (),
) -> Path:
    """Writes the picture of four quarters, shown at `ticks` of 1/`rate` s. colours: as in Look.

    last_ticks: for how many of them the last picture is shown; more than one need a codec that takes that, and no
    B-frames. changes: what is changed in the file afterwards.
    """
    is_mp4 = form in {None, "mp4", "mov"} and path.suffix != ".webm"
    with av.open(
        str(path), "w", format=form, options={"movflags": movflags} if is_mp4 and movflags else {}
    ) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = colours
        if last_ticks > 1:
            context.flags |= Flags.frame_duration
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect
        samples = out.add_stream(sound, rate=_SAMPLE_RATE, layout="stereo") if sound else None
        assert samples is None or isinstance(samples, AudioStream)
        frames = _converter(pix_fmt, colours, rate)
        for index, tick in enumerate(ticks):
            frame: VideoFrame = VideoFrame.from_image(quarters_picture())  # type: ignore[no-untyped-call]  # PyAV
            frame.pts, frame.time_base = tick, Fraction(1, rate)
            frames.push(frame)
            converted = frames.pull()
            assert isinstance(converted, VideoFrame)
            converted.duration = last_ticks if index == len(ticks) - 1 else 1
            out.mux(stream.encode(converted))
            if samples:
                out.mux(samples.encode(_tone(index, _SAMPLE_RATE // rate)))
        out.mux(stream.encode(None))
        if samples:
            out.mux(samples.encode(None))
    data = bytearray(path.read_bytes())
    for change in changes:
        change(data)
    path.write_bytes(data)
    return path


def turned(a: int, b: int, c: int, d: int) -> Callable[[bytearray], None]:
    """Sets the matrix of the first track: x' = a x + c y, y' = b x + d y."""

    def change(data: bytearray) -> None:
        at = data.index(b"tkhd") + 44
        struct.pack_into(">9i", data, at, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)

    return change


def says_it_lasts(seconds: float) -> Callable[[bytearray], None]:
    """Sets the lengths in all headers, but not the times of the frames."""

    def change(data: bytearray) -> None:
        [movie_scale] = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)
        [media_scale] = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
        struct.pack_into(">I", data, data.index(b"mvhd") + 20, round(seconds * movie_scale))
        struct.pack_into(">I", data, data.index(b"tkhd") + 24, round(seconds * movie_scale))
        struct.pack_into(">I", data, data.index(b"mdhd") + 20, round(seconds * media_scale))
        if b"elst" in data:
            struct.pack_into(">I", data, data.index(b"elst") + 12, round(seconds * movie_scale))

    return change


def movie_header_says_it_lasts(seconds: float) -> Callable[[bytearray], None]:
    """Sets the length in the movie's header only."""

    def change(data: bytearray) -> None:
        at = data.index(b"mvhd")
        [scale] = struct.unpack_from(">I", data, at + 16)
        struct.pack_into(">I", data, at + 20, round(seconds * scale))

    return change


def look(path: Path) -> Look:
    """Decodes the whole video."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = list(container.decode(video))
        header_s = (container.duration or 0) / av.time_base
        context = video.codec_context
        base = video.time_base or Fraction(1)
        times = [float((frame.pts or 0) * base) for frame in frames]
        first = Look(
            codec=context.name,
            profile=context.profile,
            pix_fmt=context.pix_fmt,
            size=(context.width, context.height),
            pixel_aspect=video.sample_aspect_ratio or Fraction(1),
            rotation=frames[0].rotation,
            colours=(context.color_range, context.color_primaries, context.color_trc, context.colorspace),
            quarters=_quarters(frames[len(frames) // 2]),
            times_s=tuple(times),
            end_s=max(time + float(frame.duration * base) for time, frame in zip(times, frames, strict=True)),
            header_s=header_s,
            sound_codec=container.streams.audio[0].codec_context.name if container.streams.audio else None,
            sound_s=0.0,
        )
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return first
        lengths = [frame.samples / frame.sample_rate for frame in container.decode(container.streams.audio[0])]
    return replace(first, sound_s=sum(lengths))


def _quarters(frame: VideoFrame) -> tuple[tuple[int, ...], ...]:
    frame.time_base = Fraction(1, FPS)
    graph = _graph(frame, {"in_range": "auto"}, "rgb24")
    graph.push(frame)
    shown = graph.pull()
    assert isinstance(shown, VideoFrame)
    picture = shown.to_image()  # type: ignore[no-untyped-call]  # PyAV
    width, height = picture.size
    points = [(width // 4, height // 4), (3 * width // 4, height // 4)]
    points += [(x, 3 * height // 4) for x, _ in points]
    return tuple(picture.getpixel(point) for point in points)


def _converter(pix_fmt: str, colours: tuple[int, int, int, int], rate: int) -> av.filter.Graph:
    template = VideoFrame(WIDTH, HEIGHT, "rgb24")
    scale = {"out_range": "full" if colours[0] == 2 else "limited"}
    if colours[3] in _MATRIX_NAMES:
        scale["out_color_matrix"] = _MATRIX_NAMES[colours[3]]
    return _graph(template, scale, pix_fmt, rate)


def _graph(frame: VideoFrame, scale: dict[str, str], pix_fmt: str, rate: int = FPS) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}:time_base=1/{rate}"
    source += f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
    steps = [graph.add("buffer", source), graph.add("scale", **scale), graph.add("format", pix_fmt)]
    graph.link_nodes(*steps, graph.add("buffersink")).configure()
    return graph


def _tone(index: int, count: int) -> av.AudioFrame:
    """The `index`th piece of a tone of 440 Hz."""
    start = index * count
    wave = [int(9000 * math.sin(2 * math.pi * 440 * (start + n) / _SAMPLE_RATE)) for n in range(count)]
    samples = av.AudioFrame("s16", "stereo", count)
    samples.planes[0].update(array("h", [one for value in wave for one in (value, value)]).tobytes())
    samples.sample_rate, samples.pts, samples.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
    return samples


def write_levels(path: Path, levels: Sequence[int], *, rate: int = 30, **options: str) -> Path:
    """A video that gets brighter with each frame. In each B-frames stand before the last one, unless `bf` is 0."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "4", "b-adapt": "0", **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for level in levels:
            frame: VideoFrame = VideoFrame.from_image(Image.new("RGB", (WIDTH, HEIGHT), (level,) * 3))  # type: ignore[no-untyped-call]  # PyAV
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def levels_of(path: Path) -> list[int]:
    """The brightness of each frame, in the order in which they are shown."""
    with av.open(str(path)) as container:
        return [frame.to_image().getpixel((WIDTH // 2, HEIGHT // 2))[1] for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]  # PyAV


def last_frame_of(video: Path) -> Image.Image:
    """What the product takes out of a video for another one to go on from."""
    target = video.with_suffix(".png")
    take_last_frame(video, target, NO_LIMIT)
    return Image.open(BytesIO(target.read_bytes()))


def ends_at(seconds: float) -> Callable[[bytearray], None]:
    """Sets where the edit list of the first track ends."""

    def change(data: bytearray) -> None:
        [movie_scale] = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)
        struct.pack_into(">I", data, data.index(b"elst") + 12, round(seconds * movie_scale))

    return change


def assert_near(got: Sequence[int], wanted: Sequence[int], tolerance: int = 2) -> None:
    assert len(got) == len(wanted)
    assert all(abs(one - other) <= tolerance for one, other in zip(got, wanted, strict=True)), (got, wanted)


def write_red(path: Path, colours: tuple[int, int, int]) -> Path:
    """A red video of 720 lines, encoded as BT.709. colours: the tags of primaries, transfer and matrix."""
    picture = Image.new("RGB", (1280, 720), RED)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = colours
        for _ in range(3):
            frame: VideoFrame = VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        out.mux(stream.encode(None))
    return path
