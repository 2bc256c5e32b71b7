"""The demo: the real bot with embedded defaults, using nothing outside this machine.

Cogs, service, worker, store and the upstream's HTTP client are those of production. Only two things differ: the
gateway is a local one that renders real videos, and Discord is an offline one.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bot.app import App, open_app
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.reason_texts import text_of
from bot.chat.transport.client import ZoetropeBot
from bot.demo.fake_renderer import RenderPool
from bot.demo.gateway import LocalGateway
from bot.demo.offline_discord import OfflineDiscord
from bot.demo.page import served_page
from bot.demo.welcome import welcome
from bot.domain.database_url import sqlite_url
from bot.domain.errors import OrderRefused, ZoetropeError
from bot.domain.jobs import ENDED, Job, JobState, Order
from bot.domain.orders import check_order
from bot.operations import logs
from bot.process import stop_signal
from bot.settings import GivenSettings, MetricsSettings

_TOKEN, _KEY = "demo-token-of-no-value", "demo-key-of-no-value"
_VIDEO_TIMEOUT_S = 120.0
_POLL_S = 0.2
_STOPPING = "Stopping…"

_PROGRESS = {
    JobState.QUEUED: (0.05, "queued"),
    JobState.SUBMITTING: (0.1, "submitting"),
    JobState.RUNNING: (0.15, "rendering"),
    JobState.DELIVERING: (0.9, "posting"),
    JobState.DELIVERED: (1.0, "done"),
}


@dataclass(frozen=True, slots=True)
class Demo:
    """The running demo: the bot's app and its Discord."""

    app: App
    discord: OfflineDiscord


@asynccontextmanager
async def opened(*, pool: RenderPool | None = None, manages: bool = False, **settings: Any) -> AsyncIterator[Demo]:
    """The whole bot without its worker, in a temporary folder that is deleted afterwards.

    pool: renders the videos. manages: see OfflineDiscord. settings: those that differ from the demo's.
    """
    bot = ZoetropeBot()
    with TemporaryDirectory(prefix="zoetrope-demo-") as name:
        folder = Path(name)
        async with LocalGateway(folder / "upstream", _KEY, pool=pool) as gateway:
            given: dict[str, Any] = {
                "discord_token": SecretStr(_TOKEN),
                "vtrix_api_key": SecretStr(_KEY),
                "vtrix_base_url": gateway.url,
                "database_url": sqlite_url(folder / "demo.db"),
                "poll_min_seconds": 0.5,
                "poll_max_seconds": 2,
                "quota_videos_per_day": 20,
                "quota_running": 4,
                "server_budget_usd_per_day": None,
                "server_budget_usd_per_month": None,
            }
            async with (
                open_app(GivenSettings(**given | settings), bot) as app,
                OfflineDiscord(bot, manages=manages) as discord,
            ):
                yield Demo(app, discord)


@asynccontextmanager
async def working(demo: Demo) -> AsyncIterator[None]:
    """Runs the worker meanwhile."""
    # Started here, not by the bot: the offline Discord waits for every task that the bot starts.
    worker = asyncio.create_task(demo.app.worker.run())
    try:
        yield
    finally:
        await demo.app.worker.stop(grace_s=5)
        await worker


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Demo]:
    """The whole bot with its worker. settings: those that differ from the demo's."""
    async with opened(**settings) as demo, working(demo):
        yield demo


async def in_browser(*, port: int, or_free: bool) -> int:
    """Serves the page until it is interrupted; returns an exit code.

    or_free: if `port` is taken, use a free one. Raises: ZoetropeError, with a line for whoever called.
    """
    logs.set_up("WARNING")
    metrics = MetricsSettings.load(env_file=None)  # only from the environment: `.env` is the real bot's
    _print("Starting the bot and its offline Discord...")
    async with running(**metrics.model_dump()) as demo:
        await welcome(demo.discord)
        async with served_page(demo.discord, port=port, or_free=or_free) as page:
            _print(
                f"\nReady. Open this address in a browser:\n\n    {page.url}\n\n"
                "The page tells you what to try first. Press Ctrl-C here to stop the demo."
            )
            if demo.app.metrics_port is not None:
                _print(f"\nMetrics: http://127.0.0.1:{demo.app.metrics_port}/metrics")
            await stop_signal()
            _print(_STOPPING)
    return 0


async def on_command_line(
    image: Path, prompt: str, out: Path, *, resolution: str, timeout_s: float = _VIDEO_TIMEOUT_S
) -> int:
    """Makes one video without a browser and writes it to `out`; returns an exit code.

    Raises: ZoetropeError, with a line for whoever called.
    """
    logs.set_up("ERROR")
    # Checks the call before any work is done. SimCord would refuse some prompts too, but in its own words.
    try:
        order = check_order(prompt=prompt, resolution=resolution)
    except OrderRefused as refused:
        raise ZoetropeError(text_of(refused.reason)) from refused
    picture = _read(image)
    _check_writable(out)
    try:
        answer, video = await _make_video(picture, image.name, order, timeout_s)
    except TimeoutError as error:
        raise ZoetropeError(
            f"The video wasn't finished within {timeout_s:.0f} s. Try again when this machine is less busy."
        ) from error
    _write(out, video)
    # The answer's first line is about the channel; the rest is about the picture.
    _print("\n".join([*answer.splitlines()[1:], f"{out}: {decimal(len(video))}"]))
    return 0


async def _make_video(picture: bytes, name: str, order: Order, timeout_s: float) -> tuple[str, bytes]:
    """The bot's answer and the video. Raises: ZoetropeError, TimeoutError."""
    with _progress_bar() as bar:
        task = bar.add_task("starting", total=1.0)
        async with running() as demo:
            answer = await demo.discord.animate(picture, name, order.prompt, resolution=order.resolution)
            job = await _latest(demo)
            if job is None:  # refused: the answer says why
                raise ZoetropeError(answer or "the bot gave no answer")
            try:
                async with asyncio.timeout(timeout_s):
                    while job.state not in ENDED:
                        share, description = _PROGRESS[job.state]
                        completed = max(share, 0.15 + 0.7 * (job.progress or 0))
                        bar.update(task, completed=completed, description=description)
                        await asyncio.sleep(_POLL_S)
                        job = await _latest(demo) or job
            except asyncio.CancelledError:  # Ctrl-C
                bar.console.print(_STOPPING)
                raise
            if job.state is not JobState.DELIVERED:
                raise ZoetropeError(f"The video failed: {failure_detail(job.failure_detail)}")
            posted_id = job.result_message_id
            message = await demo.discord.wait_for_message(lambda message: message.id == posted_id, timeout_s=10)
            video = await message.attachments[0].read()
            bar.update(task, completed=1.0, description="done")
    return answer, video


async def _latest(demo: Demo) -> Job | None:
    jobs = await demo.app.service.recent(demo.discord.guild.id, demo.discord.viewer.id, limit=1)
    return jobs[0] if jobs else None


def _progress_bar() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise ZoetropeError(f"{image} can't be read: {error.strerror}") from error


def _check_writable(out: Path) -> None:
    """Checks that a file can be written there, before the work rather than after it."""
    try:
        if out.is_dir():
            raise ZoetropeError(f"{out} is a folder: name a file with --out.")
        with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}."):
            pass
    except OSError as error:
        raise ZoetropeError(f"{out} can't be written: {error.strerror}. Choose another with --out.") from error


def _write(out: Path, data: bytes) -> None:
    """Writes the whole file or none of it, so that a full disk doesn't ruin an earlier video."""
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(data)
        part.replace(out)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ZoetropeError(f"{out} can't be written: {error.strerror}") from error


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
