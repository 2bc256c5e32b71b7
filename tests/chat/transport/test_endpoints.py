import discord
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.chat.transport.endpoints import redirect
from bot.chat.transport.sharded_client import CleanClose
from tests.discord_server import DiscordServer, Upload, connected, logged_in

UNUSED_URL = "ws://127.0.0.1:9"  # the discard port: a client that is not redirected connects to it


def quick_client() -> CleanClose:
    return CleanClose(intents=discord.Intents(guilds=True), guild_ready_timeout=0)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://127.0.0.1:1234/api/v10", "http://127.0.0.1:1234/api/v10"),
        ("http://127.0.0.1:1234/api/v10/", "http://127.0.0.1:1234/api/v10"),
        ("http://127.0.0.1:1234/api", "http://127.0.0.1:1234/api/v10"),
        ("http://127.0.0.1:1234/api/", "http://127.0.0.1:1234/api/v10"),
        ("http://127.0.0.1:1234", "http://127.0.0.1:1234/api/v10"),
        ("https://proxy.example/discord/api", "https://proxy.example/discord/api/v10"),
        ("http://[::1]:1234/api", "http://[::1]:1234/api/v10"),
        ("http://proxy.example/{odd}/api", "http://proxy.example/%7Bodd%7D/api/v10"),
    ],
)
def test_the_api_url_is_accepted_with_or_without_version_and_slash(given: str, base: str) -> None:
    with redirect(api_url=given):
        assert Route("GET", "/users/{user_id}", user_id=7).url == f"{base}/users/7"


def test_without_urls_discords_own_are_used() -> None:
    before = Route.BASE, DiscordWebSocket.__dict__["from_client"]
    redirect()
    assert (Route.BASE, DiscordWebSocket.__dict__["from_client"]) == before


def test_closing_a_redirection_restores_the_previous_urls() -> None:
    before = Route.BASE, DiscordWebSocket.__dict__["from_client"]
    redirected = redirect(api_url="http://127.0.0.1:1/api", gateway_url=UNUSED_URL)
    assert before[0] != Route.BASE
    assert DiscordWebSocket.__dict__["from_client"] is not before[1]
    redirected.close()
    assert (Route.BASE, DiscordWebSocket.__dict__["from_client"]) == before


async def test_the_innermost_redirection_is_used(server: DiscordServer) -> None:
    with redirect(api_url="http://127.0.0.1:9/api", gateway_url=UNUSED_URL):
        async with connected(quick_client(), server):
            assert server.gateway.live


async def test_an_api_url_alone_does_not_redirect_the_gateway(server: DiscordServer) -> None:
    before = DiscordWebSocket.__dict__["from_client"]
    with redirect(api_url=server.api_url):
        assert DiscordWebSocket.__dict__["from_client"] is before


async def test_webhooks_are_sent_to_the_api_url_too(server: DiscordServer) -> None:
    async with logged_in(quick_client(), server) as client:
        webhook = discord.Webhook.partial(1, "token", client=client)
        with pytest.raises(discord.NotFound):
            await webhook.send("hello")
    assert server.calls("POST", "/webhooks/1/token")


async def test_a_resumed_session_stays_on_the_gateway_url_whatever_ready_advertises(server: DiscordServer) -> None:
    server.gateway.advertised_url = UNUSED_URL
    async with connected(quick_client(), server):
        server.gateway.drop()
        resumed = await server.state.until(lambda: [held for held in server.gateway.live if held.resume])
    assert resumed[0].path == "/gateway"


async def test_a_sharded_client_is_redirected_whatever_the_api_advertises(server: DiscordServer) -> None:
    server.gateway.advertised_url = UNUSED_URL
    client = discord.AutoShardedClient(intents=discord.Intents(guilds=True), guild_ready_timeout=0)
    async with connected(client, server):
        assert server.calls("GET", "/gateway/bot")
        assert server.gateway.live


async def test_the_gateway_is_asked_for_the_version_and_compression_of_discord_py(server: DiscordServer) -> None:
    async with connected(quick_client(), server):
        assert server.gateway.live[0].query == {"v": "10", "encoding": "json", "compress": "zlib-stream"}


async def test_an_attachment_is_fetched_from_its_own_url(server: DiscordServer) -> None:
    message = server.state.send(server.channel, server.state.bot, {}, {"0": Upload("cat.png", b"meow")})
    async with logged_in(quick_client(), server) as client:
        channel = client.get_partial_messageable(server.channel.id)
        found = await channel.fetch_message(message.id)
        assert await found.attachments[0].read() == b"meow"
    assert server.requests[-1].path.startswith("/cdn/attachments/")
