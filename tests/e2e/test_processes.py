"""Whole processes: the real command line against a local Discord and a local upstream, over real sockets."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bot.domain.notifications import Announcement
from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from bot.store.outbox import notifications
from bot.store.schema import notifications as notifications_table
from tests.cogs.conftest import sample_picture
from tests.discord_server import DiscordServer, FaultPhase, Hang, Message
from tests.discord_server.interactions import Interaction
from tests.faulty_gateway import FaultyGateway

WITHIN_S = 60.0
KEY = "key-of-the-tests"


@dataclass
class BotProcesses:
    """Starts the bot's commands with the settings and the database that they share.

    preexec: called in each child process before the program starts.
    """

    folder: Path
    discord: DiscordServer
    upstream: FaultyGateway
    preexec: Callable[[], None] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "DISCORD_TOKEN": self.discord.token,
            "VTRIX_API_KEY": KEY,
            "VTRIX_BASE_URL": self.upstream.url,
            "DATABASE_URL": f"sqlite:///{self.folder / 'zoetrope.db'}",
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "POLL_MIN_SECONDS": "0.1",
            "POLL_MAX_SECONDS": "0.2",
        }

    @asynccontextmanager
    async def start(self, *command: str, **environment: str) -> AsyncIterator[Process]:
        """Runs `zoetrope <command>`; kills it at the end if it is still running."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", *command, stdout=PIPE, stderr=PIPE,
            env=self.environment | environment, cwd=self.folder, preexec_fn=self.preexec,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def output(self, *command: str, **environment: str) -> tuple[int | None, str]:
        """The exit code and the output of a command that ends by itself."""
        async with self.start(*command, **environment) as process, asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
            return process.returncode, (out + err).decode()

    async def order(self) -> Interaction:
        """A member orders a video once the bot is connected."""
        await self.discord.state.until(lambda: self.discord.gateway.live, timeout_s=WITHIN_S)
        return await self.discord.slash(
            "animate", options={"prompt": "waves roll in"}, attachments={"image": sample_picture()}
        )

    async def videos(self, count: int = 1) -> list[Message]:
        """The messages with a video, once there are at least `count`."""
        await self.discord.state.until(lambda: len(self._videos()) >= count, timeout_s=WITHIN_S)
        return self._videos()

    def _videos(self) -> list[Message]:
        return [message for message in self.discord.messages() if message.has_video]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The processes' database, created if it does not exist."""
        async with Database.open(self.environment["DATABASE_URL"]) as database:
            await migrate(database)
            yield database

    async def wait_until_notified(self) -> None:
        """Returns once no notification is pending."""
        async with self.database() as database:
            while True:
                async with database.read() as connection:
                    rows = await connection.execute(
                        select(notifications_table.c.id).where(notifications_table.c.due_at.is_not(None))
                    )
                    if not rows.all():
                        return
                await asyncio.sleep(0.05)

    async def wait_for_message(self, text: str) -> Message:
        """The first message that shows `text`."""
        return await self.discord.state.until(
            lambda: next((message for message in self.discord.messages() if text in message.shown), None),
            timeout_s=WITHIN_S,
        )

    def finished(self) -> list[Message]:
        """The messages with a video whose status cards are gone."""
        waiting = {job_id_of(message) for message in self.discord.messages() if message.is_status_card}
        return [message for message in self._videos() if job_id_of(message) not in waiting]

    async def wait_until_finished(self, count: int = 1) -> None:
        """Returns once so many videos are posted and their status cards gone."""
        await self.discord.state.until(lambda: len(self.finished()) >= count, timeout_s=WITHIN_S)


def job_id_of(message: Message) -> str:
    """The job whose button is under the message."""
    return message.custom_ids[0].rpartition(":")[2]


def loaded_libraries(process: Process) -> str:
    """The files that a process has mapped, as Linux lists them."""
    return Path(f"/proc/{process.pid}/maps").read_text()


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[BotProcesses]:
    async with (
        DiscordServer() as discord,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
    ):
        yield BotProcesses(tmp_path, discord, upstream)


async def test_run_answers_a_command_posts_the_video_and_stops_on_sigterm(processes: BotProcesses) -> None:
    async with processes.start("run") as process:
        order = await processes.order()
        (video,) = await processes.videos()
        await processes.wait_until_finished()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()

    assert process.returncode == 0, log.decode()
    assert "Got it!" in (order.original.content if order.original else "")
    assert video.attachments[0].upload.data[4:8] == b"ftyp"
    assert b"Traceback" not in log


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_bot_itself_loads_no_library_that_opens_pictures_or_videos(processes: BotProcesses) -> None:
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_until_finished()
        await processes.discord.slash("video-admin usage", user=processes.discord.guild.owner)
        loaded = loaded_libraries(process)

    assert "/aiohttp/" in loaded
    assert [name for name in ("PIL", "av", "pillow_heif", "numpy", "matplotlib") if f"/{name}/" in loaded] == []


@pytest.mark.full
async def test_a_process_killed_during_generation_continues_after_its_restart(processes: BotProcesses) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        process.kill()

    processes.upstream.task_seconds = 0
    async with processes.start("run", JOB_TIMEOUT_SECONDS="3600"):
        await processes.wait_until_finished()

    assert len(await processes.videos()) == 1
    assert len(processes.upstream.received) == 1


@pytest.mark.full
async def test_a_separate_worker_finishes_the_jobs_of_a_stopped_run(processes: BotProcesses) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()
    assert process.returncode == 0

    processes.upstream.task_seconds = 0
    async with processes.start("worker"):
        await processes.wait_until_finished()

    assert len(await processes.videos()) == 1


