"""Workers that die at any step: before or after a request or a commit, or in the middle of a transaction.

A dead worker's calls never return and change nothing; whatever it was about to write is lost, as with a process
that was killed. Its leases expire.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.domain.jobs import Frame, Order, StopResult
from bot.providers.base import Task, TaskRef
from bot.store.engine import Connection, Database
from tests.money.gateways import Gateway
from tests.store.conftest import InjectedTimeDatabase


class Life:
    """Ends after so many steps; None: never. ended: set then."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps
        self.ended = asyncio.Event()

    async def step(self) -> None:
        """Returns, unless the worker is dead or dies here."""
        if self.steps is not None:
            self.steps -= 1
            if self.steps <= 0:
                self.ended.set()
                await asyncio.get_running_loop().create_future()


class MortalDatabase(InjectedTimeDatabase):
    """A database as one worker sees it."""

    def __init__(self, database: Database, life: Life) -> None:
        self.__dict__.update(database.__dict__)
        self._database = database
        self._life = life

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        await self._life.step()
        async with self._database.read() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        await self._life.step()
        async with self._database.write() as connection:
            yield connection
            await self._life.step()
        await self._life.step()


class MortalClient:
    """A client of a gateway in one worker. waiting: how many creates have no answer yet; changed: set with it."""

    def __init__(self, gateway: Gateway, life: Life) -> None:
        self._gateway = gateway
        self._life = life
        self.waiting = 0
        self.changed = asyncio.Event()

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        await self._life.step()
        self.waiting += 1
        self.changed.set()
        try:
            task = await self._gateway.submit(order, frame, request_id=request_id)
        finally:
            self.waiting -= 1
        await self._life.step()
        return task

    async def status(self, task: TaskRef) -> Task:
        told = await self._gateway.status(task)
        await self._life.step()
        return told

    async def stop(self, task: TaskRef) -> StopResult:
        result = await self._gateway.stop(task)
        await self._life.step()
        return result

    async def download(self, url: str, to: Path) -> int:
        size = await self._gateway.download(url, to)
        await self._life.step()
        return size

    async def check(self) -> None:
        await self._gateway.check()
