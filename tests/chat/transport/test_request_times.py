"""What a Discord client reports of its requests, against the local Discord."""

from collections.abc import AsyncIterator

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.request_times import route_of
from tests.discord_server import (
    DiscordServer,
    FaultPhase,
    Reset,
    banned_by_cloudflare,
    logged_in,
    rate_limited,
    refused,
)
from tests.recording_observer import RecordingObserver

MESSAGES = "/channels/*/messages"
POST = ("POST", "/channels/messages")


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def channel(server: DiscordServer, observer: RecordingObserver) -> AsyncIterator[discord.PartialMessageable]:
    async with logged_in(RestClient(RequestThrottle(observer=observer)), server) as client:
        observer.discord_requests.clear()
        yield client.get_partial_messageable(server.channel.id)


async def test_a_post_is_reported_by_the_words_of_its_route(
    channel: discord.PartialMessageable, observer: RecordingObserver
) -> None:
    await channel.send("hello")
    assert observer.discord_requests == [(*POST, "2xx")]
    assert observer.rate_limited == []


async def test_a_refusal_and_a_request_without_an_answer_are_reported(
    server: DiscordServer, channel: discord.PartialMessageable, observer: RecordingObserver
) -> None:
    server.fail_next("POST", MESSAGES, refused(403, 50013, "Missing Permissions"))
    with pytest.raises(discord.Forbidden):
        await channel.send("hello")
    server.fail_next("POST", MESSAGES, Reset(FaultPhase.BEFORE))
    await channel.send("hello")
    assert observer.discord_requests == [(*POST, "4xx"), (*POST, "none"), (*POST, "2xx")]


async def test_each_rate_limit_is_reported_with_its_scope(
    server: DiscordServer, channel: discord.PartialMessageable, observer: RecordingObserver
) -> None:
    server.fail_next("POST", MESSAGES, rate_limited(0.01))
    await channel.send("hello")
    assert observer.rate_limited == ["user"]
    assert observer.discord_requests == [(*POST, "4xx"), (*POST, "2xx")]


async def test_a_ban_of_the_address_is_a_limit_of_its_own(
    server: DiscordServer, channel: discord.PartialMessageable, observer: RecordingObserver
) -> None:
    server.fail_next("POST", MESSAGES, banned_by_cloudflare(600))
    with pytest.raises(discord.HTTPException):
        await channel.send("hello")
    assert observer.rate_limited == ["ip"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/channels/12345/messages?limit=50", "/channels/messages"),
        ("/webhooks/1/aW50ZXJhY3Rpb246c2VjcmV0/messages/@original", "/webhooks/messages/@original"),
        ("/interactions/1/a-token/callback", "/interactions/callback"),
        ("/applications/1/guilds/2/commands/3/permissions", "/applications/guilds/commands/permissions"),
        ("/gateway/bot", "/gateway"),
        ("/made/up/in/2031", "/other"),
    ],
)
def test_a_route_holds_no_id_and_no_token(path: str, route: str) -> None:
    assert route_of(path) == route
