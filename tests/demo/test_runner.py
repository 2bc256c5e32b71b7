import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bot.__main__ import main
from bot.demo import runner
from bot.domain.errors import ZoetropeError
from tests.isolation import isolated_logging

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a picture in it."""
    Image.new("RGB", (640, 480), "teal").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    with isolated_logging():
        yield tmp_path


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def files(working_directory: Path) -> list[str]:
    return sorted(path.name for path in working_directory.iterdir())


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of the error."""
    assert main(["demo", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_requested_port_that_is_taken_is_reported_in_one_line(
    busy_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_line(capsys, "--port", str(busy_port)) == (
        f"zoetrope: Port {busy_port} can't be used for the page: Address already in use. "
        "Choose another with --port, or leave it out."
    )


async def test_if_the_default_port_is_taken_a_free_one_is_used(
    busy_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = asyncio.create_task(runner.in_browser(port=busy_port, or_free=True))
    said = ""
    async with asyncio.timeout(WITHIN_S):
        while "http://" not in said and not demo.done():
            await asyncio.sleep(0.02)
            said += capsys.readouterr().out
    demo.cancel()
    await asyncio.gather(demo, return_exceptions=True)
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
    assert found is not None
    assert int(found[1]) != busy_port


@pytest.mark.parametrize("prompt", ["", " \u200d "])
def test_an_empty_prompt_is_refused_with_the_bots_message(prompt: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "--image", "photo.jpg", f"--prompt={prompt}")
    assert line.startswith("zoetrope: Your prompt is empty.")


def test_a_prompt_that_is_too_long_is_refused_with_the_bots_message(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "--image", "photo.jpg", "--prompt", "x" * 801)
    assert line.startswith("zoetrope: Your prompt is 801 characters long, but the model reads at most 800.")


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (".", "is a folder"),
        ("missing/video.mp4", "No such file or directory"),
        ("photo.jpg/video.mp4", "Not a directory"),
        (f"{'x' * 300}.mp4", "File name too long"),
    ],
)
def test_an_unwritable_output_is_reported_before_any_work(
    out: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_line(capsys, "--image", "photo.jpg", "--out", out)  # one line: no progress bar was there
    assert line.startswith(f"zoetrope: {out} ")
    assert said in line


def test_a_missing_picture_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "--image", "missing.jpg")
    assert line == "zoetrope: missing.jpg can't be read: No such file or directory"


async def test_a_video_that_takes_too_long_is_reported_and_nothing_is_written(working_directory: Path) -> None:
    with pytest.raises(ZoetropeError, match=r"^The video wasn't finished within 0 s\."):
        await runner.on_command_line(
            Path("photo.jpg"), "waves", Path("video.mp4"), resolution="480P", timeout_s=0.01
        )
    assert files(working_directory) == ["photo.jpg"]


async def test_a_video_is_written_and_replaces_an_earlier_one(
    working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_directory / "video.mp4").write_bytes(b"an earlier video")
    code = await runner.on_command_line(Path("photo.jpg"), "waves", Path("video.mp4"), resolution="480P")
    assert code == 0
    video = (working_directory / "video.mp4").read_bytes()
    assert video[4:8] == b"ftyp"
    assert files(working_directory) == ["photo.jpg", "video.mp4"]
    assert re.search(r"^video\.mp4: [1-9][\d.]* [kM]B$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "waves"], "--prompt needs --image"),
        (["--prompt", ""], "--prompt needs --image"),
        (["--resolution", "480P"], "--resolution needs --image"),
        (["--out", "video.mp4"], "--out needs --image"),
        (["--image", "photo.jpg", "--port", "0"], "--port is for the demo in the browser"),
    ],
)
def test_an_option_without_effect_is_wrong_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize(
    "seen", ["zoetrope-demo-*", pytest.param("zoetrope-demo-*/upstream/*.part", marks=pytest.mark.full)]
)
async def test_a_ctrl_c_leaves_nothing_behind(working_directory: Path, seen: str) -> None:
    """Early, while its processes start, and in the middle of making the video."""
    (working_directory / "tmp").mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", "--image", "photo.jpg", stdout=PIPE, stderr=PIPE,
        start_new_session=True,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(working_directory / "tmp")},
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            while not list((working_directory / "tmp").glob(seen)):
                await asyncio.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes get it
            # To the end of its output: a process that it left behind would keep that open.
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 130
    assert err.endswith(b"zoetrope: stopped.\n")
    assert b"Traceback" not in err
    assert not list((working_directory / "tmp").iterdir())
    assert not (working_directory / "zoetrope.mp4").exists()
