"""Who is offered and may use `/operator`."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.domain.guilds import Access
from tests.cogs.admins import bypass_client_check, choices_bypassing_client_check, text_of
from tests.cogs.conftest import open_cog_harness
from tests.cogs.operator.conftest import MANAGE_GUILD, OPERATOR_GUILD_ID, OperatorServer

COMMANDS = {
    "operator servers",
    "operator budgets",
    "operator allow",
    "operator block",
    "operator unset",
    "operator drain",
    "operator gate",
    "operator reconcile list",
    "operator reconcile found",
    "operator reconcile lost",
    "operator announce",
    "operator costs",
    "operator ledger",
    "operator log",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "operator allow": {"server": "5"},
    "operator block": {"server": "5"},
    "operator unset": {"server": "5"},
    "operator reconcile found": {"job": "x", "upstream_id": "task-9"},
    "operator reconcile lost": {"job": "x"},
    "operator announce": {"text": "hello"},
    "operator ledger": {"job": "x"},
}


async def test_the_operator_is_offered_the_commands_in_the_operators_server(
    operator_server: OperatorServer,
) -> None:
    offered = {
        name
        for name in operator_server.operator.available_commands(operator_server.channel)
        if name.startswith("operator")
    }

    assert offered == COMMANDS


async def test_in_other_servers_nobody_is_offered_them_not_even_the_operator(
    operator_server: OperatorServer,
) -> None:
    elsewhere = operator_server.harness.offline.guild
    role = elsewhere.create_role("Managers", permissions=MANAGE_GUILD)
    there = elsewhere.add_member(operator_server.user, roles=[role])

    offered = there.available_commands(operator_server.harness.offline.channel)

    assert not [name for name in offered if name.startswith("operator")]


async def test_an_ordinary_member_of_the_operators_server_is_not_offered_them(
    operator_server: OperatorServer,
) -> None:
    guest = operator_server.guild.add_member(operator_server.harness.offline._env.create_user("guest"))

    assert not [name for name in guest.available_commands(operator_server.channel) if name.startswith("operator")]


async def test_an_admin_of_the_operators_server_who_is_not_an_operator_is_refused(
    operator_server: OperatorServer,
) -> None:
    role = operator_server.guild.create_role("Managers", permissions=MANAGE_GUILD)
    admin = operator_server.guild.add_member(
        operator_server.harness.offline._env.create_user("admin"), roles=[role]
    )

    for command in sorted(COMMANDS):
        result = await bypass_client_check(admin, operator_server.channel, command, **OPTIONS.get(command, {}))

        assert text_of(result) == "That's for the bot's operator, in their own server.", command
        assert result.ephemeral
    assert await operator_server.service.audit_log() == []


@pytest.mark.parametrize(
    ("command", "option"), [("allow", "server"), ("budgets", "server"), ("reconcile found", "job")]
)
async def test_an_admin_who_is_not_an_operator_gets_no_suggestions(
    operator_server: OperatorServer, command: str, option: str
) -> None:
    role = operator_server.guild.create_role("Managers", permissions=MANAGE_GUILD)
    admin = operator_server.guild.add_member(
        operator_server.harness.offline._env.create_user("admin"), roles=[role]
    )

    assert not await choices_bypassing_client_check(admin, operator_server.channel, f"operator {command}", option)
    assert await operator_server.choices("allow", "server")


async def test_without_an_operator_server_the_commands_are_not_registered(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path) as harness:
        guild = harness.offline._env.create_guild("Office", id=OPERATOR_GUILD_ID)
        role = guild.create_role("Bosses", permissions=MANAGE_GUILD)
        operator = guild.add_member(harness.offline._env.create_user("operator"), roles=[role])
        channel = guild.create_text_channel("operators")

        assert not [name for name in operator.available_commands(channel) if name.startswith("operator")]


async def test_every_reply_to_the_operator_is_private(operator_server: OperatorServer) -> None:
    for command in sorted(COMMANDS):
        await operator_server.send(command.removeprefix("operator "), **OPTIONS.get(command, {}))

    assert [message for message in operator_server.channel.history() if not message.flags.ephemeral] == []
    assert (await operator_server.service.overview()).spent.usd_today == Decimal(0)
    assert (await operator_server.service.server(5)).guild.access is Access.OPEN
