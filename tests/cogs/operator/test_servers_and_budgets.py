"""Servers, budgets, access and draining under `/operator`, with two servers beside the operator's own."""

from pathlib import Path

import pytest

from bot.domain.guilds import GuildSettings
from bot.store.guilds import guild_settings
from tests.cogs.admins import another_guild
from tests.cogs.operator.conftest import OperatorServer, open_operator_server


async def test_the_servers_command_lists_all_servers_the_most_expensive_first(
    operator_server: OperatorServer,
) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_video()
    another_guild(operator_server.harness, "Quiet *corner*")

    text = await operator_server.ask("servers")

    assert text.startswith("**3 servers** · today ")
    lines = text.splitlines()
    assert lines[1].startswith("**Zoetrope demo**")
    assert "(100% of the total)" in lines[2]
    assert r"**Quiet \*corner\***" in text


async def test_servers_that_do_not_fit_the_message_are_in_the_file(operator_server: OperatorServer) -> None:
    for number in range(40):
        another_guild(operator_server.harness, f"{'=cmd' * 10} {number}")

    result = await operator_server.send("servers")

    assert result.response is not None
    assert "more in the file" in result.response.content
    assert len(result.response.content) <= 2000
    [file] = result.response.attachments
    data = (await file.read()).decode("utf-8-sig").splitlines()
    assert len(data) == 1 + 42
    assert sum("'=cmd" in row for row in data) == 40


async def test_the_budgets_command_shows_what_is_used_and_which_limits_are_defaults(
    operator_server: OperatorServer,
) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_video()

    text = await operator_server.ask("budgets")

    assert "of $10.00" in text
    assert "of $100.00" in text
    assert text.count("(default)") == 3


async def test_a_changed_total_budget_takes_effect_at_once(operator_server: OperatorServer) -> None:
    text = await operator_server.ask("budgets", usd_per_day="$0.10")

    assert "$10.00 (default) → $0.10 per day" in text
    assert "doesn't fit the bot's daily budget" in await operator_server.harness.animate()


async def test_a_budget_can_be_reset_to_the_setting(operator_server: OperatorServer) -> None:
    await operator_server.ask("budgets", usd_per_day="2", queue_max="3")

    text = await operator_server.ask("budgets", usd_per_day="setting", queue_max="setting")

    assert "$2.00 → $10.00 (default) per day" in text
    assert "3 → 1,000 (default)" in text


async def test_setting_a_budget_to_its_current_value_is_no_change(operator_server: OperatorServer) -> None:
    await operator_server.ask("budgets", usd_per_day="2")

    assert (
        await operator_server.ask("budgets", usd_per_day="2.00") == "Nothing changed: it was already set that way."
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"usd_per_day": "-1"}, "an amount in USD"),
        ({"usd_per_month": "a lot"}, "an amount in USD"),
        ({"usd_per_month": "none"}, "can't remove the budget"),
        ({"queue_max": "0"}, "from 1 to 100,000"),
        ({"server": "my server", "usd_per_day": "1"}, "That isn't a server"),
        ({"server": "5", "queue_max": "1"}, "All servers share one queue"),
        ({"usd_per_day": "5", "queue_max": "x"}, "from 1 to 100,000"),
    ],
)
async def test_an_invalid_option_changes_nothing(
    operator_server: OperatorServer, options: dict[str, str], says: str
) -> None:
    assert says in await operator_server.ask("budgets", **options)
    assert "no operator has changed anything yet" in (await operator_server.ask("log")).lower()


async def test_a_servers_budget_applies_to_that_server_only(operator_server: OperatorServer) -> None:
    here = operator_server.harness.offline
    elsewhere, _ = another_guild(operator_server.harness)

    text = await operator_server.ask("budgets", server=str(elsewhere.id), usd_per_day="0")

    assert f"budget of server `{elsewhere.id}`: no limit (default) → $0.00 per day" in text
    assert "Got it!" in await operator_server.harness.animate()
    await operator_server.ask("budgets", server=str(here.guild.id), usd_per_day="0")
    assert "doesn't fit the operator's daily budget for this server" in await operator_server.harness.animate()
    assert "of $0.00" in await operator_server.ask("budgets", server=str(here.guild.id))


