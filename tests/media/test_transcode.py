import asyncio
import os
import signal
import sys
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import psutil  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from bot.media import transcode
from bot.media.transcode import ExitCode, VideoUnusable, encode_to_limit, main


def encode(video: Path, to: Path, limit_bytes: int) -> Path:
    """Encodes right here: a process for each of these tests would cost seconds."""
    encode_to_limit(video, to, limit_bytes)
    return to


@dataclass(frozen=True)
class Seen:
    """What a player finds in a video."""

    width: int
    height: int
    frames: int
    seconds: float
    codec: str
    pix_fmt: str | None


def noisy(path: Path, width: int = 192, height: int = 144, frames: int = 15, **container: str) -> Path:
    """Half a second (or more) of noise: the largest files that H.264 makes of so few pixels."""
    pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    options = {"live": "1"} if container.get("format") == "matroska" else {}
    with av.open(str(path), "w", format=container.get("format"), options=options) as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for _ in range(frames):
            frame = av.VideoFrame(width, height, "rgb24")
            frame.planes[0].update(os.urandom(frame.planes[0].buffer_size))
            out.mux(stream.encode(frame.reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path


def seen(path: Path) -> Seen:
    """Plays it to its end."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [frame.time for frame in container.decode(stream)]
        last = max(shown)
        return Seen(
            stream.width, stream.height, len(shown), last + 1 / 30, stream.codec_context.name, stream.pix_fmt
        )


def encoders(folder: Path) -> list[int]:
    """The processes that were told of files in the folder."""
    children = psutil.Process().children()
    return [child.pid for child in children if any(str(folder) in part for part in child.cmdline())]


async def encoder(folder: Path) -> int:
    """The process that encodes there, once it does."""
    while not list(folder.glob("fitted*")):  # noqa: ASYNC240 - a look into a folder
        await asyncio.sleep(0.01)
    [pid] = encoders(folder)
    return pid


async def test_a_video_that_fits_stays_untouched(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    before = video.read_bytes()
    assert await transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", len(before)) == video
    assert video.read_bytes() == before
    assert not list(map(str, tmp_path.glob("fitted*")))  # noqa: ASYNC240 - a look into a folder


async def test_a_process_of_its_own_makes_the_video_fit(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    limit_bytes = video.stat().st_size // 2
    fitted = await transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", limit_bytes)
    assert fitted.stat().st_size <= limit_bytes
    assert seen(fitted).frames == 15


async def test_what_the_process_says_is_the_reason(tmp_path: Path) -> None:
    junk(tmp_path / "video.mp4")
    with pytest.raises(VideoUnusable, match="can't be read"):
        await transcode.transcode_to_limit(tmp_path / "video.mp4", tmp_path / "fitted.mp4", 1000)


async def test_a_cancelled_encoding_ends_its_process(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4", 640, 480, frames=200)
    fitting = asyncio.create_task(transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", 1000))
    while not (tmp_path / "fitted.mp4").exists():
        await asyncio.sleep(0.01)
    fitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fitting
    assert encoders(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_of_all_processes_lets_an_encoding_end(tmp_path: Path, number: signal.Signals) -> None:
    video = noisy(tmp_path / "video.mp4", 640, 480, frames=100)
    limit_bytes = video.stat().st_size // 2
    fitting = asyncio.create_task(transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", limit_bytes))
    os.kill(await encoder(tmp_path), number)
    assert (await fitting).stat().st_size <= limit_bytes


async def test_an_encoder_that_was_killed_gives_no_verdict_on_the_video(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4", 640, 480, frames=100)
    fitting = asyncio.create_task(transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", 1000))
    os.kill(await encoder(tmp_path), signal.SIGKILL)
    with pytest.raises(OSError, match="-9"):
        await fitting


async def test_a_stranger_of_the_same_name_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = noisy(tmp_path / "video.mp4")
    (tmp_path / "bot.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    await transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", video.stat().st_size // 2)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nown.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile own.ts\n",
    ],
    ids=["a playlist", "a list of files"],
)
async def test_a_video_that_is_a_list_of_other_files_has_none_of_them_read(tmp_path: Path, text: str) -> None:
    noisy(tmp_path / "own.ts", format="mpegts")
    video = tmp_path / "video.mp4"
    video.write_text(text + "#" * 10_000)
    with pytest.raises(transcode.VideoUnusable, match="can't be read"):
        await transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", 9_000)


@pytest.mark.skipif(sys.platform != "linux", reason="seen in /proc")
async def test_the_encoder_is_confined(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4", 640, 480, frames=200)
    fitting = asyncio.create_task(transcode.transcode_to_limit(video, tmp_path / "fitted.mp4", 1000))
    process = psutil.Process(await encoder(tmp_path))
    limits = {
        kind: process.rlimit(kind)[0] for kind in (psutil.RLIMIT_DATA, psutil.RLIMIT_CPU, psutil.RLIMIT_CORE)
    }
    longest = process.rlimit(psutil.RLIMIT_FSIZE)[0]
    fitting.cancel()
    await asyncio.gather(fitting, return_exceptions=True)
    assert all(0 <= limit < 1 << 40 for limit in limits.values())
    assert longest == 2 * video.stat().st_size


def test_a_full_disk_is_not_the_videos_fault(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    assert main(str(video), "/dev/full", "1000") is ExitCode.DISK_FULL


@pytest.mark.parametrize("share", [0.6, 0.2, 0.03])
def test_a_large_noisy_video_comes_under_the_limit_and_still_plays(tmp_path: Path, share: float) -> None:
    video = noisy(tmp_path / "video.mp4", frames=30)
    limit_bytes = int(video.stat().st_size * share)
    fitted = encode(video, tmp_path / "fitted.mp4", limit_bytes)
    assert fitted == tmp_path / "fitted.mp4"
    assert fitted.stat().st_size <= limit_bytes
    assert (seen(fitted).frames, seen(fitted).codec, seen(fitted).pix_fmt) == (30, "h264", "yuv420p")
    assert seen(fitted).seconds == pytest.approx(1.0, abs=0.04)


def test_the_limit_is_made_use_of(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4", frames=30)
    limit_bytes = video.stat().st_size // 4
    assert encode(video, tmp_path / "fitted.mp4", limit_bytes).stat().st_size > limit_bytes * 0.6


def test_the_source_stays_as_it_is(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    before = video.read_bytes()
    encode(video, tmp_path / "fitted.mp4", len(before) // 2)
    assert video.read_bytes() == before


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (1280, 232), (641, 361)])
def test_few_bits_make_it_smaller_in_the_same_shape(tmp_path: Path, width: int, height: int) -> None:
    video = noisy(tmp_path / "video.mkv", width, height)
    fitted = seen(encode(video, tmp_path / "fitted.mp4", 9_000))
    assert fitted.width < width
    assert fitted.width % 2 == fitted.height % 2 == 0
    assert fitted.width / fitted.height == pytest.approx(width / height, rel=0.05)


def test_where_the_bits_suffice_the_size_stays(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    fitted = seen(encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2))
    assert (fitted.width, fitted.height) == (192, 144)


def test_odd_sides_become_even_ones(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mkv", 321, 181)
    fitted = seen(encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2))
    assert (fitted.width, fitted.height) == (320, 180)


@pytest.mark.parametrize(("name", "form"), [("live.mkv", "matroska"), ("bare.h264", "h264")])
def test_a_video_that_does_not_say_how_long_it_is_keeps_its_length(tmp_path: Path, name: str, form: str) -> None:
    video = noisy(tmp_path / name, frames=30, format=form)
    with av.open(str(video)) as container:
        assert container.duration is None
    limit_bytes = video.stat().st_size // 4
    fitted = encode(video, tmp_path / "fitted.mp4", limit_bytes)
    assert limit_bytes * 0.6 < fitted.stat().st_size <= limit_bytes
    assert seen(fitted).frames == 30
    assert seen(fitted).seconds == pytest.approx(1.0, abs=0.04)


def test_a_fitted_video_starts_to_play_before_it_is_there_whole(tmp_path: Path) -> None:
    video = noisy(tmp_path / "video.mp4")
    data = encode(video, tmp_path / "fitted.mp4", video.stat().st_size // 2).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_frame_rate_of_fractions_is_kept(tmp_path: Path) -> None:
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


def test_a_limit_that_nothing_fits_is_said_to_be_too_small(tmp_path: Path) -> None:
    with pytest.raises(VideoUnusable, match="can't be made to fit 1000 bytes"):
        encode(noisy(tmp_path / "video.mp4"), tmp_path / "fitted.mp4", 1000)


def junk(path: Path) -> None:
    path.write_bytes(b"<html>" + bytes(5000))


def cut_off(path: Path) -> None:
    data = noisy(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def rotten(path: Path) -> None:
    data = bytearray(noisy(path).read_bytes())
    start = data.index(b"mdat") + 1000
    data[start : start + 50_000] = bytes(50_000)
    path.write_bytes(data)


def only_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))


@pytest.mark.parametrize("broken", [junk, cut_off, rotten, only_sound])
def test_a_file_that_is_no_whole_video_is_unfit(tmp_path: Path, broken: object) -> None:
    assert callable(broken)
    broken(tmp_path / "video.mp4")
    with pytest.raises(VideoUnusable, match="can't be read"):
        encode(tmp_path / "video.mp4", tmp_path / "fitted.mp4", 1000)
