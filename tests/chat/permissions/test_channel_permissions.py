import discord
import pytest
from discord.ext import commands

from bot.chat.permissions.channel_permissions import requester
from bot.domain.errors import NotPossible
from tests.discord_server import DiscordServer, connected


def curious_bot() -> commands.Bot:
    """It answers `/whoami` with where somebody asks, or with why it does not say."""
    bot = commands.Bot(commands.when_mentioned, intents=discord.Intents(guilds=True), help_command=None)

    @bot.tree.command(name="whoami", description="says where somebody asks")
    async def whoami(interaction: discord.Interaction[commands.Bot]) -> None:
        try:
            said = f"in {requester(interaction).guild_id}"
        except NotPossible as error:
            said = str(error)
        await interaction.response.send_message(said)

    return bot


@pytest.mark.parametrize(
    ("how", "said"),
    [("described", "in "), ("in an outage", "just starting"), ("not yet described", "just starting")],
)
async def test_who_asks_is_known_only_where_the_server_is(how: str, said: str) -> None:
    """An interaction brings a little of its server along, but no roles that a member's are looked up in."""
    async with DiscordServer() as server, connected(curious_bot(), server) as bot:
        await bot.tree.sync()
        guild_id = server.guild.id
        await server.world.until(lambda: bot.get_guild(guild_id))
        if how == "in an outage":
            away = {"id": str(guild_id), "unavailable": True}
            server.gateway.dispatch("GUILD_DELETE", away, intent="guilds")
        elif how == "not yet described":
            server.gateway.dispatch("GUILD_DELETE", {"id": str(guild_id)}, intent="guilds")

        answer = await (await server.slash("whoami")).answer()

    assert said in answer.content