async def test_a_servers_admins_are_notified_of_a_change_without_the_operators_id(
    operator_server: OperatorServer,
) -> None:
    guild_id = operator_server.harness.offline.guild.id
    async with operator_server.harness.app.database.write() as connection:
        columns = guild_settings.settings_columns(
            GuildSettings(log_channel_id=operator_server.harness.offline.channel.id)
        )
        await guild_settings.write(connection, guild_id, columns)

    await operator_server.ask("budgets", server=str(guild_id), usd_per_day="3")

    told = await operator_server.harness.wait_for_message("The bot's operator changed")
    assert "changed the budget of this server" in told.content
    assert str(operator_server.operator.id) not in told.content


async def test_a_blocked_server_cannot_order_until_it_is_unblocked(operator_server: OperatorServer) -> None:
    here = str(operator_server.harness.offline.guild.id)

    assert "Blocked server" in await operator_server.ask("block", server=here)
    assert "isn't allowed to use the bot" in await operator_server.harness.animate()
    assert "back to the default" in await operator_server.ask("unset", server=here)
    assert "Got it!" in await operator_server.harness.animate()


async def test_blocking_a_server_cancels_its_queued_jobs_and_finishes_its_running_ones(tmp_path: Path) -> None:
    async with open_operator_server(tmp_path, upstream_max_running=1) as operator_server:
        await operator_server.harness.order_endless("the running one")
        await operator_server.harness.animate("the waiting one")
        await operator_server.harness.wait_for_message("the waiting one")

        text = await operator_server.ask("block", server=str(operator_server.harness.offline.guild.id))

        assert "I cancelled 1 queued video at no cost. Videos already being made are paid for" in text
        told = await operator_server.harness.wait_for_message("your video was cancelled")
        assert (
            "The bot's operator doesn't take videos from this server any more. It doesn't count." in told.content
        )
        operator_server.harness.gateway.task_seconds = 0
        await operator_server.harness.wait_for_video()


async def test_a_closed_bot_serves_only_allowed_servers_which_can_be_allowed_before_they_invite_it(
    tmp_path: Path,
) -> None:
    async with open_operator_server(tmp_path, open_to_all_servers=False) as operator_server:
        assert "isn't allowed to use the bot" in await operator_server.harness.animate()

        assert "Allowed server" in await operator_server.ask(
            "allow", server=str(operator_server.harness.offline.guild.id)
        )
        assert "Got it!" in await operator_server.harness.animate()
        assert "Allowed server" in await operator_server.ask("allow", server="123456789012345678")
        assert "back to the default" in await operator_server.ask("unset", server="123456789012345678")


async def test_servers_are_suggested_by_name_and_by_id(operator_server: OperatorServer) -> None:
    guild, _ = another_guild(operator_server.harness, "Cinema club")

    assert [choice["value"] for choice in await operator_server.choices("block", "server", "cinema")] == [
        str(guild.id)
    ]
    assert [choice["value"] for choice in await operator_server.choices("block", "server", str(guild.id))] == [
        str(guild.id)
    ]


async def test_draining_refuses_new_orders_and_says_when_nothing_is_left(operator_server: OperatorServer) -> None:
    await operator_server.harness.order_endless("the last one")

    text = await operator_server.ask("drain", state="on")

    assert "Turned draining on" in text
    assert "1 left: 1 being made" in text
    assert "isn't taking new videos in any server" in await operator_server.harness.animate()
    operator_server.harness.gateway.task_seconds = 0
    await operator_server.harness.wait_for_video()
    assert "nothing is left to finish" in await operator_server.ask("drain")
    assert "Turned draining off" in await operator_server.ask("drain", state="off")
    assert "Got it!" in await operator_server.harness.animate()


async def test_every_operator_action_is_in_the_audit_log_with_its_user(operator_server: OperatorServer) -> None:
    await operator_server.ask("drain", state="on")
    await operator_server.ask("budgets", usd_per_month="50")
    await operator_server.ask("block", server="123456789012345678")

    lines = (await operator_server.ask("log")).splitlines()

    assert [f"<@{operator_server.operator.id}>" in line for line in lines] == [True] * 3
    assert "blocked server `123456789012345678` from making videos" in lines[0]
    assert "per month" in lines[1]
    assert "draining" in lines[2]
