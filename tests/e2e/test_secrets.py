"""Looks for secrets in everything that whole processes write, log and send while services fail."""

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

from tests.discord_server import Answer, DiscordServer, refused
from tests.e2e.test_processes import WITHIN_S, BotProcesses
from tests.faulty_gateway import Fault, FaultyGateway, Route

pytestmark = pytest.mark.full

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
    """What was seen of a process from outside. `output`: stdout and stderr."""

    shown: set[str] = field(default_factory=set)
    relatives: set[int] = field(default_factory=set)
    listening: list[Any] = field(default_factory=list)
    output: bytes = b""

    def record(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            self.listening += [
                held for held in process.net_connections("inet") if held.status == psutil.CONN_LISTEN
            ]
        with suppress(psutil.Error):
            self.shown.update(process.cmdline())
            for child in process.children(recursive=True):
                self._record_child(child)

    def _record_child(self, child: psutil.Process) -> None:
        with suppress(psutil.Error):
            # Between fork and exec it still has the parent's environment, which nobody else can read then.
            if (command := child.cmdline()) and not {"run", "worker"} & set(command):
                self.relatives.add(child.pid)
                self.shown.update([*command, *map("=".join, child.environ().items())])


@dataclass
class WatchedProcesses(BotProcesses):
    """Bot processes with recognisable secrets, which write only below `folder`."""

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
        """A process that is inspected repeatedly, with its output read to the end."""
        watched = Watched()
        async with self.start(*command, **environment) as process:
            reading = asyncio.create_task(process.communicate())
            watching = asyncio.create_task(self._watch(psutil.Process(process.pid), watched))
            try:
                yield process, watched
            finally:
                watching.cancel()
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
                watched.output = b"".join(await reading)

    async def _watch(self, process: psutil.Process, watched: Watched) -> None:
        while True:
            watched.record(process)
            await asyncio.sleep(0.05)  # no event reports child processes

    def written(self) -> dict[str, bytes]:
        """The content of every file below the folder."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def sent(self) -> str:
        """All that Discord received, without the places where the token belongs."""
        calls = [
            (call.method, call.path, call.query, call.payload, call.uploads, without_authorization(call.headers))
            for call in self.discord.requests
        ]
        identifies = [connection.identify or {} for connection in self.discord.gateway.connections]
        return repr((calls, [{**identify, "token": None} for identify in identifies]))


def without_authorization(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Authorization"}


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[WatchedProcesses]:
    async with (
        DiscordServer() as discord,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
    ):
        discord.token = discord.gateway.token = f"MTIzNDU2Nzg5MDEyMzQ1Njc4.{'G4hLm9'}.{TOKEN_TAIL}"
        yield WatchedProcesses(tmp_path, discord, upstream)


def echo_everything(processes: WatchedProcesses) -> None:
    """Makes both services quote the request in their errors."""
    token, bearer = f"Bot {processes.discord.token}", f"Authorization: Bearer {KEY}"
    complaint = {"error": {"code": KEY, "message": bearer}, "headers": {"Authorization": bearer, KEY: 1}}
    processes.upstream.fault(Route.CREATE, Fault(429, complaint, {"Retry-After": "0.1"}))
    processes.upstream.fault(Route.POLL, Fault(500, f"<pre>{bearer}</pre>"))
    processes.upstream.fault(Route.POLL, Fault(200, {"status": "processing", "echo": complaint}))
    processes.upstream.fault(Route.RESULT, Fault(503, complaint))
    page = Answer(502, f"<html><pre>Authorization: {token}</pre></html>")
    processes.discord.fail_next("POST", "/channels/*/messages", page)
    processes.discord.fail_next("POST", "/interactions/*", page)
    processes.discord.fail_next("PATCH", "/channels/*/messages/*", refused(400, 0, f"Authorization: {token}"))


async def test_a_run_among_echoing_services_writes_its_keys_nowhere(processes: WatchedProcesses) -> None:
    echo_everything(processes)
    token = f"Bot {processes.discord.token}"
    async with processes.watched("run") as (process, watched):
        await processes.order()
        await processes.wait_until_finished()
        # One refused by the gateway and one by Discord; both texts are stored in the job's row.
        processes.upstream.fault(Route.CREATE, Fault(400, {"error": {"message": f"Authorization: Bearer {KEY}"}}))
        await processes.order()
        await processes.wait_for_message("The video service refused it")
        processes.discord.fail_next(
            "POST", "/channels/*/messages", refused(403, 50013, f"Missing Access for {token}")
        )
        await processes.order()
        async with asyncio.timeout(WITHIN_S):
            while sum("Missing Access" in line for line in await failure_details(processes)) < 1:
                await asyncio.sleep(0.05)
        written = processes.written()
        with suppress(psutil.AccessDenied):  # as it should be, but root sees everything
            environment = repr(psutil.Process(process.pid).environ())
            # Proxies' passwords stay, for aiohttp.
            assert found_in(environment.encode(), TOKEN_TAIL, KEY) == []
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            await process.wait()

    assert watched.output.count(b"[secret]") > 0, "nothing was provoked"
    assert found_in(watched.output, *processes.secrets) == []
    assert {name: found for name, data in written.items() if (found := found_in(data, *processes.secrets))} == {}
    assert found_in("\0".join(watched.shown).encode(), *processes.secrets) == []
    assert found_in(processes.sent().encode(), *processes.secrets) == []
    assert (
        found_in(repr([received.body for received in processes.upstream.received]).encode(), *processes.secrets)
        == []
    )
    assert watched.listening == []


async def failure_details(processes: WatchedProcesses) -> list[str]:
    async with processes.database() as database, database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT failure_detail FROM jobs WHERE failure_detail IS NOT NULL")
        return [row[0] for row in rows]


async def test_doctor_does_not_repeat_what_echoing_services_say(processes: WatchedProcesses) -> None:
    bearer, header = f"Authorization: Bearer {KEY}", f"Authorization: Bot {processes.discord.token}"
    processes.upstream.fault(Route.POLL, Fault(500, {"error": bearer}))
    processes.discord.fail_next("GET", "/guilds/*", refused(400, 50035, header))
    code, output = await processes.output("doctor")

    assert code == 1
    assert "Authorization: Bot [secret]" in output
    assert found_in(output.encode(), *processes.secrets) == []


@pytest.mark.parametrize("command", [("run",), ("db", "status"), ("doctor",)], ids=" ".join)
async def test_a_database_that_repeats_the_password_is_not_quoted(
    processes: WatchedProcesses, command: tuple[str, ...]
) -> None:
    async with password_echoing_postgresql() as port:
        url = f"postgresql://zoe:{quote(DATABASE_PASSWORD)}@127.0.0.1:{port}/movies?sslmode=disable"
        code, output = await processes.output(*command, DATABASE_URL=url)

    assert code == 1
    assert "no entry for zoe:[secret]" in output
    assert found_in(output.encode(), DATABASE_PASSWORD, *processes.secrets) == []


@asynccontextmanager
async def password_echoing_postgresql() -> AsyncIterator[int]:
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
async def test_a_wrong_database_address_is_not_quoted(processes: WatchedProcesses, wrong: dict[str, str]) -> None:
    code, output = await processes.output("db", "status", **wrong)

    assert code in {1, 2}
    assert found_in(output.encode(), DATABASE_PASSWORD, *processes.secrets) == []


async def test_files_of_a_run_are_private_to_its_user_whatever_the_umask(processes: WatchedProcesses) -> None:
    before = os.umask(0)
    try:
        async with processes.start(
            "run", DATABASE_URL=f"sqlite:///{processes.folder}/data/zoetrope.db"
        ) as process:
            await processes.order()
            await processes.wait_until_finished()
            made = [path for folder in ("data", "tmp") for path in (processes.folder / folder).rglob("*")]
            modes = {str(path.relative_to(processes.folder)): path.stat().st_mode & 0o077 for path in made}
            core_bytes, _ = psutil.Process(process.pid).rlimit(psutil.RLIMIT_CORE)
    finally:
        os.umask(before)

    assert {"data/zoetrope.db", "data/zoetrope.db-wal"} <= modes.keys()
    assert any(name.startswith("tmp/zoetrope-work-") for name in modes)
    assert {name for name, others_may in modes.items() if others_may} == set()
    assert core_bytes == 0, "a crash would leave the keys in a core file"


async def test_the_bot_identifies_with_a_single_unprivileged_intent(
    processes: WatchedProcesses,
) -> None:
    async with processes.start("run"):
        await processes.discord.state.until(lambda: processes.discord.gateway.live, timeout_s=WITHIN_S)
    identifies = [
        connection.identify for connection in processes.discord.gateway.connections if connection.identify
    ]

    assert [identify["intents"] for identify in identifies] == [discord.Intents(guilds=True).value]


async def test_a_separate_worker_neither_connects_to_the_gateway_nor_listens(processes: WatchedProcesses) -> None:
    async with processes.watched("worker") as (_, watched):
        await processes.discord.state.until(
            lambda: processes.discord.calls("GET", "/users/@me"), timeout_s=WITHIN_S
        )

    assert processes.discord.gateway.connections == []
    assert watched.listening == []
