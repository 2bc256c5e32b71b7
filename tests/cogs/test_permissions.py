"""The table of all commands and who may use each. A new command must be added to it, and is then tested."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import ChannelHandle, MemberActor
from simcord.interactions import command_leaves
from sqlalchemy import select

from bot.domain.guilds import Guild, PolicyEntry, PolicyEntryKind
from bot.services.admin.audited import Admin
from bot.store.guilds.guild_settings import guild_of
from bot.store.money_tables import metadata
from bot.store.schema import guilds, notifications, submission_gates
from tests.cogs.admins import admin, bypass_client_check, choices_bypassing_client_check, plain, text_of
from tests.cogs.conftest import CogHarness, open_cog_harness, sample_picture
from tests.faulty_gateway import Ending, Fault, Route

EVERYBODY, ADMINS, OPERATOR = "everybody", "those who manage the bot", "the operator"
OPERATOR_GUILD_ID = 770_000_000_000_000_001

COMMANDS = {
    "animate": EVERYBODY,
    "operator allow": OPERATOR,
    "operator announce": OPERATOR,
    "operator block": OPERATOR,
    "operator budgets": OPERATOR,
    "operator costs": OPERATOR,
    "operator drain": OPERATOR,
    "operator gate": OPERATOR,
    "operator ledger": OPERATOR,
    "operator log": OPERATOR,
    "operator reconcile found": OPERATOR,
    "operator reconcile list": OPERATOR,
    "operator reconcile lost": OPERATOR,
    "operator servers": OPERATOR,
    "operator unset": OPERATOR,
    "video-admin age-restricted": ADMINS,
    "video-admin approval": ADMINS,
    "video-admin ban": ADMINS,
    "video-admin bans": ADMINS,
    "video-admin channels allow": ADMINS,
    "video-admin channels deny": ADMINS,
    "video-admin channels forget": ADMINS,
    "video-admin channels show": ADMINS,
    "video-admin grant": ADMINS,
    "video-admin jobs cancel": ADMINS,
    "video-admin jobs retry": ADMINS,
    "video-admin jobs show": ADMINS,
    "video-admin limits member": ADMINS,
    "video-admin limits role": ADMINS,
    "video-admin limits server": ADMINS,
    "video-admin limits show": ADMINS,
    "video-admin log channel": ADMINS,
    "video-admin log off": ADMINS,
    "video-admin log show": ADMINS,
    "video-admin pause": ADMINS,
    "video-admin quotes": ADMINS,
    "video-admin resolutions": ADMINS,
    "video-admin resume": ADMINS,
    "video-admin revoke": ADMINS,
    "video-admin roles allow": ADMINS,
    "video-admin roles deny": ADMINS,
    "video-admin roles forget": ADMINS,
    "video-admin roles show": ADMINS,
    "video-admin settings": ADMINS,
    "video-admin unban": ADMINS,
    "video-admin usage": ADMINS,
    "video-admin words add": ADMINS,
    "video-admin words remove": ADMINS,
    "video-admin words show": ADMINS,
    "video-admin words strikes": ADMINS,
    "help": EVERYBODY,
    "videos again": EVERYBODY,
    "videos cancel": EVERYBODY,
    "videos extend": EVERYBODY,
    "videos list": EVERYBODY,
    "videos settings": EVERYBODY,
    "videos show": EVERYBODY,
    "videos privacy delete": EVERYBODY,
    "videos privacy export": EVERYBODY,
    "videos privacy show": EVERYBODY,
    "videos quota": EVERYBODY,
}
"""Every command, and who may use it."""

GUARDED = sorted(command for command, whose in COMMANDS.items() if whose != EVERYBODY)
ADMIN_COMMANDS = sorted(command for command, whose in COMMANDS.items() if whose == ADMINS)
OPERATOR_COMMANDS = sorted(command for command, whose in COMMANDS.items() if whose == OPERATOR)
REFUSED = {
    ADMINS: "Only people who manage this server can do that",
    OPERATOR: "That's for the bot's operator",
}


@asynccontextmanager
async def harness_with_operator_server(folder: Path) -> AsyncIterator[tuple[CogHarness, ChannelHandle]]:
    """A harness with two servers more than the demo's: one of them the operator's, with a channel."""
    async with open_cog_harness(folder, operator_guild_id=OPERATOR_GUILD_ID, operator_user_ids=(1,)) as harness:
        operator_guild = harness.offline._env.create_guild("Operators", id=OPERATOR_GUILD_ID)
        yield harness, operator_guild.create_text_channel("operators")


@pytest.fixture
async def harness_and_channel(tmp_path: Path) -> AsyncIterator[tuple[CogHarness, ChannelHandle]]:
    """The harness, and the channel of the server where all commands are."""
    async with harness_with_operator_server(tmp_path) as harness_and_channel:
        yield harness_and_channel


def registered(harness: CogHarness) -> dict[str, dict[str, Any]]:
    """Every registered slash command with its declaration."""
    tree = harness.bot.tree
    declared = [
        command.to_dict(tree)
        for guild in (None, discord.Object(OPERATOR_GUILD_ID))
        for command in tree.get_commands(guild=guild, type=discord.AppCommandType.chat_input)
    ]
    return {" ".join(path): leaf for command in declared for path, leaf in command_leaves(command)}


def in_operator_guild(harness: CogHarness, channel: ChannelHandle, name: str) -> MemberActor:
    """A member of the server where all commands are, without any right."""
    assert channel.guild is not None
    return plain(harness, name, guild=channel.guild)


def valid_options(harness: CogHarness, channel: ChannelHandle, leaf: dict[str, Any]) -> dict[str, Any]:
    """A value for each of a command's options that Discord would take."""
    assert channel.guild is not None
    someone = in_operator_guild(harness, channel, "someone else")
    role = channel.guild.create_role("A role")
    values: dict[str, Any] = {}
    for option in leaf.get("options", []):
        match discord.AppCommandOptionType(option["type"]):
            case _ if option.get("choices"):
                values[option["name"]] = option["choices"][0]["value"]
            case discord.AppCommandOptionType.string:
                values[option["name"]] = "1h".ljust(option.get("min_length", 0), "0")
            case discord.AppCommandOptionType.integer | discord.AppCommandOptionType.number:
                values[option["name"]] = option.get("min_value", 1)
            case discord.AppCommandOptionType.boolean:
                values[option["name"]] = True
            case discord.AppCommandOptionType.user:
                values[option["name"]] = someone
            case discord.AppCommandOptionType.role | discord.AppCommandOptionType.mentionable:
                values[option["name"]] = role
            case discord.AppCommandOptionType.channel:
                values[option["name"]] = channel
            case discord.AppCommandOptionType.attachment:
                values[option["name"]] = ("sea.png", sample_picture())
    return values


