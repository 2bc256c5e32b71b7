"""Announcements to all servers."""

from bot.domain.guilds import GuildSettings
from bot.store.guilds import guild_settings
from tests.cogs.admins import text_of
from tests.cogs.operator.conftest import OperatorServer


async def test_an_announcement_needs_confirmation_and_goes_to_every_server_once(
    operator_server: OperatorServer,
) -> None:
    async with operator_server.harness.app.database.write() as connection:
        columns = guild_settings.settings_columns(
            GuildSettings(log_channel_id=operator_server.harness.offline.channel.id)
        )
        await guild_settings.write(connection, operator_server.harness.offline.guild.id, columns)

    question = await operator_server.send("announce", text="**Back** at <t:0:R> @everyone")
    assert question.response is not None
    asked = question.response.content
    assert "posted in **1 server**, in the log channel" in asked
    assert "I can't post in 1 more server." in asked
    assert question.response.embeds[0].description == "**Back** at <t:0:R> @everyone"

    sent = await operator_server.operator.click(question.response.message, label="Send it")

    assert "On its way to 1 server." in text_of(sent)
    told = await operator_server.harness.wait_for_message("**Back** at")
    assert not told.mention_everyone
    assert "announced to 1 server" in await operator_server.ask("log")


async def test_a_former_operator_cannot_send_an_announcement(operator_server: OperatorServer) -> None:
    question = await operator_server.send("announce", text="hello")
    assert question.response is not None

    operator_server.remove_operator()
    sent = await operator_server.operator.click(question.response.message, label="Send it")

    assert "for the bot's operator" in text_of(sent)
