"""Looks for the keys in everything that whole processes write, say and send, on their worst days."""

import asyncio
import base64
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import discord
import psutil  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from bot.demo.faults import Fault, Route
from bot.demo.gateway import LocalGateway
from tests.discord_server import Answer, DiscordServer, refused
from tests.e2e.test_processes import WITHIN_S, OperatorState

TOKEN_TAIL = "Tk9q-ZyX3wVu_5sRq7PoN1mLk8JiHgFeDc2BaQ"
KEY = "vtx-K3y/of+the\\can'ary%7E\"Zt6bQ9"
PROXY_PASSWORD = "Pr0xy-cAnary-5hQw8"
DATABASE_PASSWORD = "D4t@base-c4nary-7kLm2-Qr5w"
SEEN_LENGTH = 12
"""So much of a secret in a row is too much."""


def needles(*secrets: str) -> Iterator[bytes]:
    """Every form in which a secret would be recognised, and every longer piece of it."""
    for secret in secrets:
        coded = base64.b64encode(secret.encode()).decode()
        for form in {secret, secret.replace("\\", ""), quote(secret), quote_plus(secret), coded[:-4]}:
            for start in range(max(1, len(form) - SEEN_LENGTH + 1)):
                yield form[start : start + SEEN_LENGTH].encode()


def found_in(text: bytes, *secrets: str) -> list[bytes]:
    plain = text.replace(b"\\", b"")  # as it reads where markdown or JSON escaped it
    return sorted({needle for needle in needles(*secrets) if needle in text or needle in plain})


@dataclass
class Watched:
    """What was seen of a process from outside. `said`: all of its output."""

    shown: set[str] = field(default_factory=set)
    relatives: set[int] = field(default_factory=set)
    listening: list[Any] = field(default_factory=list)
    said: bytes = b""

    def look(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            self.listening += [
                held for held in process.net_connections("inet") if held.status == psutil.CONN_LISTEN
            ]
        with suppress(psutil.Error):
            self.shown.update(process.cmdline())
            for child in process.children(recursive=True):
                self._look_at_child(child)

    def _look_at_child(self, child: psutil.Process) -> None:
        with suppress(psutil.Error):
            # Between fork and exec it still is the parent, environment and all; nobody else can look then.
            if (command := child.cmdline()) and not {"run", "worker"} & set(command):
                self.relatives.add(child.pid)
                self.shown.update([*command, *map("=".join, child.environ().items())])


@dataclass
class Glass(OperatorState):
    """A house whose walls are of glass: its keys are canaries, and all that it writes lies below `folder`."""

    @property
    def secrets(self) -> tuple[str, ...]:
        return TOKEN_TAIL, KEY, PROXY_PASSWORD

    @property
    def environment(self) -> dict[str, str]:
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        return super().environment | {
            "VTRIX_API_KEY": KEY,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "LOG_LEVEL": "DEBUG",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONFAULTHANDLER": "1",
            "https_proxy": f"http://operator:{PROXY_PASSWORD}@127.0.0.1:9",
        }

    @asynccontextmanager
    async def watched(self, *command: str, **environment: str) -> AsyncIterator[tuple[Process, Watched]]:
        """A process that is looked at all the time, and read to its end."""
        watched = Watched()
        async with self.process(*command, **environment) as process:
            reading = asyncio.create_task(process.communicate())
            looking = asyncio.create_task(self._look(psutil.Process(process.pid), watched))
            try:
                yield process, watched
            finally:
                looking.cancel()
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
                watched.said = b"".join(await reading)

    async def _look(self, process: psutil.Process, watched: Watched) -> None:
        while True:
            watched.look(process)
            await asyncio.sleep(0.05)  # nothing tells of a process's children

    def written(self) -> dict[str, bytes]:
        """Every file below the folder, as it stands."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def sent(self) -> str:
        """All that Discord got, but the header and the greeting where the token belongs."""
        calls = [
            (call.method, call.path, call.query, call.payload, call.uploads, without_authorization(call.headers))
            for call in self.discord.requests
        ]
        greetings = [held.identify or {} for held in self.discord.gateway.connections]
        return repr((calls, [{**greeting, "token": None} for greeting in greetings]))


def without_authorization(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Authorization"}


@pytest.fixture
async def glass(tmp_path: Path) -> AsyncIterator[Glass]:
    async with (
        DiscordServer() as discord,
        LocalGateway(folder=tmp_path / "upstream", api_key=KEY, render=False) as upstream,
    ):
        discord.token = discord.gateway.token = f"MTIzNDU2Nzg5MDEyMzQ1Njc4.{'G4hLm9'}.{TOKEN_TAIL}"
        yield Glass(tmp_path, discord, upstream)


def echo_everything(glass: Glass) -> None:
    """Both services quote what they were sent, where an error has room for it."""
    token, bearer = f"Bot {glass.discord.token}", f"Authorization: Bearer {KEY}"
    complaint = {"error": {"code": KEY, "message": bearer}, "headers": {"Authorization": bearer, KEY: 1}}
    glass.upstream.fault(Route.CREATE, Fault(429, complaint, {"Retry-After": "0.1"}))
    glass.upstream.fault(Route.LOOK, Fault(500, f"<pre>{bearer}</pre>"))
    glass.upstream.fault(Route.LOOK, Fault(200, {"status": "processing", "echo": complaint}))
    glass.upstream.fault(Route.RESULT, Fault(503, complaint))
    page = Answer(502, f"<html><pre>Authorization: {token}</pre></html>")
    glass.discord.fail_next("POST", "/channels/*/messages", page)
    glass.discord.fail_next("POST", "/interactions/*", page)
    glass.discord.fail_next("PATCH", "/channels/*/messages/*", refused(400, 0, f"Authorization: {token}"))


async def test_a_run_among_echoing_services_writes_its_keys_nowhere(glass: Glass) -> None:
    echo_everything(glass)
    token = f"Bot {glass.discord.token}"
    async with glass.watched("run") as (process, watched):
        await glass.order()
        await glass.saying("is ready")
        # One that the gateway refuses, and one that Discord does, in words that go into the job's row.
        glass.upstream.fault(Route.CREATE, Fault(400, {"error": {"message": f"Authorization: Bearer {KEY}"}}))
        await glass.order()
        await glass.saying("The video service refused it")
        glass.discord.fail_next("POST", "/channels/*/messages", refused(403, 50013, f"Missing Access for {token}"))
        await glass.order()
        async with asyncio.timeout(WITHIN_S):
            while sum("Missing Access" in line for line in await jobs_said(glass)) < 1:
                await asyncio.sleep(0.05)
        written = glass.written()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await process.wait()

    assert watched.said.count(b"[secret]") > 0, "nothing was provoked"
    assert found_in(watched.said, *glass.secrets) == []
    assert {name: found for name, data in written.items() if (found := found_in(data, *glass.secrets))} == {}
    assert found_in("\0".join(watched.shown).encode(), *glass.secrets) == []
    assert found_in(glass.sent().encode(), *glass.secrets) == []
    assert found_in(repr([received.body for received in glass.upstream.received]).encode(), *glass.secrets) == []
    assert watched.listening == []


async def jobs_said(glass: Glass) -> list[str]:
    async with glass.database() as database, database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT failure_detail FROM jobs WHERE failure_detail IS NOT NULL")
        return [row[0] for row in rows]


async def test_doctor_does_not_repeat_what_echoing_services_say(glass: Glass) -> None:
    bearer, header = f"Authorization: Bearer {KEY}", f"Authorization: Bot {glass.discord.token}"
    glass.upstream.fault(Route.LOOK, Fault(500, {"error": bearer}))
    glass.discord.fail_next("GET", "/guilds/*", refused(400, 0, header))
    code, said = await glass.output("doctor")

    assert code == 1
    assert "Authorization: Bot [secret]" in said
    assert found_in(said.encode(), *glass.secrets) == []


@pytest.mark.parametrize("command", [("run",), ("db", "status"), ("doctor",)], ids=" ".join)
async def test_a_database_that_repeats_the_password_is_not_quoted(glass: Glass, command: tuple[str, ...]) -> None:
    async with rude_postgresql() as port:
        url = f"postgresql://zoe:{quote(DATABASE_PASSWORD)}@127.0.0.1:{port}/movies?sslmode=disable"
        code, said = await glass.output(*command, DATABASE_URL=url)

    assert code == 1
    assert "no entry for zoe:[secret]" in said
    assert found_in(said.encode(), DATABASE_PASSWORD, *glass.secrets) == []


@asynccontextmanager
async def rude_postgresql() -> AsyncIterator[int]:
    """The port of a server that refuses every login and repeats its password (protocol 3.0, ErrorResponse)."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        text = b"SFATAL\0VFATAL\0C28000\0M" + f"no entry for zoe:{DATABASE_PASSWORD}".encode() + b"\0\0"
        writer.write(b"E" + (len(text) + 4).to_bytes(4, "big") + text)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": f"postgresql://zoe:{DATABASE_PASSWORD}@127.0.0.1:{DATABASE_PASSWORD}/x"},
        {"DATABASE_URL": f"postgresql://zoe:{DATABASE_PASSWORD}@127.0.0.1:1/x"},
        {"DATABASE_URL": f"mysql://zoe:{DATABASE_PASSWORD}@127.0.0.1/x"},
    ],
    ids=["no port", "an at sign in the password", "another database"],
)
async def test_a_wrong_database_address_is_not_quoted(glass: Glass, wrong: dict[str, str]) -> None:
    code, said = await glass.output("db", "status", **wrong)

    assert code in {1, 2}
    assert found_in(said.encode(), DATABASE_PASSWORD, *glass.secrets) == []


