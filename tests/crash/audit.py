"""Compares what the gateway saw, what Discord shows, what the database says and what the ledger charges.

Each difference is a sentence. One is allowed: a job whose worker died while submitting it ends as
`outcome_unknown`, free for its member and reported, because nobody can know whether a task exists.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from bot.domain.audit_log import Action
from bot.domain.jobs import ENDED, Job, JobState
from bot.domain.ledger import Amounts
from bot.store.engine import Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import ledger as ledger_store
from bot.store.money_tables import ledger
from bot.store.schema import audit_log, first_frames, kept_pictures
from tests.crash.harness import Harness
from tests.crash.scenario import Order, Scenario
from tests.crash.scripted_dashscope import price_usd
from tests.discord_server import Message
from tests.providers_asked import DASHSCOPE, VTRIX
from tests.store.money.sums import wrong_sums

PRICE_USD = Decimal("0.10")
"""What the local gateway charges for a video of the resolution that is ordered here."""

EXPECTED_ENDS: dict[str, set[str]] = {
    "plain": {"delivered"},
    "busy": {"delivered"},
    "queued": {"cancelled", "delivered"},
    "refused": {"failed: refused"},
    "closed": {"delivered"},
    "moved": {"delivered"},
    "crossed": {"delivered, found"},
    "fails": {"failed: upstream_failed"},
    "held": {"cancelled, paid"},
    "unanswered": {"delivered, found"},
    "untaken": {"failed: lost"},
    "approved": {"delivered"},
    "declined": {"failed: declined"},
    "waiting": {"cancelled"},
}
"""How each order ends where no process is killed."""

_REFUSED = ("refused", "moved", "crossed")
"""Orders that the first provider refuses, and that it must not be asked to make a second time."""

INTERRUPTED_ENDS = {
    "failed: outcome_unknown",
    "failed: lost",
    "delivered, found",
    "delivered, late",
    "failed, late",
}
"""How an order ends whose worker died while submitting it, or was paused; the operator writes some of them off."""

_ANNOUNCED_BEFORE = {"delivered, found", "delivered, late", "failed, late"}
"""Ends of orders that had failed before, as their outcome was unknown."""


@dataclass(frozen=True)
class Findings:
    """problems: one sentence each, none if all is well. ends: how many orders ended in which way."""

    problems: list[str]
    ends: Counter[str]


async def audit(scenario: Scenario) -> Findings:
    """Compares everything once the scenario has ended."""
    harness = scenario.harness
    async with harness.engine.connect() as connection:
        found = [job_of(row) for row in await connection.execute(select_jobs())]
    by_prompt = {job.order.prompt: job for job in found}
    entries = await harness.rows(ledger)
    found_tasks = {row.target_id for row in await harness.rows(audit_log) if row.action == Action.TASK_FOUND}
    problems = [*harness.problems]
    ends: Counter[str] = Counter()
    if len(found) != len(by_prompt):
        problems.append("one order has two jobs")
    pictures = {row.job_id for row in await harness.rows(first_frames)}
    if pictures != {row.job_id for row in await harness.rows(kept_pictures) if row.ended_at is not None}:
        problems.append("a picture would be kept for ever")
    for order in scenario.orders:
        job = by_prompt.get(order.prompt)
        if job is None:
            problems.append(f"{order.prompt}: there is no job of it, the member was answered {order.replies}")
            continue
        sums = [Amounts(entry.videos, entry.credits, entry.usd) for entry in entries if entry.job_id == job.id]
        end = _outcome_of(job, found=job.id in found_tasks)
        if end == "failed: upstream_failed" and _times_lost(harness, job):
            end = "failed, late"
        ends[end] += 1
        differences = [
            *_outcome_differences(harness, order, job, end),
            *_gateway_differences(harness, job, end),
            *_message_differences(harness, order, job, end),
            *_notification_differences(harness, order, job, end),
            *_charge_differences(harness, job, sum(sums, Amounts()), end),
        ]
        problems += [f"{order.prompt} ({end}): {difference}" for difference in differences]
    problems += [difference async for difference in _totals_differences(harness, found)]
    return Findings(problems, ends)


def _outcome_of(job: Job, *, found: bool) -> str:
    if job.state is JobState.FAILED:
        return f"failed: {job.failure_reason}"
    if job.state is JobState.CANCELLED and job.charged:
        return "cancelled, paid"
    if job.state is JobState.DELIVERED and not job.charged:
        return "delivered, found" if found else "delivered, late"
    return str(job.state)


def _outcome_differences(harness: Harness, order: Order, job: Job, end: str) -> Iterator[str]:
    if job.state not in ENDED:
        yield f"is still {job.state}"
        return
    expected = EXPECTED_ENDS[order.prompt.split()[0]]
    if end in expected:
        return
    interrupted = order.prompt in harness.submitting_when_killed
    if not (interrupted and end in INTERRUPTED_ENDS):
        yield f"should have ended as {' or '.join(sorted(expected))}"


def _gateway_differences(harness: Harness, job: Job, end: str) -> Iterator[str]:
    prompt = job.order.prompt
    tasks, gateways = harness.tasks_of(prompt), (harness.upstream, harness.second)
    asked = sum(gateway.creates[prompt] for gateway in gateways)
    turned_away = sum(gateway.turned_away[prompt] for gateway in gateways)
    if len(tasks) > 1:
        yield f"{len(tasks)} tasks were paid"
    if asked - turned_away > 1:
        yield f"it was submitted {asked} times"
    if end.startswith(("delivered", "cancelled, paid")) and [task.id for task in tasks] != [job.upstream_id]:
        yield f"its task is {job.upstream_id}, the providers have {[task.id for task in tasks]}"
    if tasks and job.provider is not (VTRIX if tasks[0].id in harness.upstream.tasks else DASHSCOPE):
        yield f"its row says that {job.provider} made it"
    if any(gateway.creates[prompt] > 1 and prompt.split()[0] in _REFUSED for gateway in gateways):
        yield "it went back to who had refused it"
    if end in {"cancelled", "failed: declined"} and asked:
        yield "it was submitted, though it ended before"


def _message_differences(harness: Harness, order: Order, job: Job, end: str) -> Iterator[str]:
    messages = harness.discord.messages(order.channel.id)
    videos = [message for message in messages if f"zoetrope:video:{job.id}" in message.custom_ids]
    expected = 1 if job.state is JobState.DELIVERED else 0
    if len(videos) != expected:
        yield f"{len(videos)} videos are posted instead of {expected}"
    if videos and videos[0].id != job.result_message_id:
        yield "its row names another message than the video's"
    kinds = {f"zoetrope:cancel:{job.id}", f"zoetrope:status:{job.id}"}
    cards = [message for message in messages if kinds & set(message.custom_ids)]
    if cards:
        yield f"{len(cards)} status cards are left"
    notes = [message for message in messages if f"zoetrope:note:{job.id}" in message.custom_ids]
    # A job that the operator reconciled at once may be resumed before its failure is announced.
    failures = (job.state is JobState.FAILED) + (end in _ANNOUNCED_BEFORE)
    expected_notes = {failures, failures - 1} if end in _ANNOUNCED_BEFORE else {failures}
    if len(notes) not in expected_notes:
        yield f"{len(notes)} notes of its end"


def _notification_differences(harness: Harness, order: Order, job: Job, end: str) -> Iterator[str]:
    """Approval cards and log channels. Each of their messages names the prompt or the job."""
    in_open_channel = order.channel is harness.open_channel
    log = harness.discord.messages((harness.open_log if in_open_channel else harness.approval_log).id)
    failures = _lines(log, "❌", order.member.mention)
    expected = (job.state is JobState.FAILED and end != "failed: declined") + (end in _ANNOUNCED_BEFORE)
    if failures != expected:
        yield f"the log channel tells its failure {failures} times instead of {expected}"
    lost = _times_lost(harness, job)
    unknown = end in {"failed: outcome_unknown", "failed: lost", *_ANNOUNCED_BEFORE}
    if lost != int(unknown):
        yield f"the operator is told {lost} times that its outcome is unknown"
    if not in_open_channel:
        cards = [
            message
            for message in log
            if "would like a video" in message.content and order.prompt in message.content
        ]
        if len(cards) > 1 or (not cards and end != "cancelled"):
            yield f"{len(cards)} questions to the moderators"
        if any(message.custom_ids or message.attachments for message in cards):
            yield "the question to the moderators is still open"


def _times_lost(harness: Harness, job: Job) -> int:
    """How often the operator was told that the job's outcome is unknown."""
    return _lines(harness.discord.messages(harness.operator_channel.id), "🔎 Job", job.id)


