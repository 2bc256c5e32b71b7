"""The bot has only the permissions and intents that it uses."""

from urllib.parse import parse_qs, urlsplit

import discord

from bot.chat.doctor_checks import DiscordChecks
from bot.chat.permissions.channel_permissions import PERMISSIONS, invite_link
from bot.chat.transport.client import RestClient, ZoetropeBot

USED = {
    "read_messages": "the old name of View Channel: to post at all, and to be told of its servers' channels",
    "send_messages": "status cards and videos",
    "send_messages_in_threads": "the same, where the order was given in a thread",
    "attach_files": "the video",
    "read_message_history": "to look for its own message before a second try",
}


def test_the_invite_link_requests_exactly_the_permissions_that_are_used() -> None:
    asked = parse_qs(urlsplit(invite_link(1)).query)
    permissions = discord.Permissions(int(asked["permissions"][0]))
    assert permissions == PERMISSIONS
    assert {name for name, granted in permissions if granted} == set(USED)


def test_the_invite_link_requests_the_bot_and_its_commands() -> None:
    asked = parse_qs(urlsplit(invite_link(1)).query)
    assert set(asked["scope"][0].split()) == {"bot", "applications.commands"}
    assert set(asked) == {"client_id", "scope", "permissions"}


async def test_no_client_requests_an_intent_that_is_not_needed() -> None:
    assert ZoetropeBot().intents == discord.Intents(guilds=True)
    assert RestClient().intents == discord.Intents.none()
    assert DiscordChecks()._client.intents == discord.Intents.none()


async def test_no_client_pings_by_default() -> None:
    nobody = discord.AllowedMentions.none().to_dict()
    for client in (ZoetropeBot(), RestClient()):
        assert client.allowed_mentions is not None
        assert client.allowed_mentions.to_dict() == nobody
