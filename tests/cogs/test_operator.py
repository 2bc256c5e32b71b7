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

from bot.demo.faults import Ending, Fault, Route
from bot.domain.guilds import Access, GuildSettings
from bot.domain.jobs import FailureReason, Job, JobState
from bot.services.operator.service import OperatorService
from bot.store.guilds import guild_settings
from tests.cogs.admins import another_guild, slip, slipped_choices, text_of
from tests.cogs.conftest import Town, a_town

MANAGING = discord.Permissions(manage_guild=True)
OFFICE_ID = 770_000_000_000_000_001
LEAVES = {
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
class Office:
    """The operator's own server, with the operator in it."""

    town: Town
    guild: GuildHandle
    channel: ChannelHandle
    user: UserHandle
    operator: MemberActor

    @property
    def desk(self) -> OperatorService:
        assert self.town.bot.services.operator is not None
        return self.town.bot.services.operator

    async def send(self, command: str, who: MemberActor | None = None, /, **options: Any) -> InteractionResult:
        result = await (who or self.operator).slash(self.channel, f"operator {command}", **options)
        assert result.ephemeral, "the answer is public"
        return result

    async def ask(self, command: str, /, **options: Any) -> str:
        """The operator sends a command; what the private answer says."""
        return text_of(await self.send(command, **options))

    async def choices(self, command: str, option: str, value: str = "") -> Sequence[Any]:
        return await self.operator.autocomplete(self.channel, f"operator {command}", option, value)

    def dismiss(self) -> None:
        """The operator is one no longer."""
        self.desk.user_ids = frozenset()

    async def job(self) -> Job:
        """The one job of the first member."""
        offline = self.town.offline
        [job] = await self.town.app.service.recent(offline.guild_id, offline.viewer_id)
        return job


@asynccontextmanager
async def an_office(folder: Path, **settings: Any) -> AsyncIterator[Office]:
    given = {"operator_guild_id": OFFICE_ID, "operator_user_ids": (1,), **settings}
    async with a_town(folder, **given) as town:
        env = town.offline._env
        guild = env.create_guild("Office", id=OFFICE_ID)
        channel = guild.create_text_channel("desk")
        boss = env.create_user("boss")
        # Ids are known here only once their bearers exist.
        assert town.bot.services.operator is not None
        town.bot.services.operator.user_ids = frozenset({boss.id})
        role = guild.create_role("Bosses", permissions=MANAGING)
        yield Office(town, guild, channel, boss, guild.add_member(boss, roles=[role]))


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as office:
        yield office


async def a_lost_order(office: Office) -> Job:
    """A job whose submission was never answered."""
    office.town.gateway.fault(Route.CREATE, Fault(ending=Ending.RESET))
    await office.town.animate("the lost one")
    await office.town.saying("didn't work")
    job = next(it for it in await _all_jobs(office) if it.order.prompt == "the lost one")
    assert job.failure_reason is FailureReason.OUTCOME_UNKNOWN
    return job


async def test_the_operator_is_offered_the_commands_in_the_operators_server(office: Office) -> None:
    offered = {name for name in office.operator.available_commands(office.channel) if name.startswith("operator")}

    assert offered == LEAVES


async def test_elsewhere_nobody_is_offered_them_not_even_the_operator(office: Office) -> None:
    elsewhere = office.town.offline._guild
    role = elsewhere.create_role("Managers", permissions=MANAGING)
    there = elsewhere.add_member(office.user, roles=[role])

    offered = there.available_commands(office.town.offline._channel)

    assert not [name for name in offered if name.startswith("operator")]


async def test_an_ordinary_member_of_the_operators_server_is_not_offered_them(office: Office) -> None:
    guest = office.guild.add_member(office.town.offline._env.create_user("guest"))

    assert not [name for name in guest.available_commands(office.channel) if name.startswith("operator")]


async def test_an_admin_of_the_operators_server_who_is_no_operator_is_refused(office: Office) -> None:
    role = office.guild.create_role("Managers", permissions=MANAGING)
    admin = office.guild.add_member(office.town.offline._env.create_user("admin"), roles=[role])

    for command in sorted(LEAVES):
        result = await slip(admin, office.channel, command, **OPTIONS.get(command, {}))

        assert text_of(result) == "That's for the bot's operator, in their own server.", command
        assert result.ephemeral
    assert await office.desk.audit_log() == []


@pytest.mark.parametrize(
    ("command", "option"), [("allow", "server"), ("budgets", "server"), ("reconcile found", "job")]
)
async def test_nobody_else_gets_suggestions(office: Office, command: str, option: str) -> None:
    role = office.guild.create_role("Managers", permissions=MANAGING)
    admin = office.guild.add_member(office.town.offline._env.create_user("admin"), roles=[role])

    assert not await slipped_choices(admin, office.channel, f"operator {command}", option)
    assert await office.choices("allow", "server")


async def test_without_a_server_for_the_operator_the_commands_are_not_registered(tmp_path: Path) -> None:
    async with a_town(tmp_path) as town:
        guild = town.offline._env.create_guild("Office", id=OFFICE_ID)
        role = guild.create_role("Bosses", permissions=MANAGING)
        boss = guild.add_member(town.offline._env.create_user("boss"), roles=[role])
        channel = guild.create_text_channel("desk")

        assert not [name for name in boss.available_commands(channel) if name.startswith("operator")]


async def test_servers_lists_all_of_them_the_most_expensive_first(office: Office) -> None:
    await office.town.animate()
    await office.town.saying("is ready")
    another_guild(office.town, "Quiet *corner*")

    text = await office.ask("servers")

    assert text.startswith("**3 servers** · today ")
    lines = text.splitlines()
    assert lines[1].startswith("**Zoetrope demo**")
    assert "(100% of the total)" in lines[2]
    assert r"**Quiet \*corner\***" in text


async def test_a_server_that_does_not_fit_is_in_the_file(office: Office) -> None:
    for number in range(40):
        another_guild(office.town, f"{'=cmd' * 10} {number}")

    result = await office.send("servers")

    assert result.response is not None
    assert "more in the file" in result.response.content
    assert len(result.response.content) <= 2000
    [file] = result.response.attachments
    data = (await file.read()).decode("utf-8-sig").splitlines()
    assert len(data) == 1 + 42
    assert sum("'=cmd" in row for row in data) == 40


async def test_budgets_shows_what_is_used_and_where_the_limits_come_from(office: Office) -> None:
    await office.town.animate()
    await office.town.saying("is ready")

    text = await office.ask("budgets")

    assert "of $10.00" in text
    assert "of $100.00" in text
    assert text.count("(default)") == 3


async def test_a_budget_of_everything_is_changed_and_holds_at_once(office: Office) -> None:
    text = await office.ask("budgets", usd_per_day="$0.10")

    assert "$10.00 (default) → $0.10 per day" in text
    assert "doesn't fit the bot's daily budget" in await office.town.animate()


async def test_a_budget_goes_back_to_the_setting(office: Office) -> None:
    await office.ask("budgets", usd_per_day="2", queue_max="3")

    text = await office.ask("budgets", usd_per_day="setting", queue_max="setting")

    assert "$2.00 → $10.00 (default) per day" in text
    assert "3 → 1,000 (default)" in text


async def test_a_budget_that_is_as_it_was_is_no_change(office: Office) -> None:
    await office.ask("budgets", usd_per_day="2")

    assert await office.ask("budgets", usd_per_day="2.00") == "Nothing changed: it was already set that way."


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
async def test_what_can_not_be_set_changes_nothing(office: Office, options: dict[str, str], says: str) -> None:
    assert says in await office.ask("budgets", **options)
    assert "no operator has changed anything yet" in (await office.ask("log")).lower()


async def test_one_servers_budget_holds_there_and_nowhere_else(office: Office) -> None:
    here = office.town.offline
    elsewhere, _ = another_guild(office.town)

    text = await office.ask("budgets", server=str(elsewhere.id), usd_per_day="0")

    assert f"budget of server `{elsewhere.id}`: no limit (default) → $0.00 per day" in text
    assert "Got it!" in await office.town.animate()
    await office.ask("budgets", server=str(here.guild_id), usd_per_day="0")
    assert "doesn't fit the operator's daily budget for this server" in await office.town.animate()
    assert "of $0.00" in await office.ask("budgets", server=str(here.guild_id))


async def test_a_servers_admins_see_what_was_changed_for_them_but_not_by_whom(office: Office) -> None:
    guild_id = office.town.offline.guild_id
    async with office.town.app.database.write() as connection:
        columns = guild_settings.settings_columns(GuildSettings(log_channel_id=office.town.offline.channel_id))
        await guild_settings.write(connection, guild_id, columns)

    await office.ask("budgets", server=str(guild_id), usd_per_day="3")

    told = await office.town.saying("The bot's operator changed")
    assert "changed the budget of this server" in told.content
    assert str(office.operator.id) not in told.content


async def test_a_blocked_server_orders_nothing_until_it_is_let_in_again(office: Office) -> None:
    here = str(office.town.offline.guild_id)

    assert "Blocked server" in await office.ask("block", server=here)
    assert "isn't allowed to use the bot" in await office.town.animate()
    assert "back to the default" in await office.ask("unset", server=here)
    assert "Got it!" in await office.town.animate()


async def test_what_waits_in_a_blocked_server_is_cancelled_and_what_runs_is_finished(tmp_path: Path) -> None:
    async with an_office(tmp_path, upstream_max_running=1) as office:
        office.town.gateway.task_seconds = 3600
        await office.town.animate("the running one")
        await office.town.saying("is being made")
        await office.town.animate("the waiting one")
        await office.town.saying("the waiting one")

        text = await office.ask("block", server=str(office.town.offline.guild_id))

        assert "I cancelled 1 queued video at no cost. Videos already being made are paid for" in text
        told = await office.town.saying("your video was cancelled")
        assert (
            "The bot's operator doesn't take videos from this server any more. It doesn't count." in told.content
        )
        office.town.gateway.task_seconds = 0
        await office.town.saying("is ready")


async def test_a_closed_house_lets_in_whom_the_operator_allows_before_they_invite_it(tmp_path: Path) -> None:
    async with an_office(tmp_path, open_to_all_servers=False) as office:
        assert "isn't allowed to use the bot" in await office.town.animate()

        assert "Allowed server" in await office.ask("allow", server=str(office.town.offline.guild_id))
        assert "Got it!" in await office.town.animate()
        assert "Allowed server" in await office.ask("allow", server="123456789012345678")
        assert "back to the default" in await office.ask("unset", server="123456789012345678")


async def test_servers_are_suggested_by_name_and_by_id(office: Office) -> None:
    guild, _ = another_guild(office.town, "Cinema club")

    assert [choice["value"] for choice in await office.choices("block", "server", "cinema")] == [str(guild.id)]
    assert [choice["value"] for choice in await office.choices("block", "server", str(guild.id))] == [
        str(guild.id)
    ]


async def test_draining_takes_nothing_new_and_says_when_nothing_is_left(office: Office) -> None:
    office.town.gateway.task_seconds = 3600
    await office.town.animate("the last one")
    await office.town.saying("is being made")

    text = await office.ask("drain", state="on")

    assert "Turned draining on" in text
    assert "1 left: 1 being made" in text
    assert "isn't taking new videos in any server" in await office.town.animate()
    office.town.gateway.task_seconds = 0
    await office.town.saying("is ready")
    assert "nothing is left to finish" in await office.ask("drain")
    assert "Turned draining off" in await office.ask("drain", state="off")
    assert "Got it!" in await office.town.animate()


async def test_a_lost_order_is_listed_without_its_prompt(office: Office) -> None:
    job = await a_lost_order(office)

    text = await office.ask("reconcile list")

    assert f"`{job.id}`" in text
    assert "720P · about $0.20" in text
    assert f"member `{job.user_id}`" in text
    assert "the lost one" not in text
    assert [choice["value"] for choice in await office.choices("reconcile found", "job", job.id)] == [job.id]


async def test_a_task_that_was_found_is_delivered_for_free(office: Office) -> None:
    await office.town.animate("another one")
    await office.town.saying("is ready")
    [task] = office.town.gateway.tasks
    other = await office.job()
    job = await a_lost_order(office)

    taken = await office.ask("reconcile found", job=job.id, upstream_id=str(other.upstream_id))
    assert "Another job already has that task id" in taken

    office.town.gateway.tasks["task-found"] = replace(office.town.gateway.tasks[task], id="task-found")
    text = await office.ask("reconcile found", job=job.id, upstream_id=" task-found ")

    assert "continues with task task" in text
    await office.town.message(lambda it: bool(it.attachments) and "the lost one" in it.content)
    await office.town.message(lambda it: "is ready" in it.content and "the lost one" in it.content)
    assert "Nothing needs reconciling" in await office.ask("reconcile list")
    [revived] = [it for it in await _all_jobs(office) if it.id == job.id]
    assert (revived.state, revived.charged) == (JobState.DELIVERED, False)
    ledger = await office.ask("ledger", job=job.id)
    assert "0 videos" in ledger
    assert f"<@{office.operator.id}>" in ledger


async def test_an_order_without_a_task_is_closed(office: Office) -> None:
    job = await a_lost_order(office)

    text = await office.ask("reconcile lost", job=job.id)

    assert "it has no task" in text
    assert "Nothing needs reconciling" in await office.ask("reconcile list")
    assert "nothing to reconcile" in await office.ask("reconcile lost", job=job.id)
    assert f"job `{job.id}`" in await office.ask("log")


@pytest.mark.parametrize("upstream_id", ["x", "has blanks", "a/../b", "?x=1234", "x" * 201, "日本日本"])
async def test_what_is_no_task_id_is_refused(office: Office, upstream_id: str) -> None:
    assert "That isn't a task id" in await office.ask("reconcile found", job="some-job", upstream_id=upstream_id)


async def test_an_unknown_job_is_said_to_be_unknown(office: Office) -> None:
    assert "no job with that id" in await office.ask("reconcile lost", job="x")
    assert "no job with that id" in await office.ask("reconcile found", job="x", upstream_id="task-1")
    assert "no job with that id" in await office.ask("ledger", job="x")


async def test_an_announcement_asks_first_and_goes_to_every_server_once(office: Office) -> None:
    async with office.town.app.database.write() as connection:
        columns = guild_settings.settings_columns(GuildSettings(log_channel_id=office.town.offline.channel_id))
        await guild_settings.write(connection, office.town.offline.guild_id, columns)

    question = await office.send("announce", text="**Back** at <t:0:R> @everyone")
    assert question.response is not None
    asked = question.response.content
    assert "posted in **1 server**, in the log channel" in asked
    assert "I can't post in 1 more server." in asked
    assert question.response.embeds[0].description == "**Back** at <t:0:R> @everyone"

    sent = await office.operator.click(question.response.message, label="Send it")

    assert "On its way to 1 server." in text_of(sent)
    told = await office.town.saying("**Back** at")
    assert not told.mention_everyone
    assert "announced to 1 server" in await office.ask("log")


async def test_who_is_no_operator_any_more_can_not_send_it(office: Office) -> None:
    question = await office.send("announce", text="hello")
    assert question.response is not None

    office.dismiss()
    sent = await office.operator.click(question.response.message, label="Send it")

    assert "for the bot's operator" in text_of(sent)


async def test_costs_shows_prices_and_what_nobody_knows(office: Office) -> None:
    await a_lost_order(office)

    text = await office.ask("costs")

    assert "720P: **$0.20** (from the settings; 0 paid so far; setting: $0.20)" in text
    assert "may have cost another $0.20" in text
    assert "total: **$0.00**" in text


async def test_the_ledger_explains_a_job_line_by_line(office: Office) -> None:
    await office.town.animate()
    await office.town.saying("is ready")
    job = await office.job()

    text = await office.ask("ledger", job=job.id)

    assert "**reserve** videos +1, $0.20" in text
    assert "accepted" in text


async def test_every_act_is_in_the_log_with_who_did_it(office: Office) -> None:
    await office.ask("drain", state="on")
    await office.ask("budgets", usd_per_month="50")
    await office.ask("block", server="123456789012345678")

    lines = (await office.ask("log")).splitlines()

    assert [f"<@{office.operator.id}>" in line for line in lines] == [True] * 3
    assert "blocked server `123456789012345678` from making videos" in lines[0]
    assert "per month" in lines[1]
    assert "draining" in lines[2]


async def test_nothing_of_the_operators_is_public(office: Office) -> None:
    for command in sorted(LEAVES):
        await office.send(command.removeprefix("operator "), **OPTIONS.get(command, {}))

    assert [message for message in office.channel.history() if not message.flags.ephemeral] == []
    assert (await office.desk.overview()).spent.usd_today == Decimal(0)
    assert (await office.desk.server(5)).guild.access is Access.OPEN


async def _all_jobs(office: Office) -> list[Job]:
    offline = office.town.offline
    return await office.town.app.service.recent(offline.guild_id, offline.viewer_id)
