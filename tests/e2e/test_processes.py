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

from bot.demo.gateway import LocalGateway
from bot.domain.notifications import Announcement
from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from bot.store.outbox import notifications
from bot.store.schema import notifications as notices_table
from tests.cogs.conftest import a_picture
from tests.discord_server import DiscordServer, Hang, Message, Moment
from tests.discord_server.interactions import Interaction

WITHIN_S = 60.0
KEY = "key-of-the-tests"


@dataclass
class OperatorState:
    """Where the processes live: the addresses they are told, the database they share.

    before: called in each process, before it begins.
    """

    folder: Path
    discord: DiscordServer
    upstream: LocalGateway
    before: Callable[[], None] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "DISCORD_TOKEN": self.discord.token,
            "VTRIX_API_KEY": KEY,
            "VTRIX_BASE_URL": self.upstream.url,
            "DATABASE_URL": f"sqlite:///{self.folder / 'house.db'}",
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "POLL_MIN_SECONDS": "0.1",
            "POLL_MAX_SECONDS": "0.2",
        }

    @asynccontextmanager
    async def process(self, *command: str, **environment: str) -> AsyncIterator[Process]:
        """`zoetrope <command>`, killed at the end if it still runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", *command, stdout=PIPE, stderr=PIPE,
            env=self.environment | environment, cwd=self.folder, preexec_fn=self.before,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def output(self, *command: str, **environment: str) -> tuple[int | None, str]:
        """Exit code and all output of a command that ends by itself."""
        async with self.process(*command, **environment) as process, asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
            return process.returncode, (out + err).decode()

    async def order(self) -> Interaction:
        """A member orders a video, as soon as the bot is there."""
        await self.discord.world.until(lambda: self.discord.gateway.live, timeout_s=WITHIN_S)
        return await self.discord.slash(
            "animate", options={"prompt": "waves roll in"}, attachments={"image": a_picture()}
        )

    async def videos(self, count: int = 1) -> list[Message]:
        """The messages with a video, as soon as there are so many."""
        await self.discord.world.until(lambda: len(self._videos()) >= count, timeout_s=WITHIN_S)
        return self._videos()

    def _videos(self) -> list[Message]:
        return [message for message in self.discord.messages() if message.attachments]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The processes' database, made where it is not there yet."""
        async with Database.open(self.environment["DATABASE_URL"]) as database:
            await migrate(database)
            yield database

    async def told(self) -> None:
        """Returns once nothing waits to be told."""
        async with self.database() as database:
            while True:
                async with database.read() as connection:
                    rows = await connection.execute(
                        select(notices_table.c.id).where(notices_table.c.due_at.is_not(None))
                    )
                    if not rows.all():
                        return
                await asyncio.sleep(0.05)

    async def saying(self, text: str) -> Message:
        """The first message that holds `text`."""
        return await self.discord.world.until(
            lambda: next((message for message in self.discord.messages() if text in message.content), None),
            timeout_s=WITHIN_S,
        )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[OperatorState]:
    async with (
        DiscordServer() as discord,
        LocalGateway(folder=tmp_path / "upstream", api_key=KEY, render=False) as upstream,
    ):
        yield OperatorState(tmp_path, discord, upstream)


async def test_run_answers_a_command_posts_the_video_and_stops_on_sigterm(house: OperatorState) -> None:
    async with house.process("run") as process:
        order = await house.order()
        (video,) = await house.videos()
        await house.saying("is ready")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()

    assert process.returncode == 0, log.decode()
    assert "Got it!" in (order.original.content if order.original else "")
    assert video.attachments[0].upload.data[4:8] == b"ftyp"
    assert b"Traceback" not in log


async def test_a_process_killed_while_the_video_is_made_goes_on_after_its_restart(house: OperatorState) -> None:
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        process.kill()

    house.upstream.task_seconds = 0
    async with house.process("run", JOB_TIMEOUT_SECONDS="3600"):
        await house.saying("is ready")

    assert len(await house.videos()) == 1
    assert len(house.upstream.received) == 1


async def test_a_worker_alone_finishes_what_a_run_left(house: OperatorState) -> None:
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            await process.communicate()
    assert process.returncode == 0

    house.upstream.task_seconds = 0
    async with house.process("worker"):
        await house.saying("is ready")

    assert len(await house.videos()) == 1


