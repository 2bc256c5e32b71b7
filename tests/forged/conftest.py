"""A harness after a restart, with data that forged requests could target."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.discord_server import DiscordServer
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, ForgeryHarness, Seed, add_members, open_harness, operator_settings, seed_data


@asynccontextmanager
async def seeded_harness(folder: Path) -> AsyncIterator[tuple[ForgeryHarness, Seed]]:
    """The data was created by an earlier run of the bot; no worker runs, so that nothing changes by itself."""
    async with (
        DiscordServer() as server,
        FaultyGateway(folder / "upstream", KEY) as upstream,
    ):
        who = add_members(server)
        settings = operator_settings(who["operator_channel"].guild)
        async with open_harness(folder, server, upstream, **settings) as before:
            seed = await seed_data(before, who)
        async with open_harness(folder, server, upstream, **settings) as harness:
            yield harness, seed


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[tuple[ForgeryHarness, Seed]]:
    """A harness of its own, for a test that changes something."""
    async with seeded_harness(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[ForgeryHarness, Seed]]:
    """One harness for all tests of a module that change nothing."""
    async with seeded_harness(tmp_path_factory.mktemp("shared")) as made:
        yield made
