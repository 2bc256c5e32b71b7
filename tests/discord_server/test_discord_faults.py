"""How discord.py handles Discord's faults. Delivery depends on it: an upgrade that changes it must fail here."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from tests.discord_server import (
    Answer,
    DiscordServer,
    FaultPhase,
    Hang,
    Reset,
    banned_by_cloudflare,
    logged_in,
    rate_limited,
    refused,
    server_error,
)

MESSAGES = "/channels/*/messages"


def contents(server: DiscordServer) -> list[str]:
    return [message.content for message in server.messages()]


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def channel(server: DiscordServer) -> AsyncIterator[discord.PartialMessageable]:
    """The server's channel, in a client that only uses REST."""
    async with logged_in(discord.Client(intents=discord.Intents.none()), server) as client:
        yield client.get_partial_messageable(server.channel.id)


@pytest.mark.parametrize("scope", ["user", "global", "shared"])
async def test_discord_py_waits_out_a_rate_limit_of_every_scope(
    server: DiscordServer, channel: discord.PartialMessageable, scope: str
) -> None:
    server.fail_next("POST", MESSAGES, rate_limited(0.02, scope=scope), times=2)  # type: ignore[arg-type]  # a Literal
    await channel.send("hello")
    assert [call.status for call in server.calls("POST", "/channels/")] == [429, 429, 200]


async def test_discord_py_gives_up_at_once_on_cloudflares_ban(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.fail_next("POST", MESSAGES, banned_by_cloudflare())
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send("hello")
    assert caught.value.status == 429
    assert len(server.calls("POST", "/channels/")) == 1


async def test_discord_pys_own_retry_after_a_502_makes_no_second_message(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    """It adds a random nonce to each message that has none."""
    server.fail_next("POST", MESSAGES, server_error(502, phase=FaultPhase.AFTER))
    message = await channel.send("hello")
    assert len(server.calls("POST", "/channels/")) == 2
    assert [held.id for held in server.messages()] == [message.id]


async def test_without_an_enforced_nonce_a_retry_makes_a_second_message(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.fail_next("POST", MESSAGES, Reset(FaultPhase.AFTER))
    with pytest.raises(aiohttp.ClientOSError):
        await channel.send("hello")
    await channel.send("hello")
    assert contents(server) == ["hello", "hello"]


async def test_discord_py_gives_up_at_once_on_a_503(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.fail_next("POST", MESSAGES, server_error(503))
    with pytest.raises(discord.DiscordServerError):
        await channel.send("hello")
    assert len(server.calls("POST", "/channels/")) == 1


@pytest.mark.parametrize(
    ("graceful", "error"), [(False, aiohttp.ClientOSError), (True, aiohttp.ServerDisconnectedError)]
)
async def test_a_connection_lost_after_a_post_raises_and_the_nonce_prevents_a_second_message(
    server: DiscordServer, channel: discord.PartialMessageable, *, graceful: bool, error: type[Exception]
) -> None:
    server.fail_next("POST", MESSAGES, Reset(FaultPhase.AFTER, graceful=graceful))
    with pytest.raises(error):
        await channel.send("hello", nonce="job-1")
    message = await channel.send("hello", nonce="job-1")
    assert [held.id for held in server.messages()] == [message.id]


async def test_a_connection_lost_before_a_post_leaves_no_message(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.fail_next("POST", MESSAGES, Reset(FaultPhase.BEFORE))
    with pytest.raises(aiohttp.ClientOSError):
        await channel.send("hello")
    assert not server.messages()


async def test_a_hanging_response_lasts_until_the_caller_cancels(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.fail_next("POST", MESSAGES, Hang(FaultPhase.AFTER))
    sending = asyncio.create_task(channel.send("hello", nonce="job-1"))
    await server.state.until(server.messages)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await channel.send("hello", nonce="job-1")).id == server.messages()[0].id


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refused(403, 50013, "Missing Permissions"), discord.Forbidden),
        (refused(404, 10003, "Unknown Channel"), discord.NotFound),
        (Answer(400, {"message": "Invalid Form Body", "code": 50035}), discord.HTTPException),
    ],
)
async def test_a_scripted_refusal_applies_once(
    server: DiscordServer, channel: discord.PartialMessageable, fault: Answer, error: type[discord.HTTPException]
) -> None:
    server.fail_next("POST", MESSAGES, fault)
    with pytest.raises(error):
        await channel.send("hello")
    await channel.send("hello")
    assert contents(server) == ["hello"]


async def test_a_token_revoked_while_running_is_a_401_on_every_call(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    server.revoke_token()
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send("hello")
    assert (caught.value.status, type(caught.value)) == (401, discord.HTTPException)