async def test_a_worker_killed_between_telling_and_noting_it_tells_it_once(house: OperatorState) -> None:
    path = "/channels/*/messages"
    async with house.database() as database, database.write() as connection:
        await notifications.post(
            connection, 10, Announcement("what happened"), utc_now(), channel_id=house.discord.channel.id
        )
    house.discord.fail_next("POST", path, Hang(Moment.AFTER))
    async with house.process("worker") as process:
        await house.saying("what happened")
        process.kill()
        await process.wait()

    # An hour later: the claim has run out, and Discord has forgotten the nonce.
    house.discord.world.forget_nonces()
    async with house.database() as database, database.write() as connection:
        await connection.execute(update(notices_table).values(lease_until=utc_now()))
    async with house.process("worker"), asyncio.timeout(WITHIN_S):
        await house.told()

    assert len([message for message in house.discord.messages() if "what happened" in message.content]) == 1


async def test_secrets_stay_out_of_all_output_at_the_most_talkative_level(house: OperatorState) -> None:
    async with house.process("run", LOG_LEVEL="DEBUG") as process:
        await house.order()
        await house.saying("is ready")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()

    assert KEY.encode() not in out + err
    assert house.discord.token.encode() not in out + err


async def test_doctor_finds_all_well_and_shows_the_invite_link(house: OperatorState) -> None:
    code, said = await house.output("doctor")

    assert code == 0, said
    assert said.count("ok  ") == 5
    assert "oauth2/authorize" in said
    assert not house.upstream.received


async def test_doctor_says_its_findings_and_nothing_else(house: OperatorState) -> None:
    _, said = await house.output("doctor", VTRIX_API_KEY="a-wrong-key")

    assert [line for line in said.splitlines() if not line.startswith(("ok   ", "warn ", "FAIL "))] == []
    assert ".." not in said


async def test_doctor_leaves_no_database_where_there_is_none(house: OperatorState) -> None:
    _, said = await house.output("doctor", DATABASE_URL="sqlite:///not/there.db")

    assert "there.db does not exist yet; the first start creates it." in said
    assert not (house.folder / "not").exists()


async def test_doctor_finds_a_database_that_is_there(house: OperatorState) -> None:
    await house.output("db", "upgrade")
    _, said = await house.output("doctor")

    assert "ok   database: reachable and up to date." in said


async def test_doctor_knows_where_no_database_can_be_made(house: OperatorState) -> None:
    (house.folder / "file").touch()
    code, said = await house.output("doctor", DATABASE_URL="sqlite:///file/there.db")

    assert code == 1
    assert "FAIL database: " in said


async def test_an_idle_run_logs_how_to_invite_it_and_neither_sql_nor_what_discord_py_lacks(
    house: OperatorState,
) -> None:
    async with house.process("run") as process:
        await house.discord.world.until(lambda: house.discord.gateway.live, timeout_s=WITHIN_S)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, err = await process.communicate()

    log = err.decode()
    assert log.count("oauth2/authorize") == 1
    assert not [sign for sign in ("SELECT", "BEGIN", "PRAGMA", "sqlalchemy", "PyNaCl", "intent") if sign in log], (
        log
    )
    assert " WARNING " not in log


async def test_doctor_names_what_is_wrong_and_what_to_do(house: OperatorState) -> None:
    house.discord.channel.overwrites.clear()
    managed = next(role for role in house.discord.guild.roles.values() if role.bot_id)
    managed.permissions = managed.permissions & ~type(managed.permissions)(attach_files=True)
    everyone = house.discord.guild.roles[house.discord.guild.id]
    everyone.permissions = everyone.permissions & ~type(everyone.permissions)(attach_files=True)

    code, said = await house.output("doctor", VTRIX_API_KEY="a-wrong-key")

    assert code == 1
    assert "FAIL upstream" in said
    assert "VTRIX_API_KEY" in said
    assert "lacks Attach Files" in said
    assert "Traceback" not in said


async def test_a_wrong_token_ends_run_with_one_line(house: OperatorState) -> None:
    code, said = await house.output("run", DISCORD_TOKEN="a-wrong-token")

    assert code == 1
    assert "zoetrope: Discord rejects DISCORD_TOKEN" in said
    assert "Traceback" not in said


async def test_missing_settings_end_run_with_a_line_for_each(house: OperatorState) -> None:
    code, said = await house.output("run", DISCORD_TOKEN="", VTRIX_API_KEY="", POLL_MIN_SECONDS="soon")

    assert code == 2
    assert "DISCORD_TOKEN is missing" in said
    assert "VTRIX_API_KEY is missing" in said
    assert "POLL_MIN_SECONDS is invalid" in said
    assert "Traceback" not in said


async def test_the_video_comes_when_the_interactions_token_is_long_dead(house: OperatorState) -> None:
    house.upstream.task_seconds = 3600
    async with house.process("run"):
        order = await house.order()
        await house.saying("is being made")
        order.expire()
        house.upstream.task_seconds = 0

        await house.saying("is ready")
        assert len(await house.videos()) == 1
