"""A database for each case: migrated once, then copied."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sqlalchemy import make_url

from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from tests.crash.bot_process import start_server
from tests.store import postgres_server
from tests.store.conftest import run_outside_transaction
from tests.store.postgres_server import Server


class Deployment(StrEnum):
    """Where the jobs are kept, and how many processes work on them."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    TWO_WORKERS = "postgresql, two workers"


@dataclass(frozen=True)
class ServerDatabase:
    """A database on a PostgreSQL server. name: of the database."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return make_url(self.server.url).set(database=self.name).render_as_string(hide_password=False)

    async def execute(self, statement: str) -> None:
        """Runs a statement on the server, outside of any transaction and of this database."""
        await run_outside_transaction(
            make_url(self.server.url).set(database="template1").render_as_string(), statement
        )


@dataclass
class Databases:
    """Gives each case a folder and a database of its own. file: a migrated one; server: of PostgreSQL."""

    folder: Path
    file: Path
    server: Server | None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _copying: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def fresh(self, deployment: Deployment) -> AsyncIterator[tuple[Path, str]]:
        """A new folder and the address of a new database; both are removed at the end."""
        if deployment is Deployment.SQLITE:
            with self._folder(next(self._numbers)) as folder:
                shutil.copy(self.file, folder / "zoetrope.db")
                yield folder, f"sqlite:///{folder / 'zoetrope.db'}"
            return
        async with self.fresh_server_database() as (folder, database):
            yield folder, database.url

    @asynccontextmanager
    async def fresh_server_database(self) -> AsyncIterator[tuple[Path, ServerDatabase]]:
        """A new folder and a new database on the server of all cases; both are removed at the end."""
        assert self.server is not None
        number = next(self._numbers)
        name = f"case_{number}"
        with self._folder(number) as folder:
            async with self._copying:  # a template must not be in use
                await run_outside_transaction(self.server.url, f"CREATE DATABASE {name} TEMPLATE blank")
            yield folder, ServerDatabase(self.server, name)
            await run_outside_transaction(self.server.url, f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def fresh_server(self) -> AsyncIterator[tuple[Path, ServerDatabase]]:
        """A new folder and a new database on a server of its own, which may be stopped."""
        with self._folder(next(self._numbers)) as folder, ExitStack() as stack:
            server = await asyncio.to_thread(stack.enter_context, postgres_server.started())
            await asyncio.to_thread(asyncio.run, _create_blank(server))
            yield folder, ServerDatabase(server, "blank")

    @contextmanager
    def _folder(self, number: int) -> Iterator[Path]:
        folder = self.folder / f"case-{number}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_databases(folder: Path, *, postgresql: bool) -> Iterator[Databases]:
    """Everything that cases need, with a PostgreSQL server if any of them wants one."""
    start_server()
    file = folder / "blank.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    if not postgresql:
        yield Databases(folder, file, None)
        return
    with postgres_server.started() as server:
        asyncio.run(_create_blank(server))
        yield Databases(folder, file, server)


async def _create_blank(server: Server) -> None:
    """Creates a migrated, empty database named `blank`."""
    await run_outside_transaction(server.url, "CREATE DATABASE blank")
    await _migrate(ServerDatabase(server, "blank").url)


async def _migrate(url: str) -> None:
    async with Database.open(url) as database:
        await migrate(database)
