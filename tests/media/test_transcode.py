import asyncio
import os
import signal
import sys
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from bot.media import transcode
from bot.media.transcode import ExitCode, VideoUnusable
from bot.media.transcode_worker import convert, main


def encode(video: Path, to: Path, limit_bytes: int) -> Path:
    """Encodes in this process: a subprocess for each of these tests would take seconds."""
    convert(video, to, limit_bytes)
    return to


@dataclass(frozen=True)
class VideoInfo:
    """What a player sees of a video."""

    width: int
    height: int
    frames: int
    seconds: float
    codec: str
    pix_fmt: str | None


def write_noise(path: Path, width: int = 192, height: int = 144, frames: int = 15, **container: str) -> Path:
    """Half a second (or more) of noise: the largest files that H.264 makes of so few pixels."""
    pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    by_format = {"matroska": {"live": "1"}, None: {"movflags": "+faststart"} if path.suffix == ".mp4" else {}}
    options = by_format.get(container.get("format"), {})
    with av.open(str(path), "w", format=container.get("format"), options=options) as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for _ in range(frames):
            frame = av.VideoFrame(width, height, "rgb24")
            frame.planes[0].update(os.urandom(frame.planes[0].buffer_size))
            out.mux(stream.encode(frame.reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path


def probe(path: Path) -> VideoInfo:
    """Decodes the whole video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [frame.time for frame in container.decode(stream)]
        last = max(shown)
        return VideoInfo(
            stream.width, stream.height, len(shown), last + 1 / 30, stream.codec_context.name, stream.pix_fmt
        )


def encoder_pids(folder: Path) -> list[int]:
    """Child processes with a file of the folder in their command line."""
    children = psutil.Process().children()
    return [child.pid for child in children if any(str(folder) in part for part in child.cmdline())]


async def wait_for_encoder(folder: Path) -> int:
    """Waits until a process encodes in the folder; returns its id."""
    while not list(folder.glob("fitted*")):  # noqa: ASYNC240 - one directory
        await asyncio.sleep(0.01)
    [pid] = encoder_pids(folder)
    return pid


async def test_a_video_within_the_limit_is_not_changed(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    before = video.read_bytes()
    assert await transcode.make_postable(video, tmp_path / "fitted.mp4", len(before)) == video
    assert video.read_bytes() == before
    assert not list(map(str, tmp_path.glob("fitted*")))  # noqa: ASYNC240 - one directory


async def test_only_what_is_transcoded_waits_for_a_slot(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    size_bytes, target = video.stat().st_size, tmp_path / "fitted.mp4"
    slots = asyncio.Semaphore(0)

    assert await transcode.make_postable(video, target, size_bytes, slots=slots) == video
    transcoding = asyncio.create_task(transcode.make_postable(video, target, size_bytes // 2, slots=slots))
    while not slots.locked() or not slots._waiters:
        await asyncio.sleep(0)
    assert not target.exists()
    slots.release()
    assert await transcoding == target


async def test_a_subprocess_transcodes_a_video_to_the_limit(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    limit_bytes = video.stat().st_size // 2
    fitted = await transcode.make_postable(video, tmp_path / "fitted.mp4", limit_bytes)
    assert fitted.stat().st_size <= limit_bytes
    assert probe(fitted).frames == 15


async def test_the_error_carries_the_message_of_the_subprocess(tmp_path: Path) -> None:
    write_html(tmp_path / "video.mp4")
    with pytest.raises(VideoUnusable, match="can't be read"):
        await transcode.make_postable(tmp_path / "video.mp4", tmp_path / "fitted.mp4", 1000)


async def test_cancelling_kills_the_encoder(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4", 320, 240, frames=200)
    transcoding = asyncio.create_task(transcode.make_postable(video, tmp_path / "fitted.mp4", 1000))
    while not (tmp_path / "fitted.mp4").exists():
        await asyncio.sleep(0.01)
    transcoding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await transcoding
    assert encoder_pids(tmp_path) == []


async def test_an_encoder_that_outlives_its_time_is_killed(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    with pytest.raises(TimeoutError):  # an OSError, as the delivery expects
        await transcode.make_postable(video, tmp_path / "fitted.mp4", 1000, timeout_s=0)
    assert encoder_pids(tmp_path) == []


@pytest.mark.full
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
async def test_an_encoder_ignores_signals_that_stop_the_bot(tmp_path: Path, signal_number: signal.Signals) -> None:
    video = write_noise(tmp_path / "video.mp4", 320, 240, frames=60)
    limit_bytes = video.stat().st_size // 2
    transcoding = asyncio.create_task(transcode.make_postable(video, tmp_path / "fitted.mp4", limit_bytes))
    os.kill(await wait_for_encoder(tmp_path), signal_number)
    assert (await transcoding).stat().st_size <= limit_bytes


async def test_killing_the_encoder_does_not_make_the_video_unusable(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4", 320, 240, frames=60)
    transcoding = asyncio.create_task(transcode.make_postable(video, tmp_path / "fitted.mp4", 1000))
    os.kill(await wait_for_encoder(tmp_path), signal.SIGKILL)
    with pytest.raises(OSError, match="-9"):
        await transcoding


async def test_a_bot_module_in_the_working_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_noise(tmp_path / "video.mp4")
    (tmp_path / "bot.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    await transcode.make_postable(video, tmp_path / "fitted.mp4", video.stat().st_size // 2)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nown.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile own.ts\n",
    ],
    ids=["a playlist", "a concat list"],
)
async def test_the_files_that_a_playlist_names_are_not_read(tmp_path: Path, text: str) -> None:
    write_noise(tmp_path / "own.ts", format="mpegts")
    video = tmp_path / "video.mp4"
    video.write_text(text + "#" * 10_000)
    with pytest.raises(transcode.VideoUnusable, match="can't be read"):
        await transcode.make_postable(video, tmp_path / "fitted.mp4", 9_000)


@pytest.mark.skipif(sys.platform != "linux", reason="reads limits from /proc")
async def test_the_encoder_has_resource_limits(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4", 320, 240, frames=200)
    transcoding = asyncio.create_task(transcode.make_postable(video, tmp_path / "fitted.mp4", 1000))
    process = psutil.Process(await wait_for_encoder(tmp_path))
    limits = {
        kind: process.rlimit(kind)[0] for kind in (psutil.RLIMIT_DATA, psutil.RLIMIT_CPU, psutil.RLIMIT_CORE)
    }
    max_file_bytes = process.rlimit(psutil.RLIMIT_FSIZE)[0]
    transcoding.cancel()
    await asyncio.gather(transcoding, return_exceptions=True)
    assert all(0 <= limit < 1 << 40 for limit in limits.values())
    assert max_file_bytes == 2 * video.stat().st_size


def test_a_full_disk_does_not_make_the_video_unusable(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    assert main(str(video), "/dev/full", "1000") is ExitCode.DISK_FULL


@pytest.mark.parametrize("share", [0.6, 0.2, 0.03])
def test_a_transcoded_video_is_within_the_limit_and_plays_in_full(tmp_path: Path, share: float) -> None:
    video = write_noise(tmp_path / "video.mp4", frames=30)
    limit_bytes = int(video.stat().st_size * share)
    fitted = encode(video, tmp_path / "fitted.mp4", limit_bytes)
    assert fitted == tmp_path / "fitted.mp4"
    assert fitted.stat().st_size <= limit_bytes
    assert (probe(fitted).frames, probe(fitted).codec, probe(fitted).pix_fmt) == (30, "h264", "yuv420p")
    assert probe(fitted).seconds == pytest.approx(1.0, abs=0.04)


def test_most_of_the_limit_is_used(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4", frames=30)
    limit_bytes = video.stat().st_size // 4
    assert encode(video, tmp_path / "fitted.mp4", limit_bytes).stat().st_size > limit_bytes * 0.6


def test_the_source_is_not_changed(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    before = video.read_bytes()
    encode(video, tmp_path / "fitted.mp4", len(before) // 2)
    assert video.read_bytes() == before


@pytest.mark.full
@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (1280, 232), (641, 361)])
def test_a_low_bit_rate_scales_down_with_the_same_aspect_ratio(tmp_path: Path, width: int, height: int) -> None:
    video = write_noise(tmp_path / "video.mkv", width, height)
    fitted = probe(encode(video, tmp_path / "fitted.mp4", 9_000))
    assert fitted.width < width
    assert fitted.width % 2 == fitted.height % 2 == 0
    assert fitted.width / fitted.height == pytest.approx(width / height, rel=0.05)


def test_a_sufficient_bit_rate_keeps_the_size(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    fitted = probe(encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2))
    assert (fitted.width, fitted.height) == (192, 144)


def test_odd_sides_become_even(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mkv", 321, 181)
    fitted = probe(encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2))
    assert (fitted.width, fitted.height) == (320, 180)


@pytest.mark.parametrize(("name", "form"), [("live.mkv", "matroska"), ("bare.h264", "h264")])
def test_a_video_without_a_duration_in_its_header_keeps_its_length(tmp_path: Path, name: str, form: str) -> None:
    video = write_noise(tmp_path / name, frames=30, format=form)
    with av.open(str(video)) as container:
        assert container.duration is None
    limit_bytes = video.stat().st_size // 4
    fitted = encode(video, tmp_path / "fitted.mp4", limit_bytes)
    assert limit_bytes * 0.6 < fitted.stat().st_size <= limit_bytes
    assert probe(fitted).frames == 30
    assert probe(fitted).seconds == pytest.approx(1.0, abs=0.04)


def test_a_format_whose_streams_are_found_late_is_read(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.flv", format="flv")
    limit_bytes = video.stat().st_size // 2
    fitted = encode(video, tmp_path / "fitted.mp4", limit_bytes)
    assert fitted.stat().st_size <= limit_bytes
    assert probe(fitted).frames == 15


def test_a_transcoded_video_can_play_while_it_downloads(tmp_path: Path) -> None:
    video = write_noise(tmp_path / "video.mp4")
    data = encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_fractional_frame_rate_is_kept(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    rate = Fraction(30_000, 1001)
    with av.open(str(video), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame(160, 120, "rgb24")
            frame.planes[0].update(os.urandom(frame.planes[0].buffer_size))
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    with av.open(str(encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2))) as fitted:
        assert fitted.streams.video[0].average_rate == rate


def test_a_limit_that_is_too_small_makes_the_video_unusable(tmp_path: Path) -> None:
    with pytest.raises(VideoUnusable, match="can't be made to fit 1000 bytes"):
        encode(write_noise(tmp_path / "video.mp4"), tmp_path / "fitted.mp4", 1000)


def write_html(path: Path) -> None:
    path.write_bytes(b"<html>" + bytes(5000))


def write_truncated(path: Path) -> None:
    data = write_noise(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def write_corrupted(path: Path) -> None:
    data = bytearray(write_noise(path).read_bytes())
    start = data.index(b"mdat") + 1000
    data[start : start + 50_000] = bytes(50_000)
    path.write_bytes(data)


def write_audio(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))


@pytest.mark.parametrize("write_broken", [write_html, write_truncated, write_corrupted, write_audio])
def test_a_broken_video_is_unusable(tmp_path: Path, write_broken: object) -> None:
    assert callable(write_broken)
    write_broken(tmp_path / "video.mp4")
    with pytest.raises(VideoUnusable, match="can't be read"):
        encode(tmp_path / "video.mp4", tmp_path / "fitted.mp4", 1000)