async def test_what_a_run_makes_is_its_users_alone_whatever_the_umask(glass: Glass) -> None:
    before = os.umask(0)
    try:
        async with glass.process("run", DATABASE_URL=f"sqlite:///{glass.folder}/data/house.db") as process:
            await glass.order()
            await glass.saying("is ready")
            made = [path for folder in ("data", "tmp") for path in (glass.folder / folder).rglob("*")]
            modes = {str(path.relative_to(glass.folder)): path.stat().st_mode & 0o077 for path in made}
            core_bytes, _ = psutil.Process(process.pid).rlimit(psutil.RLIMIT_CORE)
    finally:
        os.umask(before)

    assert {"data/house.db", "data/house.db-wal"} <= modes.keys()
    assert any(name.startswith("tmp/zoetrope-work-") for name in modes)
    assert {name for name, others_may in modes.items() if others_may} == set()
    assert core_bytes == 0, "a crash would leave the keys in a core file"


async def test_the_gateway_is_greeted_with_one_intent_which_is_not_privileged(glass: Glass) -> None:
    async with glass.process("run"):
        await glass.discord.world.until(lambda: glass.discord.gateway.live, timeout_s=WITHIN_S)
    greetings = [held.identify for held in glass.discord.gateway.connections if held.identify]

    assert [greeting["intents"] for greeting in greetings] == [discord.Intents(guilds=True).value]


async def test_a_worker_alone_neither_greets_the_gateway_nor_listens(glass: Glass) -> None:
    async with glass.watched("worker") as (_, watched):
        await glass.discord.world.until(lambda: glass.discord.calls("GET", "/users/@me"), timeout_s=WITHIN_S)

    assert glass.discord.gateway.connections == []
    assert watched.listening == []
