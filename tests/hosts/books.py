"""Compares at the end of the campaign what the gateway billed, what Discord shows and what the database says."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import func, select

from bot.domain.jobs import ENDED, FailureReason, Job, JobState
from bot.domain.ledger import Amounts
from bot.store.engine import Connection, Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money_tables import ledger
from bot.store.schema import jobs, notifications, status_cards
from tests.crash.audit import PRICE_USD
from tests.discord_server import Channel, DiscordServer
from tests.faulty_gateway import FaultyGateway
from tests.store.money.sums import wrong_sums


@dataclass(frozen=True)
class Findings:
    """problems: one sentence each. ends: how many jobs ended in which way."""

    problems: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


async def is_drained(database: Database) -> bool:
    """Whether every job has ended and is announced, and every notification is sent."""
    async with database.read() as connection:
        unfinished = (
            select(func.count()).select_from(jobs).where(jobs.c.due_at.is_not(None) | jobs.c.state.not_in(ENDED))
        )
        untold = select(func.count()).select_from(notifications).where(notifications.c.due_at.is_not(None))
        return not await connection.scalar(unfinished) and not await connection.scalar(untold)


async def audit(
    database: Database,
    discord: DiscordServer,
    upstream: FaultyGateway,
    log_channel: Channel,
    operator_channel: Channel,
    accepted: Mapping[str, int],
) -> Findings:
    """accepted: how often members were told that their order is accepted, by prompt."""
    async with database.read() as connection:
        found = [job_of(row) for row in await connection.execute(select_jobs())]
        sums = await _sums(connection)
        problems = [*await wrong_sums(connection), *[one async for one in _left(connection)]]
    findings = Findings(problems)
    by_prompt = Counter(job.order.prompt for job in found)
    findings.problems.extend(f"{prompt}: {n} jobs of one order" for prompt, n in by_prompt.items() if n > 1)
    findings.problems.extend(f"{prompt}: accepted, but there is no job" for prompt in accepted.keys() - by_prompt)
    tasks = Counter(task.create.prompt for task in upstream.tasks.values())
    videos, cards = _buttons(discord, "video"), _buttons(discord, "cancel") + _buttons(discord, "status")
    notes = _buttons(discord, "note")
    told = {
        "the log channel tells its failure": _lines(discord, log_channel, "> "),
        "the operator is told that its outcome is unknown": _lines(discord, operator_channel, "🔎 Job"),
    }
    for job in found:
        end, expected = _expected(job)
        findings.ends[end] += 1
        unknown = end in {"failed: outcome_unknown", "delivered, late"}
        failures = (job.state is JobState.FAILED) + (end == "delivered, late")
        names = {
            "the log channel tells its failure": (job.order.prompt, failures),
            "the operator is told that its outcome is unknown": (job.id, int(unknown)),
        }
        differences = [
            *_differs("tasks are paid", tasks[job.order.prompt], {0, 1} if unknown else {int(_was_made(job))}),
            *_differs("videos are posted", videos[job.id], {int(job.state is JobState.DELIVERED)}),
            *_differs("status cards are left", cards[job.id], {0}),
            *_differs("notes of its end", notes[job.id], {failures} if end != "delivered, late" else {0, 1}),
            *[
                one
                for what, (name, times) in names.items()
                for one in _differs(what, sum(_names(line, name) for line in told[what]), {times})
            ],
        ]
        if sums[job.id] != expected:
            differences.append(f"the ledger charges {sums[job.id]} instead of {expected}")
        if job.state not in ENDED or (job.state is JobState.FAILED and end != "failed: outcome_unknown"):
            differences.append("should not have ended so")
        findings.problems.extend(f"{job.order.prompt} ({job.id}, {end}): {one}" for one in differences)
    return findings


def _expected(job: Job) -> tuple[str, Amounts]:
    """How the job ended, and what it should have cost its member and the operator."""
    match job:
        case Job(state=JobState.DELIVERED, charged=True):
            return "delivered", Amounts(1, 0, PRICE_USD)
        case Job(state=JobState.DELIVERED):  # the answer to its create came after it was given up
            return "delivered, late", Amounts(0, 0, PRICE_USD)
        case Job(state=JobState.FAILED, failure_reason=FailureReason.OUTCOME_UNKNOWN):
            return "failed: outcome_unknown", Amounts(0, 0, job.estimated_cost_usd or Decimal(0))
        case Job(state=JobState.FAILED):
            return f"failed: {job.failure_reason}", Amounts()
        case _:
            return str(job.state), Amounts()


def _was_made(job: Job) -> bool:
    return job.upstream_id is not None


async def _sums(connection: Connection) -> defaultdict[str, Amounts]:
    sums: defaultdict[str, Amounts] = defaultdict(Amounts)
    for entry in await connection.execute(select(ledger)):
        sums[entry.job_id] += Amounts(entry.videos, entry.credits, entry.usd)
    return sums


async def _left(connection: Connection) -> AsyncIterator[str]:
    for what, table, column in (
        ("leases of jobs", jobs, jobs.c.lease_token),
        ("leases of notifications", notifications, notifications.c.lease_until),
        ("status cards", status_cards, status_cards.c.job_id),
    ):
        count = await connection.scalar(select(func.count()).select_from(table).where(column.is_not(None)))
        if count:
            yield f"{count} {what} are left in the database"


def _buttons(discord: DiscordServer, kind: str) -> Counter[str]:
    """How many messages have a button of this kind, by job."""
    return Counter(
        job_id
        for message in discord.messages()
        for job_id in {one.split(":")[2] for one in message.custom_ids if one.startswith(f"zoetrope:{kind}:")}
    )


def _lines(discord: DiscordServer, channel: Channel, sign: str) -> list[str]:
    return [
        line
        for message in discord.messages(channel.id)
        for line in message.content.splitlines()
        if line.startswith(sign)
    ]


def _names(line: str, name: str) -> bool:
    """Whether the line names the job or the prompt, and not one that begins alike."""
    before, found, after = line.partition(name)
    return bool(found) and not after[:1].isalnum() and not before[-1:].isalnum()


def _differs(what: str, count: int, expected: set[int]) -> Iterator[str]:
    if count not in expected:
        yield f"{what}: {count} instead of {' or '.join(map(str, sorted(expected)))}"
