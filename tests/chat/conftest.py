"""A local Discord, and clients that are logged in to it."""

from collections.abc import AsyncIterator

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.chat.transport.status_messages import StatusMessages
from bot.domain.jobs import Job
from bot.domain.status_cards import StatusCard
from tests.discord_server import DiscordServer, logged_in


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def client(server: DiscordServer) -> AsyncIterator[RestClient]:
    async with logged_in(RestClient(), server) as client:
        yield client


@pytest.fixture
async def delivery(server: DiscordServer) -> AsyncIterator[Delivery]:
    async with logged_in(RestClient(), server) as client:
        yield Delivery(client)


async def post_card(client: RestClient, job: Job) -> int:
    """Posts the job's status card; returns the message's id."""
    return await StatusMessages(client).show(job, StatusCard(job.state), None, check_existing=False)
