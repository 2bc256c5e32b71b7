import asyncio
import socket

import pytest

from bot.chat.transport.client import RestClient, log_in
from bot.chat.transport.endpoints import redirect
from bot.domain.schedule import Backoff
from tests.discord_server import DiscordServer, Reset, server_error

SHORT_BACKOFF = Backoff(first_s=0.01, cap_s=0.01)


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_login_is_retried_while_discord_refuses_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, port = RestClient(), a_free_port()
    with redirect(f"http://127.0.0.1:{port}/api/v10"):
        async with client, DiscordServer() as other:
            logging_in = asyncio.create_task(log_in(client, other.token, SHORT_BACKOFF))
            while caplog.text.count("can't be reached") < 3:
                await asyncio.sleep(0.01)
            async with DiscordServer(port=port) as server:
                server.gateway.token = other.token
                await logging_in

    assert client.user is not None


@pytest.mark.parametrize("fault", [Reset(), server_error(503)], ids=["reset", "503"])
async def test_login_is_retried_while_discord_fails(fault: Reset) -> None:
    client = RestClient()
    async with DiscordServer() as server, client:
        server.fail_next("GET", "/users/@me", fault, times=3)
        with redirect(server.api_url):
            await log_in(client, server.token, SHORT_BACKOFF)

    assert client.user is not None
