"""Connects a real discord.py client to the local Discord."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import discord

from bot.chat.transport.endpoints import redirect
from tests.discord_server.server import DiscordServer

C = TypeVar("C", bound=discord.Client)


@asynccontextmanager
async def logged_in(client: C, server: DiscordServer) -> AsyncIterator[C]:
    """The client, logged in for REST only."""
    with redirect(api_url=server.api_url, gateway_url=server.gateway_url):
        async with client:
            await client.login(server.token)
            yield client


@asynccontextmanager
async def connected(client: C, server: DiscordServer) -> AsyncIterator[C]:
    """The client with a gateway session. An error that ended its connection is raised at the end."""
    async with logged_in(client, server):
        running = asyncio.create_task(client.connect())
        try:
            await server.state.until(lambda: server.gateway.live or running.done())
            yield client
        finally:
            await client.close()
            await running
