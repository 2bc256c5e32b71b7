"""The operator's texts fit a message, however many servers there are, and hostile names are inert in them."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.chat.messages import cost_texts
from bot.chat.messages import operator_texts as texts
from bot.chat.messages.markdown import CHOICE_MAX, CONTENT_MAX, discord_length
from bot.chat.messages.server_names import OUTSIDE, server_choice
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.guilds import (
    OUTSIDE_SERVERS,
    Access,
    Budget,
    Guild,
    GuildSettings,
    OperatorDefaults,
    OperatorState,
)
from bot.domain.jobs import Job, JobState, Order, ProviderName, StopResult
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.quotas import Spent
from bot.services.operator.reports import (
    AnnouncementReach,
    Costs,
    GateReport,
    KindPrice,
    OperatorOverview,
    ProviderGate,
)
from bot.store.operator_reports import GuildUsage, JobLedger, JobTotal, KindTotal, Price
from tests.providers_asked import DASHSCOPE, P480, P720, VTRIX
from tests.store.factories import NOW

HUGE = Decimal("1000000000000.000000001")
HOSTILE = "**@everyone** `x` [a](http://b) " + "🎬" * 80
IDS = [2**62 + number for number in range(300)]
NAMES = dict.fromkeys(IDS, HOSTILE)
JOB = Job("a-job_of-1234567", JobState.FAILED, IDS[0], 2**62, 2**62, Order("p"), NOW, NOW, estimated_cost_usd=HUGE)
USES = [
    GuildUsage(Guild(guild_id, GuildSettings(paused=True), Access.BLOCKED, left_at=NOW), 10**6, HUGE, 10**7, HUGE,
              10**7, 10**6, 10**5)
    for guild_id in IDS
]  # fmt: skip
REPORT = OperatorOverview(
    state=OperatorState(draining=True, budget=Budget(HUGE, HUGE), max_queued=10**5),
    budget=Budget(HUGE, HUGE),
    queue_max=10**5,
    spent=Spent(10**6, HUGE, HUGE),
    active=dict.fromkeys((JobState.QUEUED, JobState.AWAITING, JobState.RUNNING), 10**5),
)
COSTS = Costs(
    prices=[KindPrice(kind, HUGE, Price(HUGE, 20), HUGE) for kind in (P480, P720)],
    spent=dict.fromkeys(ProviderName, Spent(0, HUGE, HUGE)),
    budgets=dict.fromkeys(ProviderName, Budget(HUGE, HUGE)),
    kinds=dict.fromkeys(EntryKind, KindTotal(10**9, -HUGE)),
    reserved=HUGE,
    held=JobTotal(10**6, HUGE),
    released_after=timedelta(days=40),
    unanswered=JobTotal(10**6, HUGE),
)
ANNOUNCED = AuditedChange(Action.ANNOUNCED, after={"servers": 10**6, "text": HOSTILE * 20})
OLD = AuditedChange(Action.LEGACY, before=HOSTILE * 20, after=HOSTILE * 20 + "x", legacy_what=HOSTILE * 3)
ACCESS = AuditedChange(Action.ACCESS_SET, TargetKind.SERVER, str(2**62), {"access": "open"}, {"access": "blocked"})


def entry(change: AuditedChange) -> AuditEntry:
    return AuditEntry(0, NOW, 2**62, change)


ENTRY = Entry(
    EntryKind.SETTLE, 1, 2, NOW, NOW, Amounts(-1, -1, -HUGE), HOSTILE * 20, credit_grant_id=2**62, actor_id=2**62
)

TEXTS: dict[str, Callable[[], str]] = {
    "servers": lambda: texts.servers(USES, NAMES, REPORT)[0],
    "budgets": lambda: texts.budgets(REPORT, OperatorDefaults(guild_budget=Budget(HUGE, HUGE))),
    "server": lambda: texts.server(USES[0], OperatorDefaults(guild_budget=Budget(HUGE, HUGE)), NAMES),
    "changed": lambda: texts.changed([entry(OLD)] * 20 + [entry(ACCESS)]),
    "access": lambda: texts.access(entry(ACCESS), Access.BLOCKED, 9, open_to_all=False),
    "drain": lambda: texts.drain(REPORT),
    "gate": lambda: texts.gate(
        GateReport(dict.fromkeys(ProviderName, ProviderGate(NOW, HOSTILE * 20, 10**6)), 10**6)
    ),
    "open gate after failures": lambda: texts.gate(
        GateReport({VTRIX: ProviderGate(None, HOSTILE * 20, 10**6)}, 10**6)
    ),
    "unreconciled": lambda: texts.unreconciled([JOB] * 200, NAMES),
    "costs": lambda: cost_texts.costs(COSTS),
    "ledger": lambda: cost_texts.job_ledger(JobLedger(JOB, (ENTRY,) * 100, {HOSTILE: [HOSTILE * 20]}), NAMES),
    "ledger without entries": lambda: cost_texts.job_ledger(JobLedger(JOB, (), {"error": HOSTILE * 20}), NAMES),
    "audit log": lambda: texts.audit_log_lines([entry(OLD), entry(ANNOUNCED)] * 25),
    "announced": lambda: texts.announced(AnnouncementReach(10**6, tuple(IDS)), NAMES),
    "ask": lambda: texts.ask_announce(10**6, 10**6),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_longest_text_fits_a_message_and_pings_nobody(name: str) -> None:
    text = TEXTS[name]()
    assert 0 < discord_length(text) <= CONTENT_MAX
    assert "@everyone" not in text.replace(r"\@everyone", "")
    assert "[a](http" not in text


def test_the_longest_choices_fit_and_contain_their_ids() -> None:
    server, job = server_choice(IDS[0], NAMES), texts.job_choice(JOB, NAMES)
    assert discord_length(server) <= CHOICE_MAX
    assert discord_length(job) <= CHOICE_MAX
    assert str(IDS[0]) in server
    assert JOB.id in job


def test_choices_of_servers_with_the_same_long_name_differ() -> None:
    assert len({server_choice(guild_id, NAMES) for guild_id in IDS}) == len(IDS)


def test_direct_messages_keep_their_name_after_they_were_turned_off() -> None:
    use, job = replace(USES[0], guild=Guild(OUTSIDE_SERVERS)), replace(JOB, guild_id=OUTSIDE_SERVERS)
    said = [
        texts.servers([use], {}, REPORT)[0],
        texts.servers_csv([use], {}).decode(),
        server_choice(OUTSIDE_SERVERS, {}),
        texts.job_choice(job, {}),
    ]
    assert all(OUTSIDE in text for text in said)


def test_servers_that_do_not_fit_are_counted() -> None:
    text, is_whole = texts.servers(USES, NAMES, REPORT)
    assert not is_whole
    left = len(USES) - text.count("-# today")
    assert text.endswith(f"… and {left} more in the file.")


def test_a_few_servers_are_all_shown() -> None:
    text, is_whole = texts.servers(USES[:2], NAMES, REPORT)
    assert is_whole
    assert text.count("-# today") == 2


def test_the_csv_file_lists_every_server_and_contains_no_formula() -> None:
    names = {8: "=cmd()", 2: "+1", 3: "@x", 4: "-2", 5: 'a "quoted", name', 6: "\tx"}
    uses = [GuildUsage(Guild(guild_id), usd_month=Decimal("1E+2")) for guild_id in (*names, 7)]

    rows = list(csv.DictReader(io.StringIO(texts.servers_csv(uses, names).decode("utf-8-sig"))))

    assert [row["name"] for row in rows] == ["'=cmd()", "'+1", "'@x", "'-2", 'a "quoted", name', "x", ""]
    assert {row["usd_month"] for row in rows} == {"100"}


def test_draining_says_when_the_bot_can_be_stopped() -> None:
    empty = OperatorOverview(OperatorState(draining=True), Budget(), 1, Spent(), {})
    assert "nothing is left to finish. You can stop the bot now." in texts.drain(empty)
    assert texts.drain(OperatorOverview(OperatorState(), Budget(), 1, Spent(), {})).startswith(
        "Draining is **off**"
    )


def test_draining_does_not_wait_for_moderators() -> None:
    waiting = OperatorOverview(OperatorState(draining=True), Budget(), 1, Spent(), {JobState.AWAITING: 1})
    both = replace(waiting, active={JobState.AWAITING: 2, JobState.RUNNING: 1})
    none = replace(waiting, active={JobState.RUNNING: 1})

    assert texts.drain(waiting) == (
        "Draining is **on**: I'm not taking new videos. 1 left: 1 waiting for a moderator.\n"
        "Videos waiting for a moderator are kept for 1 day, so you can stop the bot now."
    )
    assert "3 left: 2 waiting for a moderator, 1 being made." in texts.drain(both)
    assert "so you don't have to wait for those." in texts.drain(both)
    assert "moderator" not in texts.drain(none)


def test_what_follows_from_a_found_task_depends_on_whether_the_job_was_cancelled() -> None:
    job = replace(JOB, state=JobState.RUNNING, cancel_requested=False)
    assert "gets the video for free" in texts.found(job)
    assert "nobody gets its video" in texts.found(replace(job, cancel_requested=True))


def test_a_lost_job_says_before_when_it_was_submitted() -> None:
    later = NOW + timedelta(minutes=1)
    text = texts.unreconciled([Job("id", JobState.FAILED, 1, 2, 3, Order("secret"), NOW, later)], {})
    assert f"submitted before <t:{int(later.timestamp())}:f>" in text
    assert "secret" not in text


def test_each_job_to_reconcile_says_at_which_of_several_providers_its_task_may_be() -> None:
    ended = replace(JOB, user_id=1, provider=VTRIX)
    first, second, unknown = ended, replace(ended, provider=DASHSCOPE), replace(ended, provider=None)

    text = texts.unreconciled([first, second, unknown], NAMES)

    assert "Look for each task at DashScope or the Vtrix gateway." in text
    places = [line.rsplit(" · ", 1)[1] for line in text.splitlines() if line.startswith("`")]
    assert places == ["at the Vtrix gateway", "at DashScope", "at any provider"]
    assert "at any provider" not in texts.unreconciled([unknown], NAMES)
    assert "Look for each task in your provider's list." in texts.unreconciled([unknown], NAMES)


def test_the_ledger_shows_the_task_what_became_of_it_and_the_last_response() -> None:
    job = replace(JOB, provider=ProviderName.VTRIX, upstream_id="task1", stop_result=StopResult.ASKED)
    text = cost_texts.job_ledger(JobLedger(job, (ENTRY,), {"last_error": "502 <html>secret source</html>"}), NAMES)
    assert "at the Vtrix gateway · task task1 · asked to stop; the bill isn't known" in text
    assert "last\\_error" in text
    assert "secret source" not in text


def test_a_cancelled_job_to_reconcile_says_that_its_task_was_to_be_stopped() -> None:
    job = replace(JOB, state=JobState.CANCELLED, upstream_id="task1", stop_result=StopResult.ASKED)
    text = texts.unreconciled([job], NAMES)
    assert "task task1, cancelled (asked to stop; the bill isn't known)" in text


def test_a_provider_whose_budget_is_used_up_gets_no_videos_and_the_operator_reads_why() -> None:
    gates = {VTRIX: ProviderGate(None, None, 0, is_out_of_budget=True), DASHSCOPE: ProviderGate(None, None, 0)}
    first, second, queued = texts.gate(GateReport(gates, 3)).splitlines()
    assert first == (
        "I'm **not submitting** videos to the Vtrix gateway: its budget in the bot's settings is used up for this "
        "day or month (UTC). `/operator costs` shows how much it is."
    )
    assert second == "I'm submitting videos to DashScope."
    assert queued == "3 videos queued."


def test_a_provider_that_is_not_asked_any_more_is_told_with_what_still_runs_there() -> None:
    report = GateReport({VTRIX: ProviderGate(None, None, 0)}, 0, {DASHSCOPE: 2})
    assert "`PROVIDERS` doesn't name DashScope, where 2 videos are still being made." in texts.gate(report)
    one = texts.gate(replace(report, former={DASHSCOPE: 1}))
    assert "where 1 video is still being made." in one


def test_a_price_of_a_provider_that_names_no_costs_is_what_is_set() -> None:
    kind = P720._replace(provider=DASHSCOPE)
    text = cost_texts.costs(replace(COSTS, prices=[KindPrice(kind, Decimal("0.14"), None, Decimal("0.14"))]))
    assert "720P: **$0.14** (from the settings)\n" in text


def test_costs_are_told_by_provider_with_their_budgets() -> None:
    spent = {
        VTRIX: Spent(0, Decimal("0.5"), Decimal(3)),
        DASHSCOPE: Spent(0, Decimal(0), Decimal("1.25")),
    }
    budgets = {VTRIX: Budget(Decimal(1), None), DASHSCOPE: Budget(None, Decimal(20))}
    text = cost_texts.costs(replace(COSTS, prices=[], spent=spent, budgets=budgets))
    assert "The Vtrix gateway: $0.50 of $1.00 today, $3.00 this month\n" in text
    assert "DashScope: $0.00 today, $1.25 of $20.00 this month\n" in text


@pytest.mark.parametrize(("budget", "is_told"), [(Budget(), False), (Budget(Decimal(1)), True)])
def test_the_only_provider_is_told_apart_only_if_it_has_a_budget_of_its_own(budget: Budget, is_told: bool) -> None:  # noqa: FBT001
    only = {VTRIX: Spent(0, Decimal("0.5"), Decimal(3))}
    text = cost_texts.costs(replace(COSTS, prices=[], spent=only, budgets={VTRIX: budget}))
    assert ("The Vtrix gateway:" in text) == is_told


def test_servers_are_told_by_provider_where_more_than_one_was_used() -> None:
    usd = {VTRIX: Decimal("0.25"), DASHSCOPE: Decimal("0.5")}
    use = GuildUsage(Guild(7), usd_month=Decimal("0.75"), usd_by_provider=usd)
    other = GuildUsage(Guild(8))
    assert "$0.50 at DashScope · $0.25 at the Vtrix gateway" in texts.servers([use], {}, REPORT)[0]
    rows = list(csv.DictReader(io.StringIO(texts.servers_csv([use, other], {}).decode("utf-8-sig"))))
    assert [(row["usd_month_vtrix"], row["usd_month_dashscope"]) for row in rows] == [("0.25", "0.5"), ("0", "0")]
    assert not any(
        "vtrix" in name
        for name in csv.DictReader(io.StringIO(texts.servers_csv([other], {}).decode("utf-8-sig"))).fieldnames
        or []
    )