def _lines(messages: list[Message], sign: str, name: str) -> int:
    return sum(
        line.startswith(sign) and name in line for message in messages for line in message.content.splitlines()
    )


def _billed_usd(harness: Harness, job: Job) -> Decimal:
    """What the job's provider bills for a video."""
    theirs = harness.second.tasks_of(job.order.prompt)
    return price_usd(theirs[0]) if theirs else PRICE_USD


def _charge_differences(harness: Harness, job: Job, sums: Amounts, end: str) -> Iterator[str]:
    match end:
        case "delivered" | "cancelled, paid":
            expected = Amounts(1, 0, _billed_usd(harness, job))
        case "delivered, found" | "delivered, late":
            expected = Amounts(0, 0, _billed_usd(harness, job))
        case "failed: outcome_unknown":  # there may be a task: its estimate is held
            expected = Amounts(0, 0, job.estimated_cost_usd or Decimal(0))
        case _:
            expected = Amounts()
    if sums != expected:
        yield f"the ledger charges {sums} instead of {expected}"
    if job.charged != bool(expected.videos):
        yield f"its row says charged={job.charged}"


async def _totals_differences(harness: Harness, found: list[Job]) -> AsyncIterator[str]:
    """The daily totals, those of the providers, and the videos that the limits count."""
    async with harness.engine.connect() as connection:
        for wrong in await wrong_sums(connection):
            yield wrong
    counted = Counter((job.guild_id, job.user_id) for job in found if job.charged)
    async with Database.open(harness.url) as database, database.read() as connection:
        for guild_id, user_id in {(job.guild_id, job.user_id) for job in found}:
            now = max(job.created_at for job in found)
            counted_by_limits = await ledger_store.charged_at(
                connection, guild_id, user_id, now, timedelta(days=1)
            )
            if len(counted_by_limits) != counted[guild_id, user_id]:
                expected = counted[guild_id, user_id]
                yield f"member {user_id}: the limits count {len(counted_by_limits)} videos instead of {expected}"
