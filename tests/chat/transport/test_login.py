"""Odd answers of Discord at the start: each is repeated before it is believed."""

import asyncio

import discord
import pytest

from bot.chat.transport.client import RestClient, ZoetropeBot, log_in
from bot.chat.transport.connection import until_refused
from bot.chat.transport.endpoints import redirect
from bot.domain.errors import LoginRefused
from bot.domain.schedule import Backoff
from tests.chat.some_services import some_services
from tests.discord_server import Answer, DiscordServer, Truncated, refused
from tests.discord_server.faults import Fault

AT_ONCE = Backoff(first_s=0.01, cap_s=0.01)
HTML = "<html>Just a moment...</html>"
ODD: dict[str, Fault] = {
    "401": refused(401, 0, "401: Unauthorized"),
    "HTML with 200": Answer(200, HTML),
    "HTML with 403": Answer(403, HTML),
    "an empty object": Answer(200, {}),
    "HTML called JSON": Answer(200, HTML, {"Content-Type": "application/json"}),
    "half": Truncated(),
}
PLACES = [
    ("GET", "/users/@me"),
    ("GET", "/oauth2/applications/@me"),
    ("PUT", "/applications/*/commands"),
]


class Operator:
    """The part of the operator's service that the sync reads."""

    def __init__(self, guild_id: int) -> None:
        self.guild_id = guild_id


class Bot(ZoetropeBot):
    """A bot that asks again at once."""

    operator_sync_pauses_s = tuple(0.0 for _ in ZoetropeBot.operator_sync_pauses_s)


@pytest.mark.full
@pytest.mark.parametrize("place", PLACES, ids=[path for _, path in PLACES])
@pytest.mark.parametrize("odd", ODD)
async def test_a_single_odd_answer_at_the_start_is_asked_again(odd: str, place: tuple[str, str]) -> None:
    client = Bot()
    client.services = some_services()
    async with DiscordServer() as server, client:
        server.fail_next(*place, ODD[odd])
        with redirect(server.api_url):
            watching = asyncio.create_task(until_refused(client, client.throttle, AT_ONCE))
            await log_in(client, server.token, AT_ONCE)
            assert not watching.done()
            watching.cancel()
        assert client.services.command_permissions.command_ids.keys() >= {"animate", "videos"}


@pytest.mark.parametrize("odd", ODD)
async def test_the_operators_commands_survive_an_odd_answer_too(odd: str) -> None:
    client = Bot()
    async with DiscordServer() as server, client:
        client.services = some_services(operator=Operator(server.guild.id))
        server.fail_next("PUT", "/applications/*/guilds/*/commands", ODD[odd])
        with redirect(server.api_url):
            await log_in(client, server.token, AT_ONCE)
        assert server.commands.find("operator", server.guild.id)


async def test_a_wrong_token_is_believed_after_three_refusals() -> None:
    async with DiscordServer() as server, RestClient() as client:
        with redirect(server.api_url), pytest.raises(LoginRefused, match="DISCORD_TOKEN"):
            await log_in(client, "not the token", AT_ONCE)
        assert len(server.calls("GET", "/users/@me")) == 3


async def test_the_watch_over_the_token_does_not_judge_before_the_login() -> None:
    """discord.py forgets the token of a failed login: its requests would be refused for having none."""
    client = RestClient()
    async with DiscordServer() as server, client:
        server.fail_next("GET", "/users/@me", refused(401, 0, "401: Unauthorized"))
        with redirect(server.api_url):
            watching = asyncio.create_task(until_refused(client, client.throttle, AT_ONCE))
            with pytest.raises(discord.LoginFailure):
                await client.login(server.token)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not client.throttle.unauthorized.is_set()
            assert not server.calls("GET", "/oauth2/")
            watching.cancel()
