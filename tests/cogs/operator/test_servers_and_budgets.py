"""`/operator`, with two servers beside the operator's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import ChannelHandle, GuildHandle, InteractionResult, MemberActor, UserHandle

from bot.domain.guilds import Access, GuildSettings
from bot.domain.jobs import FailureReason, Job, JobState
from bot.services.operator.service import OperatorService
from bot.store.guilds import guild_settings
from tests.cogs.admins import another_guild, bypass_client_check, choices_bypassing_client_check, text_of
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.faulty_gateway import Ending, Fault, Route

MANAGE_GUILD = discord.Permissions(manage_guild=True)
OPERATOR_GUILD_ID = 770_000_000_000_000_001
COMMANDS = {
    "operator servers",
    "operator budgets",
    "operator allow",
    "operator block",
    "operator unset",
    "operator drain",
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


@dataclass
class OperatorServer:
    """The operator's own server, with the operator in it."""

    harness: CogHarness
    guild: GuildHandle
    channel: ChannelHandle
    user: UserHandle
    operator: MemberActor

    @property
    def service(self) -> OperatorService:
        assert self.harness.bot.services.operator is not None
        return self.harness.bot.services.operator

    async def send(self, command: str, who: MemberActor | None = None, /, **options: Any) -> InteractionResult:
        result = await (who or self.operator).slash(self.channel, f"operator {command}", **options)
        assert result.ephemeral, "the answer is public"
        return result

    async def ask(self, command: str, /, **options: Any) -> str:
        """The operator sends a command; what the private answer says."""
        return text_of(await self.send(command, **options))

    async def choices(self, command: str, option: str, value: str = "") -> Sequence[Any]:
        return await self.operator.autocomplete(self.channel, f"operator {command}", option, value)

    def remove_operator(self) -> None:
        """Takes the operator's rights away."""
        self.service.user_ids = frozenset()

    async def job(self) -> Job:
        """The one job of the first member."""
        offline = self.harness.offline
        [job] = await self.harness.app.service.recent(offline.guild.id, offline.viewer.id)
        return job


@asynccontextmanager
async def open_operator_server(folder: Path, **settings: Any) -> AsyncIterator[OperatorServer]:
    given = {"operator_guild_id": OPERATOR_GUILD_ID, "operator_user_ids": (1,), **settings}
    async with open_cog_harness(folder, **given) as harness:
        env = harness.offline._env
        guild = env.create_guild("Office", id=OPERATOR_GUILD_ID)
        channel = guild.create_text_channel("operators")
        operator = env.create_user("operator")
        # The user's id is known only once the user exists.
        assert harness.bot.services.operator is not None
        harness.bot.services.operator.user_ids = frozenset({operator.id})
        role = guild.create_role("Bosses", permissions=MANAGE_GUILD)
        yield OperatorServer(harness, guild, channel, operator, guild.add_member(operator, roles=[role]))


@pytest.fixture
async def operator_server(tmp_path: Path) -> AsyncIterator[OperatorServer]:
    async with open_operator_server(tmp_path) as operator_server:
        yield operator_server


async def a_lost_order(operator_server: OperatorServer) -> Job:
    """A job whose submission was never answered."""
    operator_server.harness.gateway.fault(Route.CREATE, Fault(ending=Ending.RESET))
    await operator_server.harness.animate("the lost one")
    await operator_server.harness.wait_for_message("didn't work")
    job = next(it for it in await _all_jobs(operator_server) if it.order.prompt == "the lost one")
    assert job.failure_reason is FailureReason.OUTCOME_UNKNOWN
    return job


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


async def test_the_servers_command_lists_all_servers_the_most_expensive_first(
    operator_server: OperatorServer,
) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_message("is ready")
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
    await operator_server.harness.wait_for_message("is ready")

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
        operator_server.harness.gateway.task_seconds = 3600
        await operator_server.harness.animate("the running one")
        await operator_server.harness.wait_for_message("is being made")
        await operator_server.harness.animate("the waiting one")
        await operator_server.harness.wait_for_message("the waiting one")

        text = await operator_server.ask("block", server=str(operator_server.harness.offline.guild.id))

        assert "I cancelled 1 queued video at no cost. Videos already being made are paid for" in text
        told = await operator_server.harness.wait_for_message("your video was cancelled")
        assert (
            "The bot's operator doesn't take videos from this server any more. It doesn't count." in told.content
        )
        operator_server.harness.gateway.task_seconds = 0
        await operator_server.harness.wait_for_message("is ready")


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
    operator_server.harness.gateway.task_seconds = 3600
    await operator_server.harness.animate("the last one")
    await operator_server.harness.wait_for_message("is being made")

    text = await operator_server.ask("drain", state="on")

    assert "Turned draining on" in text
    assert "1 left: 1 being made" in text
    assert "isn't taking new videos in any server" in await operator_server.harness.animate()
    operator_server.harness.gateway.task_seconds = 0
    await operator_server.harness.wait_for_message("is ready")
    assert "nothing is left to finish" in await operator_server.ask("drain")
    assert "Turned draining off" in await operator_server.ask("drain", state="off")
    assert "Got it!" in await operator_server.harness.animate()