async def database_rows(harness: CogHarness) -> dict[str, list[str]]:
    """All rows of the database, except those that the worker and the welcome of a new server write."""
    found = {}
    async with harness.app.database.read() as connection:
        for table in metadata.sorted_tables:
            if table not in (submission_gates, notifications, guilds):
                found[table.name] = sorted(map(repr, await connection.execute(select(table))))
        known = [guild_of(row) for row in await connection.execute(select(guilds))]
    found["guilds"] = sorted(
        repr(guild) for guild in known if guild != Guild(guild.id, welcomed_at=guild.welcomed_at)
    )
    return found


async def test_every_command_is_in_the_table(harness_and_channel: tuple[CogHarness, ChannelHandle]) -> None:
    assert sorted(registered(harness_and_channel[0])) == sorted(COMMANDS)


async def test_a_plain_member_is_refused_privately_and_nothing_changes(
    harness_and_channel: tuple[CogHarness, ChannelHandle],
) -> None:
    harness, channel = harness_and_channel
    for command in GUARDED:
        options = valid_options(harness, channel, registered(harness)[command])
        before = await database_rows(harness)

        result = await bypass_client_check(
            in_operator_guild(harness, channel, "plain"), channel, command, **options
        )

        assert text_of(result).startswith(REFUSED[COMMANDS[command]]), command
        assert result.ephemeral, command
        assert await database_rows(harness) == before, command


