import discord

from bot.chat.autocomplete import names_of
from bot.chat.transport.sharded_client import CleanClose
from tests.discord_server import DiscordServer, connected


async def test_names_that_discord_does_not_return_in_time_are_left_out() -> None:
    client = CleanClose(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
    async with DiscordServer() as server, connected(client, server):
        await client.wait_until_ready()
        guild = client.get_guild(server.guild.id)
        assert guild is not None

        assert await names_of(guild, [server.member.id, guild.me.id], timeout_s=0.01) == {
            guild.me.id: guild.me.display_name
        }
