"""A stage after a restart, with everything on it that could be forged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from bot.demo.gateway import LocalGateway
from tests.discord_server import DiscordServer
from tests.forged.stage import KEY, Cast, Stage, a_day_before, a_stage, operated_from, people


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[tuple[Stage, Cast]]:
    """What there is was made by a process that has ended; no worker runs, so that nothing changes by itself."""
    async with (
        DiscordServer() as place,
        LocalGateway(folder=folder / "upstream", api_key=KEY, render=False) as upstream,
    ):
        who = people(place)
        settings = operated_from(who["office"].guild)
        async with a_stage(folder, place, upstream, **settings) as before:
            cast = await a_day_before(before, who)
        async with a_stage(folder, place, upstream, **settings) as stage:
            yield stage, cast


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Stage, Cast]]:
    """A scene of its own for a test that changes something."""
    async with a_scene(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stage, Cast]]:
    """One scene for all tests of a module that find everything as it was."""
    async with a_scene(tmp_path_factory.mktemp("still")) as made:
        yield made
