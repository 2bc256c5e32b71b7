"""What becomes of a picture, of the others and of the bot when a decoder goes wrong."""

import asyncio
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from PIL import Image

from bot.domain.errors import PictureRefused
from bot.media.decode_client import DecoderNotStarted, prepare_in_subprocess
from bot.media.first_frame import (
    MAX_INPUT_BYTES,
    PictureProblem,
    PreparedFrame,
    UnusablePicture,
    prepare_first_frame,
)
from tests.media.rogue_decoder import HANGING_NICENESS

PICTURES = Path(__file__).parents[1] / "pictures"
EVERY_PICTURE = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".md")
GOOD = (PICTURES / "moving.gif").read_bytes()
ROGUE = "tests.media.rogue_decoder"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a limit that only Linux keeps")


def decoders() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(part.endswith("decoder") for part in cmdline(child))]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def hanging_decoder() -> psutil.Process:
    """The process of a picture that has it hang, once it does."""
    while not (found := [one for one in decoders() if one.nice() == psutil.Process().nice() + HANGING_NICENESS]):
        await asyncio.sleep(0.01)
    return found[0]


async def refusal(misbehavior: bytes, timeout_s: float = 60, module: str = ROGUE) -> UnusablePicture:
    with pytest.raises(PictureRefused) as refused:
        await prepare_in_subprocess(misbehavior, module=module, timeout_s=timeout_s)
    assert isinstance(refused.value.reason, UnusablePicture)
    return refused.value.reason


async def problem(misbehavior: bytes, timeout_s: float = 60) -> PictureProblem:
    return (await refusal(misbehavior, timeout_s)).problem


@pytest.fixture(autouse=True)
async def no_process_is_left() -> object:
    yield
    assert decoders() == []


def test_every_sample_comes_out_as_it_does_without_a_process_of_its_own() -> None:
    async def all_apart() -> list[PreparedFrame]:
        apart: list[PreparedFrame] = []
        for start in range(0, len(EVERY_PICTURE), 2):
            files = [(PICTURES / name).read_bytes() for name in EVERY_PICTURE[start : start + 2]]
            apart += await asyncio.gather(*map(prepare_in_subprocess, files))
        return apart

    assert asyncio.run(all_apart()) == [
        prepare_first_frame((PICTURES / name).read_bytes()) for name in EVERY_PICTURE
    ]


async def test_a_refusal_arrives_with_its_reason_and_its_numbers() -> None:
    file = BytesIO()
    Image.new("RGB", (100, 120)).save(file, "PNG")
    tiny = UnusablePicture(PictureProblem.TOO_SMALL, size=(100, 120), minimum_size=(180, 216))
    assert await refusal(file.getvalue(), module="bot.media.decode_worker") == tiny


async def test_a_file_over_the_limit_starts_no_process() -> None:
    why = await refusal(bytes(MAX_INPUT_BYTES + 1), module="tests.no_such_decoder")
    assert why == UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=MAX_INPUT_BYTES + 1)


@pytest.mark.parametrize(
    ("misbehavior", "found"),
    [
        (b"spin", PictureProblem.TOO_SLOW),
        (b"crash", PictureProblem.DECODER_CRASHED),
        (b"leave", PictureProblem.DECODER_CRASHED),
        (b"killed", PictureProblem.TOO_MUCH_MEMORY),
        (b"reach out", PictureProblem.NOT_A_PICTURE),
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
async def test_a_decoder_gone_wrong_is_a_refusal_with_its_reason(
    misbehavior: bytes, found: PictureProblem
) -> None:
    assert await problem(misbehavior) is found


@pytest.mark.parametrize("misbehavior", [b"hang", b"stop", b"fork"])
async def test_a_decoder_that_never_answers_is_ended_with_all_it_started(misbehavior: bytes) -> None:
    assert await problem(misbehavior, timeout_s=0.5) is PictureProblem.TOO_SLOW


async def test_a_decoder_that_says_much_on_the_side_is_still_heard() -> None:
    assert await problem(b"chatter") is PictureProblem.NOT_A_PICTURE


@LINUX
async def test_a_picture_that_takes_too_much_memory_is_refused_for_that() -> None:
    file = BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "PNG", compress_level=1)
    assert await problem(file.getvalue()) is PictureProblem.TOO_MUCH_MEMORY


async def test_a_decoder_killed_from_outside_hurts_that_picture_only() -> None:
    hanging = asyncio.create_task(problem(b"hang"))
    os.kill((await hanging_decoder()).pid, signal.SIGKILL)
    others = await asyncio.gather(*(prepare_in_subprocess(GOOD) for _ in range(3)))
    assert await hanging is PictureProblem.TOO_MUCH_MEMORY
    assert {other.frame for other in others} == {prepare_first_frame(GOOD).frame}


async def test_a_cancelled_command_ends_its_decoder() -> None:
    hanging = asyncio.create_task(prepare_in_subprocess(b"hang", module=ROGUE))
    process = await hanging_decoder()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert not alive(process)


async def test_a_decoder_that_can_not_start_is_no_pictures_fault() -> None:
    with pytest.raises(DecoderNotStarted, match="no such library"):
        await prepare_in_subprocess(GOOD, module="tests.media.unready_decoder")


@LINUX
async def test_a_decoder_dies_with_a_bot_that_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from bot.media.decode_client import prepare_in_subprocess\n"
        f"asyncio.run(prepare_in_subprocess(b'hang', module={ROGUE!r}))\n"
    )
    bot = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])  # noqa: S603, ASYNC220
    process = await hanging_decoder()
    bot.kill()
    bot.wait()
    while alive(process):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_of_all_processes_lets_a_decoder_end(number: signal.Signals) -> None:
    hanging = asyncio.create_task(problem(b"hang", timeout_s=1))
    process = await hanging_decoder()
    os.kill(process.pid, number)
    assert await hanging is PictureProblem.TOO_SLOW


async def test_a_decoder_is_told_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a secret")
    hanging = asyncio.create_task(prepare_in_subprocess(b"hang", module=ROGUE))
    process = await hanging_decoder()
    told = process.environ() | dict(enumerate(process.cmdline()))
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert "a secret" not in told.values()


async def test_a_stranger_of_the_same_name_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bot.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert await prepare_in_subprocess(GOOD) == prepare_first_frame(GOOD)