async def add_choices(harness: CogHarness) -> None:
    """Adds to the first server one of everything that a guarded command offers as a choice."""

    async def ordered(prompt: str, until: str) -> None:
        await harness.animate(prompt)
        await harness.wait_for_message_where(
            lambda message: prompt in message.content and until in message.content
        )

    harness.gateway.fault(Route.POLL, Fault(status=200, body={"id": "x", "status": "failed"}))
    await ordered("the unlucky one", "didn't work")
    await harness.order_endless("the slow one")
    harness.gateway.fault(Route.CREATE, Fault(ending=Ending.RESET))
    await ordered("the lost one", "didn't work")  # the last: it closes the gate
    admin_services, admin_user = harness.bot.services.admins, Admin(harness.offline.guild.id, 9)
    await admin_services.bans.ban(admin_user, 8, "spam", None)
    await admin_services.policy.block_terms(admin_user, "gore")
    for kind in PolicyEntryKind:
        await admin_services.policy.set_entry(admin_user, PolicyEntry(kind, 7, allowed=False))


@pytest.mark.full
async def test_a_plain_member_gets_no_autocomplete_choices(
    harness_and_channel: tuple[CogHarness, ChannelHandle],
) -> None:
    """There are choices to offer: those who may use the command get them."""
    harness, channel = harness_and_channel
    await add_choices(harness)
    operator = admin(harness, "operator", guild=channel.guild)
    assert harness.bot.services.operator is not None
    harness.bot.services.operator.user_ids = frozenset({operator.id})
    who = {
        ADMINS: (harness.offline.channel, admin(harness), plain(harness)),
        OPERATOR: (channel, operator, in_operator_guild(harness, channel, "plain")),
    }

    for command in GUARDED:
        where, admin_user, stranger = who[COMMANDS[command]]
        for option in registered(harness)[command].get("options", []):
            if option.get("autocomplete"):
                assert await admin_user.autocomplete(where, command, option["name"], ""), command
                assert await choices_bypassing_client_check(stranger, where, command, option["name"]) == [], (
                    command
                )


async def test_a_member_allowed_by_integration_settings_gets_private_replies(
    harness_and_channel: tuple[CogHarness, ChannelHandle],
) -> None:
    harness, channel = harness_and_channel
    assert channel.guild is not None
    allowed = harness.bot.services.command_permissions.command_ids["video-admin"]
    for command in ADMIN_COMMANDS:
        helper = in_operator_guild(harness, channel, "helper")
        channel.guild.set_command_permissions(allowed, {helper: True})

        result = await helper.slash(
            channel, command, **valid_options(harness, channel, registered(harness)[command])
        )

        assert result.response is not None, command
        assert result.ephemeral, command
        assert not text_of(result).startswith(REFUSED[ADMINS]), command
        assert "Something broke" not in text_of(result), command
        assert harness.offline.errors == [], command


async def test_no_integration_setting_makes_anybody_the_operator(
    harness_and_channel: tuple[CogHarness, ChannelHandle],
) -> None:
    harness, channel = harness_and_channel
    assert channel.guild is not None
    for command in OPERATOR_COMMANDS:
        helper = in_operator_guild(harness, channel, "helper")
        root = helper._env.backend.find_command("operator", OPERATOR_GUILD_ID, type=1)
        assert root is not None
        channel.guild.set_command_permissions(int(root["id"]), {helper: True})
        options = valid_options(harness, channel, registered(harness)[command])
        before = await database_rows(harness)

        result = await helper.slash(channel, command, **options)

        assert text_of(result).startswith(REFUSED[OPERATOR]), command
        assert result.ephemeral, command
        assert await database_rows(harness) == before, command


async def test_the_commands_are_within_discords_size_limits(
    harness_and_channel: tuple[CogHarness, ChannelHandle],
) -> None:
    """Names, descriptions and values of one command: 8,000 characters in all, 25 on each level."""
    tree = harness_and_channel[0].bot.tree
    for guild in (None, discord.Object(OPERATOR_GUILD_ID)):
        for command in tree.get_commands(guild=guild):
            declared = command.to_dict(tree)
            assert total_length(declared) <= 8000, declared["name"]
            assert max_option_count(declared) <= 25, declared["name"]


def total_length(node: dict[str, Any]) -> int:
    own = len(node["name"]) + len(node.get("description", ""))
    choices = sum(len(choice["name"]) + len(str(choice["value"])) for choice in node.get("choices") or [])
    return own + choices + sum(total_length(option) for option in node.get("options") or [])


def max_option_count(node: dict[str, Any]) -> int:
    options = node.get("options") or []
    return max([len(options), len(node.get("choices") or []), *(max_option_count(option) for option in options)])