@pytest.mark.full
async def test_a_worker_killed_before_recording_a_notification_posts_it_once(processes: BotProcesses) -> None:
    path = "/channels/*/messages"
    async with processes.database() as database, database.write() as connection:
        await notifications.post(
            connection, 10, Announcement("what happened"), utc_now(), channel_id=processes.discord.channel.id
        )
    processes.discord.fail_next("POST", path, Hang(FaultPhase.AFTER))
    async with processes.start("worker") as process:
        await processes.wait_for_message("what happened")
        process.kill()
        await process.wait()

    # An hour later: the claim has run out, and Discord has forgotten the nonce.
    processes.discord.state.forget_nonces()
    async with processes.database() as database, database.write() as connection:
        await connection.execute(update(notifications_table).values(lease_until=utc_now()))
    async with processes.start("worker"), asyncio.timeout(WITHIN_S):
        await processes.wait_until_notified()

    assert len([message for message in processes.discord.messages() if "what happened" in message.content]) == 1


@pytest.mark.full
async def test_secrets_stay_out_of_all_output_at_the_debug_level(processes: BotProcesses) -> None:
    async with processes.start("run", LOG_LEVEL="DEBUG") as process:
        await processes.order()
        await processes.wait_until_finished()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()

    assert KEY.encode() not in out + err
    assert processes.discord.token.encode() not in out + err


@pytest.mark.full
async def test_doctor_reports_a_working_setup_and_shows_the_invite_link(processes: BotProcesses) -> None:
    code, output = await processes.output("doctor")

    assert code == 0, output
    assert output.count("ok  ") == 6
    assert "oauth2/authorize" in output
    assert not processes.upstream.received


@pytest.mark.full
async def test_doctor_prints_its_findings_and_nothing_else(processes: BotProcesses) -> None:
    _, output = await processes.output("doctor", VTRIX_API_KEY="a-wrong-key")

    assert [line for line in output.splitlines() if not line.startswith(("ok   ", "warn ", "FAIL "))] == []
    assert ".." not in output


@pytest.mark.full
async def test_doctor_creates_no_database(processes: BotProcesses) -> None:
    _, output = await processes.output("doctor", DATABASE_URL="sqlite:///not/there.db")

    assert "there.db does not exist yet; the first start creates it." in output
    assert not (processes.folder / "not").exists()


@pytest.mark.full
async def test_doctor_finds_an_existing_database(processes: BotProcesses) -> None:
    await processes.output("db", "upgrade")
    _, output = await processes.output("doctor")

    assert "ok   database: reachable and up to date." in output


@pytest.mark.full
async def test_doctor_reports_where_no_database_can_be_created(processes: BotProcesses) -> None:
    (processes.folder / "file").touch()
    code, output = await processes.output("doctor", DATABASE_URL="sqlite:///file/there.db")

    assert code == 1
    assert "FAIL database: " in output


@pytest.mark.full
async def test_an_idle_run_logs_its_invite_link_but_no_sql_and_no_discord_py_warnings(
    processes: BotProcesses,
) -> None:
    async with processes.start("run") as process:
        await processes.discord.state.until(lambda: processes.discord.gateway.live, timeout_s=WITHIN_S)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, err = await process.communicate()

    log = err.decode()
    assert log.count("oauth2/authorize") == 1
    assert not [sign for sign in ("SELECT", "BEGIN", "PRAGMA", "sqlalchemy", "PyNaCl", "intent") if sign in log], (
        log
    )
    assert " WARNING " not in log


async def test_doctor_names_what_is_wrong_and_what_to_do(processes: BotProcesses) -> None:
    processes.discord.channel.overwrites.clear()
    managed = next(role for role in processes.discord.guild.roles.values() if role.bot_id)
    managed.permissions = managed.permissions & ~type(managed.permissions)(attach_files=True)
    everyone = processes.discord.guild.roles[processes.discord.guild.id]
    everyone.permissions = everyone.permissions & ~type(everyone.permissions)(attach_files=True)

    code, output = await processes.output("doctor", VTRIX_API_KEY="a-wrong-key")

    assert code == 1
    assert "FAIL upstream" in output
    assert "VTRIX_API_KEY" in output
    assert "lacks Attach Files" in output
    assert "Traceback" not in output


@pytest.mark.full
async def test_a_wrong_token_ends_run_with_one_line(processes: BotProcesses) -> None:
    code, output = await processes.output("run", DISCORD_TOKEN="a-wrong-token")

    assert code == 1
    assert "zoetrope: Discord rejects DISCORD_TOKEN" in output
    assert "Traceback" not in output


@pytest.mark.full
async def test_missing_settings_end_run_with_a_line_for_each(processes: BotProcesses) -> None:
    code, output = await processes.output("run", DISCORD_TOKEN="", VTRIX_API_KEY="", POLL_MIN_SECONDS="soon")

    assert code == 2
    assert "DISCORD_TOKEN is missing" in output
    assert "VTRIX_API_KEY is missing" in output
    assert "POLL_MIN_SECONDS is invalid" in output
    assert "Traceback" not in output


@pytest.mark.full
async def test_the_video_is_posted_after_the_interaction_token_has_expired(processes: BotProcesses) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run"):
        order = await processes.order()
        await processes.wait_for_message("Being made")
        order.expire()
        processes.upstream.task_seconds = 0

        await processes.wait_until_finished()
        assert len(await processes.videos()) == 1
