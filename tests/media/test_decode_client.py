"""A misbehaving decoder affects neither other pictures nor the bot."""

import asyncio
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest
from PIL import Image

from bot.domain.errors import PictureRefused
from bot.media.decode_client import DecoderNotStarted, prepare_in_subprocess
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import MAX_INPUT_BYTES, PreparedFrame
from tests.media.rogue_decoder import HANGING_THREADS

PICTURES = Path(__file__).parents[1] / "pictures"
EVERY_PICTURE = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".md")
GOOD_PICTURE = (PICTURES / "moving.gif").read_bytes()
ROGUE_DECODER = "tests.media.rogue_decoder"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces it")


def decoders() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(part.endswith("decoder") for part in cmdline(child))]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def hanging_decoder() -> psutil.Process:
    """Waits for a decoder that hangs."""
    while not (hanging := [process for process in decoders() if process.num_threads() == HANGING_THREADS]):
        await asyncio.sleep(0.01)
    return hanging[0]


async def refusal(misbehavior: bytes, timeout_s: float = 60, module: str = ROGUE_DECODER) -> UnusablePicture:
    with pytest.raises(PictureRefused) as refused:
        await prepare_in_subprocess(misbehavior, module=module, timeout_s=timeout_s)
    assert isinstance(refused.value.reason, UnusablePicture)
    return refused.value.reason


async def problem(misbehavior: bytes, timeout_s: float = 60) -> PictureProblem:
    return (await refusal(misbehavior, timeout_s)).problem


@pytest.fixture(autouse=True)
async def no_decoder_outlives_a_test() -> object:
    yield
    assert decoders() == []


@pytest.mark.full
def test_a_subprocess_prepares_every_sample_as_a_direct_call_does() -> None:
    async def prepare_all() -> list[PreparedFrame]:
        prepared: list[PreparedFrame] = []
        for start in range(0, len(EVERY_PICTURE), 2):
            files = [(PICTURES / name).read_bytes() for name in EVERY_PICTURE[start : start + 2]]
            prepared += await asyncio.gather(*map(prepare_in_subprocess, files))
        return prepared

    assert asyncio.run(prepare_all()) == [
        prepare_first_frame((PICTURES / name).read_bytes()) for name in EVERY_PICTURE
    ]


async def test_a_refusal_keeps_its_problem_and_sizes() -> None:
    file = BytesIO()
    Image.new("RGB", (100, 120)).save(file, "PNG")
    tiny = UnusablePicture(PictureProblem.TOO_SMALL, size=(100, 120), minimum_size=(180, 216))
    assert await refusal(file.getvalue(), module="bot.media.decode_worker") == tiny


async def test_a_file_over_the_limit_starts_no_process() -> None:
    reason = await refusal(bytes(MAX_INPUT_BYTES + 1), module="tests.no_such_decoder")
    assert reason == UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=MAX_INPUT_BYTES + 1)


@pytest.mark.parametrize(
    ("misbehavior", "expected"),
    [
        (b"busy loop", PictureProblem.TOO_SLOW),
        (b"crash", PictureProblem.DECODER_CRASHED),
        (b"leave", PictureProblem.DECODER_CRASHED),
        (b"killed", PictureProblem.TOO_MUCH_MEMORY),
        (b"open a file", PictureProblem.NOT_A_PICTURE),
        (b"flood", PictureProblem.DECODER_CRASHED),
        (b"half", PictureProblem.DECODER_CRASHED),
        (b"huge frame", PictureProblem.DECODER_CRASHED),
        (b"unknown kind", PictureProblem.DECODER_CRASHED),
        (b"unknown reason", PictureProblem.DECODER_CRASHED),
        (b"unknown change", PictureProblem.DECODER_CRASHED),
        (b"impossible picture", PictureProblem.DECODER_CRASHED),
        (b"too large", PictureProblem.DECODER_CRASHED),
        (b"too small", PictureProblem.DECODER_CRASHED),
        (b"no frame", PictureProblem.DECODER_CRASHED),
        (b"", PictureProblem.NOT_A_PICTURE),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
async def test_a_misbehaving_decoder_ends_in_a_refusal(misbehavior: bytes, expected: PictureProblem) -> None:
    assert await problem(misbehavior) is expected


@pytest.mark.parametrize("misbehavior", [b"hang", b"stop", b"fork"])
async def test_a_decoder_that_never_responds_is_killed_with_its_children(misbehavior: bytes) -> None:
    assert await problem(misbehavior, timeout_s=0.5) is PictureProblem.TOO_SLOW


async def test_a_decoder_that_writes_much_to_standard_error_can_still_respond() -> None:
    assert await problem(b"log much") is PictureProblem.NOT_A_PICTURE


@linux_only
async def test_a_picture_that_takes_too_much_memory_is_refused() -> None:
    file = BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "PNG", compress_level=1)
    assert await problem(file.getvalue()) is PictureProblem.TOO_MUCH_MEMORY


async def test_killing_a_decoder_affects_only_its_picture() -> None:
    preparing = asyncio.create_task(problem(b"hang"))
    os.kill((await hanging_decoder()).pid, signal.SIGKILL)
    others = await asyncio.gather(*(prepare_in_subprocess(GOOD_PICTURE) for _ in range(3)))
    assert await preparing is PictureProblem.TOO_MUCH_MEMORY
    assert {other.frame for other in others} == {prepare_first_frame(GOOD_PICTURE).frame}


async def test_cancelling_kills_the_decoder() -> None:
    preparing = asyncio.create_task(prepare_in_subprocess(b"hang", module=ROGUE_DECODER))
    process = await hanging_decoder()
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert not is_alive(process)


async def test_a_decoder_that_cannot_start_does_not_blame_the_picture() -> None:
    with pytest.raises(DecoderNotStarted, match="no such library"):
        await prepare_in_subprocess(GOOD_PICTURE, module="tests.media.unready_decoder")


@linux_only
async def test_a_decoder_dies_when_the_bot_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from bot.media.decode_client import prepare_in_subprocess\n"
        f"asyncio.run(prepare_in_subprocess(b'hang', module={ROGUE_DECODER!r}))\n"
    )
    bot = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])  # noqa: S603, ASYNC220
    process = await hanging_decoder()
    bot.kill()
    bot.wait()
    while is_alive(process):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
async def test_a_decoder_ignores_signals_that_stop_the_bot(signal_number: signal.Signals) -> None:
    preparing = asyncio.create_task(problem(b"hang", timeout_s=1))
    process = await hanging_decoder()
    os.kill(process.pid, signal_number)
    assert await preparing is PictureProblem.TOO_SLOW


async def test_a_decoder_gets_no_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a secret")
    assert await problem(b"tell the environment") is PictureProblem.DECODER_CRASHED
    assert "'PATH'" in caplog.text
    assert "a secret" not in caplog.text


async def test_a_bot_module_in_the_working_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bot.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert await prepare_in_subprocess(GOOD_PICTURE) == prepare_first_frame(GOOD_PICTURE)
