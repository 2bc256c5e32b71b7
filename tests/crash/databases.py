"""A database for each case: migrated once, then copied."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sqlalchemy import make_url

from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from tests.crash.bot_process import start_server
from tests.store import postgres_server
from tests.store.conftest import run_outside_transaction


class Deployment(StrEnum):
    """Where the jobs are kept, and how many processes work on them."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    TWO_WORKERS = "postgresql, two workers"


@dataclass
class Databases:
    """Gives each case a folder and a database of its own. file: a migrated one; server: of PostgreSQL."""

    folder: Path
    file: Path
    server: str | None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _copying: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def fresh(self, deployment: Deployment) -> AsyncIterator[tuple[Path, str]]:
        """A new folder and the address of a new database; both are removed at the end."""
        number = next(self._numbers)
        folder = self.folder / f"case-{number}"
        folder.mkdir()
        try:
            if deployment is Deployment.SQLITE:
                shutil.copy(self.file, folder / "zoetrope.db")
                yield folder, f"sqlite:///{folder / 'zoetrope.db'}"
                return
            assert self.server is not None
            address = make_url(self.server)
            name = f"case_{number}"
            async with self._copying:  # a template must not be in use
                await run_outside_transaction(self.server, f"CREATE DATABASE {name} TEMPLATE blank")
            yield folder, address.set(database=name).render_as_string(hide_password=False)
            await run_outside_transaction(self.server, f"DROP DATABASE {name} WITH (FORCE)")
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
    with postgres_server.running() as server:
        asyncio.run(run_outside_transaction(server, "CREATE DATABASE blank"))
        asyncio.run(_migrate(make_url(server).set(database="blank").render_as_string(hide_password=False)))
        yield Databases(folder, file, server)


async def _migrate(url: str) -> None:
    async with Database.open(url) as database:
        await migrate(database)
