"""A misbehaving decoder affects neither other pictures nor the bot."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest
from PIL import Image

from bot.domain.models import PictureLimits
from bot.media.decode_client import DecodeClient, DecoderNotStarted
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import MAX_INPUT_BYTES, PreparedFrame
from tests.media.decoders import (
    GOOD_PICTURE,
    PICTURES,
    ROGUE_DECODER,
    cancel,
    hanging_decoder,
    hanging_decoders,
    is_alive,
    linux_only,
    refusal,
)

EVERY_PICTURE = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".md")
pytestmark = pytest.mark.usefixtures("no_decoder_outlives_a_test")


async def problem(misbehavior: bytes, timeout_s: float = 60) -> PictureProblem:
    async with DecodeClient(ROGUE_DECODER, timeout_s=timeout_s) as client:
        return (await refusal(client, misbehavior)).problem


@pytest.fixture
async def client() -> AsyncIterator[DecodeClient]:
    async with DecodeClient() as client:
        yield client


@pytest.mark.full
def test_a_subprocess_prepares_every_sample_as_a_direct_call_does() -> None:
    async def prepare_all() -> list[PreparedFrame]:
        prepared: list[PreparedFrame] = []
        async with DecodeClient() as client:
            for start in range(0, len(EVERY_PICTURE), 2):
                files = [(PICTURES / name).read_bytes() for name in EVERY_PICTURE[start : start + 2]]
                prepared += await asyncio.gather(*map(client.prepare, files))
        return prepared

    assert asyncio.run(prepare_all()) == [
        prepare_first_frame((PICTURES / name).read_bytes()) for name in EVERY_PICTURE
    ]


async def test_a_refusal_keeps_its_problem_and_sizes(client: DecodeClient) -> None:
    file = BytesIO()
    Image.new("RGB", (100, 120)).save(file, "PNG")
    tiny = UnusablePicture(PictureProblem.TOO_SMALL, size=(100, 120), minimum_size=(180, 216))
    assert await refusal(client, file.getvalue()) == tiny


async def test_a_file_over_the_limit_starts_no_process() -> None:
    reason = await refusal(DecodeClient("tests.no_such_decoder"), bytes(MAX_INPUT_BYTES + 1))
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_killing_a_decoder_affects_only_its_picture(rogue: DecodeClient, number: signal.Signals) -> None:
    others = asyncio.gather(*(rogue.prepare(GOOD_PICTURE) for _ in range(3)))
    preparing = asyncio.create_task(refusal(rogue, b"hang"))
    os.kill((await hanging_decoder()).pid, number)
    await preparing
    later = await rogue.prepare(GOOD_PICTURE)
    assert {prepared.frame for prepared in (*await others, later)} == {prepare_first_frame(GOOD_PICTURE).frame}


@linux_only
async def test_a_decoder_has_no_socket_of_another_picture(rogue: DecodeClient) -> None:
    hanging = asyncio.gather(*(rogue.prepare(b"hang") for _ in range(2)))
    assert [process.num_fds() for process in await hanging_decoders(2)] == [3, 3]
    await cancel(hanging)


async def test_cancelling_kills_the_decoder(rogue: DecodeClient) -> None:
    preparing = asyncio.create_task(rogue.prepare(b"hang"))
    process = await hanging_decoder()
    await cancel(preparing)
    assert not is_alive(process)


async def test_cancelling_again_still_waits_until_the_decoder_is_gone(rogue: DecodeClient) -> None:
    preparing = asyncio.create_task(rogue.prepare(b"hang"))
    decoder = await hanging_decoder()
    server = decoder.parent()
    server.suspend()
    for _ in range(5):
        preparing.cancel()
        await asyncio.wait({preparing}, timeout=0)
    assert not preparing.done()
    server.resume()
    await cancel(preparing)
    assert not psutil.pid_exists(decoder.pid)


async def test_a_decoder_that_cannot_start_does_not_blame_the_picture() -> None:
    async with DecodeClient("tests.media.unready_decoder") as client:
        with pytest.raises(DecoderNotStarted, match="no such library"):
            await client.prepare(GOOD_PICTURE)


@linux_only
async def test_a_decoder_dies_when_the_bot_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from bot.media.decode_client import DecodeClient\n"
        "async def main():\n"
        f"    await DecodeClient({ROGUE_DECODER!r}).prepare(b'hang')\n"
        "asyncio.run(main())\n"
    )
    bot = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])  # noqa: S603, ASYNC220
    process = await hanging_decoder()
    server = process.parent()
    bot.kill()
    bot.wait()
    while is_alive(process) or is_alive(server):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
async def test_a_decoder_ignores_signals_that_stop_the_bot(signal_number: signal.Signals) -> None:
    preparing = asyncio.create_task(problem(b"hang", timeout_s=1))
    process = await hanging_decoder()
    os.kill(process.ppid(), signal_number)
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
    client: DecodeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bot.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert await client.prepare(GOOD_PICTURE) == prepare_first_frame(GOOD_PICTURE)


async def test_the_limits_of_a_model_reach_the_decoder() -> None:
    async with DecodeClient() as client:
        prepared = await client.prepare(GOOD_PICTURE, PictureLimits(side_min_px=600, side_max_px=3000))

    assert min(prepared.width, prepared.height) == 600