async def test_a_lost_order_is_listed_without_its_prompt(operator_server: OperatorServer) -> None:
    job = await a_lost_order(operator_server)

    text = await operator_server.ask("reconcile list")

    assert f"`{job.id}`" in text
    assert "720P · about $0.20" in text
    assert f"member `{job.user_id}`" in text
    assert "the lost one" not in text
    assert [choice["value"] for choice in await operator_server.choices("reconcile found", "job", job.id)] == [
        job.id
    ]


async def test_the_video_of_a_found_task_is_delivered_for_free(operator_server: OperatorServer) -> None:
    await operator_server.harness.animate("another one")
    await operator_server.harness.wait_for_message("is ready")
    [task] = operator_server.harness.gateway.tasks
    other = await operator_server.job()
    job = await a_lost_order(operator_server)

    taken = await operator_server.ask("reconcile found", job=job.id, upstream_id=str(other.upstream_id))
    assert "Another job already has that task id" in taken

    operator_server.harness.gateway.tasks["task-found"] = replace(
        operator_server.harness.gateway.tasks[task], id="task-found"
    )
    text = await operator_server.ask("reconcile found", job=job.id, upstream_id=" task-found ")

    assert "continues with task task" in text
    await operator_server.harness.wait_for_message_where(
        lambda it: bool(it.attachments) and "the lost one" in it.content
    )
    await operator_server.harness.wait_for_message_where(
        lambda it: "is ready" in it.content and "the lost one" in it.content
    )
    assert "Nothing needs reconciling" in await operator_server.ask("reconcile list")
    [revived] = [it for it in await _all_jobs(operator_server) if it.id == job.id]
    assert (revived.state, revived.charged) == (JobState.DELIVERED, False)
    ledger = await operator_server.ask("ledger", job=job.id)
    assert "0 videos" in ledger
    assert f"<@{operator_server.operator.id}>" in ledger


async def test_a_lost_order_without_a_task_is_closed(operator_server: OperatorServer) -> None:
    job = await a_lost_order(operator_server)

    text = await operator_server.ask("reconcile lost", job=job.id)

    assert "it has no task" in text
    assert "Nothing needs reconciling" in await operator_server.ask("reconcile list")
    assert "nothing to reconcile" in await operator_server.ask("reconcile lost", job=job.id)
    assert f"job `{job.id}`" in await operator_server.ask("log")


@pytest.mark.parametrize("upstream_id", ["x", "has blanks", "a/../b", "?x=1234", "x" * 201, "日本日本"])
async def test_an_invalid_task_id_is_refused(operator_server: OperatorServer, upstream_id: str) -> None:
    assert "That isn't a task id" in await operator_server.ask(
        "reconcile found", job="some-job", upstream_id=upstream_id
    )


async def test_an_unknown_job_is_reported_as_unknown(operator_server: OperatorServer) -> None:
    assert "no job with that id" in await operator_server.ask("reconcile lost", job="x")
    assert "no job with that id" in await operator_server.ask("reconcile found", job="x", upstream_id="task-1")
    assert "no job with that id" in await operator_server.ask("ledger", job="x")


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


async def test_the_costs_command_shows_prices_and_unknown_costs(operator_server: OperatorServer) -> None:
    await a_lost_order(operator_server)

    text = await operator_server.ask("costs")

    assert "720P: **$0.20** (from the settings; 0 paid so far; setting: $0.20)" in text
    assert "may have cost another $0.20" in text
    assert "total: **$0.00**" in text


async def test_the_ledger_explains_a_job_line_by_line(operator_server: OperatorServer) -> None:
    await operator_server.harness.animate()
    await operator_server.harness.wait_for_message("is ready")
    job = await operator_server.job()

    text = await operator_server.ask("ledger", job=job.id)

    assert "**reserve** videos +1, $0.20" in text
    assert "accepted" in text


async def test_every_operator_action_is_in_the_audit_log_with_its_user(operator_server: OperatorServer) -> None:
    await operator_server.ask("drain", state="on")
    await operator_server.ask("budgets", usd_per_month="50")
    await operator_server.ask("block", server="123456789012345678")

    lines = (await operator_server.ask("log")).splitlines()

    assert [f"<@{operator_server.operator.id}>" in line for line in lines] == [True] * 3
    assert "blocked server `123456789012345678` from making videos" in lines[0]
    assert "per month" in lines[1]
    assert "draining" in lines[2]


async def test_every_reply_to_the_operator_is_private(operator_server: OperatorServer) -> None:
    for command in sorted(COMMANDS):
        await operator_server.send(command.removeprefix("operator "), **OPTIONS.get(command, {}))

    assert [message for message in operator_server.channel.history() if not message.flags.ephemeral] == []
    assert (await operator_server.service.overview()).spent.usd_today == Decimal(0)
    assert (await operator_server.service.server(5)).guild.access is Access.OPEN


async def _all_jobs(operator_server: OperatorServer) -> list[Job]:
    offline = operator_server.harness.offline
    return await operator_server.harness.app.service.recent(offline.guild.id, offline.viewer.id)
