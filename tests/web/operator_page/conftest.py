"""The page over an invented bot, served over HTTP."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import FailureReason, Job
from bot.store.engine import Database
from bot.store.jobs import all_servers
from bot.store.maintenance.migrate import migrate
from tests.web.operator_page import invented
from tests.web.operator_page.invented import TOKEN, Invented

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """A response that was read."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def words(self) -> str:
        """The text of the page without its tags, each space as one."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.text).split())


@dataclass
class Visitor:
    """Somebody with the page's address. token: what they send, if anything."""

    session: ClientSession
    url: str
    token: str | None = None

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, **headers)

    async def send(self, method: str, path: str, *, data: object = None, **headers: str) -> Answer:
        """A request whose redirects aren't followed. headers: `_` stands for a hyphen."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        async with self.session.request(
            method, f"{self.url}{path}", data=data, headers=sent, allow_redirects=False
        ) as response:
            return await _read(response)


async def _read(response: ClientResponse) -> Answer:
    return Answer(response.status, (await response.read()).decode("utf-8", "replace"), dict(response.headers))


@pytest.fixture(scope="session")
def invented_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with an invented bot."""
    path = tmp_path_factory.mktemp("invented") / "bot.db"

    async def fill() -> None:
        async with Database.open(f"sqlite:///{path}") as database:
            await migrate(database)
            bot = Invented(database, NOW)
            await bot.past(1)
            await bot.present()

    asyncio.run(fill())
    return path


@pytest.fixture
async def database(tmp_path: Path, invented_file: Path) -> AsyncIterator[Database]:
    path = tmp_path / "bot.db"
    shutil.copy(invented_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        yield database


@asynccontextmanager
async def visiting(
    database: Database,
    *,
    token: str | None = None,
    now: datetime = NOW,
    host: str = "127.0.0.1",
    rules: OperatorDefaults = invented.RULES,
) -> AsyncIterator[Visitor]:
    async with invented.served(database, now, host=host, rules=rules) as port, ClientSession() as session:
        yield Visitor(session, f"http://127.0.0.1:{port}", token)


@pytest.fixture
async def operator(database: Database) -> AsyncIterator[Visitor]:
    """Whoever has the token."""
    async with visiting(database, token=TOKEN) as visitor:
        yield visitor


@pytest.fixture
async def stranger(database: Database) -> AsyncIterator[Visitor]:
    """Whoever hasn't."""
    async with visiting(database) as visitor:
        yield visitor


async def failed_job(database: Database, reason: FailureReason = FailureReason.UPSTREAM_FAILED) -> Job:
    """The invented job that failed for this reason."""
    async with database.read() as connection:
        [job] = [job for job in await all_servers.failed(connection, limit=10) if job.failure_reason is reason]
    return job
