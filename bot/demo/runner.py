"""Puts the demo together: the real bot on embedded defaults, with nothing outside of this machine.

The same cogs, service, worker, store and upstream client over HTTP as in production; only the addresses
differ: the gateway is a local one that really makes a video, and Discord is an offline one.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bot.app import App, open_app, signalled
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.reason_texts import text_of_error
from bot.chat.transport.client import ZoetropeBot
from bot.demo.gateway import LocalGateway
from bot.demo.offline_discord import OfflineDiscord, PostedVideo
from bot.demo.page import Page
from bot.domain.errors import OrderRefused, ZoetropeError
from bot.domain.jobs import ENDED, Job, JobState, Order
from bot.domain.orders import check_order
from bot.operations import logs
from bot.settings import GivenSettings

_TOKEN, _KEY = "demo-token-of-no-value", "demo-key-of-no-value"
_VIDEO_WITHIN_S = 120.0
_LOOK_S = 0.2

_STAGES = {
    JobState.QUEUED: (0.05, "queued"),
    JobState.SUBMITTING: (0.1, "handing it in"),
    JobState.RUNNING: (0.15, "in the making"),
    JobState.DELIVERING: (0.9, "posting it"),
    JobState.DELIVERED: (1.0, "done"),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo, running: the bot's machine and the Discord it lives in."""

    app: App
    discord: OfflineDiscord


@asynccontextmanager
async def running() -> AsyncIterator[Stage]:
    """The whole bot with its worker, in a temporary folder that goes with it."""
    bot = ZoetropeBot()
    with TemporaryDirectory(prefix="zoetrope-demo-") as name:
        folder = Path(name)
        async with LocalGateway(api_key=_KEY, folder=folder / "upstream") as gateway:
            settings = GivenSettings(
                discord_token=SecretStr(_TOKEN),
                vtrix_api_key=SecretStr(_KEY),
                vtrix_base_url=gateway.url,
                database_url=f"sqlite:///{folder / 'demo.db'}",
                poll_min_seconds=0.5,
                poll_max_seconds=2,
                quota_videos_per_day=20,
                server_budget_usd_per_day=None,
                server_budget_usd_per_month=None,
            )
            async with open_app(settings, bot) as app, OfflineDiscord(bot, manages=True) as discord:
                # Started here, not by the bot: the offline Discord waits for what the bot itself starts.
                worker = asyncio.create_task(app.worker.run())
                try:
                    yield Stage(app, discord)
                finally:
                    await app.worker.stop(grace_s=5)
                    await worker


async def in_browser(*, port: int, or_free: bool) -> int:
    """Serves the page until it is interrupted; an exit code.

    or_free: where `port` is taken, take a free one. Raises: ZoetropeError, with a line for the one who called.
    """
    logs.set_up("WARNING")
    async with running() as stage, Page(stage.discord, port=port, or_free=or_free) as page:
        _say(
            "\nThe bot runs, with an offline Discord around it. Open this in a browser:\n\n"
            f"    {page.url}\n\n"
            "Type /animate there, choose a picture, write a prompt, send. Ctrl-C ends the demo."
        )
        await signalled()
    return 0


async def on_command_line(
    image: Path, prompt: str, out: Path, *, resolution: str, within_s: float = _VIDEO_WITHIN_S
) -> int:
    """Makes one video without a browser and writes it to `out`; an exit code.

    Raises: ZoetropeError, with a line for the one who called.
    """
    logs.set_up("ERROR")
    # All that may be wrong with the call comes before the work. Discord itself would refuse some prompts, too,
    # in words of its own.
    try:
        order = check_order(prompt=prompt, resolution=resolution)
    except OrderRefused as refused:
        raise ZoetropeError(text_of_error(refused)) from refused
    picture = _read(image)
    _check_place(out)
    try:
        answer, video = await _made(picture, image.name, order, within_s)
    except TimeoutError as error:
        raise ZoetropeError(
            f"The video was not finished within {within_s:.0f} s. Try again when this machine has less to do."
        ) from error
    _write(out, video.data)
    # The answer's first line is about the channel; what follows is about the picture.
    _say("\n".join([*answer.splitlines()[1:], f"{out}: {len(video.data) / 1_000_000:.1f} MB"]))
    return 0


async def _made(picture: bytes, name: str, order: Order, within_s: float) -> tuple[str, PostedVideo]:
    """The bot's answer and the video. Raises: ZoetropeError, TimeoutError."""
    with _bar() as bar:
        shown = bar.add_task("starting", total=1.0)
        async with running() as stage:
            answer = await stage.discord.animate(picture, name, order.prompt, resolution=order.resolution)
            job = await _latest(stage)
            if job is None:  # refused: the answer says why
                raise ZoetropeError(answer or "the bot gave no answer")
            async with asyncio.timeout(within_s):
                while job.state not in ENDED:
                    share, said = _STAGES[job.state]
                    bar.update(shown, completed=max(share, 0.15 + 0.7 * (job.progress or 0)), description=said)
                    await asyncio.sleep(_LOOK_S)
                    job = await _latest(stage) or job
            if job.state is not JobState.DELIVERED:
                raise ZoetropeError(f"The video didn't work: {failure_detail(job.failure_detail)}")
            video = await stage.discord.wait_for_video(timeout_s=10)
            bar.update(shown, completed=1.0, description="done")
    return answer, video


async def _latest(stage: Stage) -> Job | None:
    jobs = await stage.app.service.recent(stage.discord.guild_id, stage.discord.viewer_id, limit=1)
    return jobs[0] if jobs else None


def _bar() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise ZoetropeError(f"{image} can't be read: {error.strerror}") from error


def _check_place(out: Path) -> None:
    """Tries whether a file can be written there, before the work rather than after it."""
    try:
        if out.is_dir():
            raise ZoetropeError(f"{out} is a folder: name a file with --out.")
        with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}."):
            pass
    except OSError as error:
        raise ZoetropeError(f"{out} can't be written: {error.strerror}. Name another with --out.") from error


def _write(out: Path, data: bytes) -> None:
    """Whole or not at all: a video that is there already is not spoilt by a full disk."""
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(data)
        part.replace(out)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ZoetropeError(f"{out} can't be written: {error.strerror}") from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
