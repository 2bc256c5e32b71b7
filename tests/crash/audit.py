"""Compares what the upstream saw, what Discord shows, what the database says and what the ledger charges.

Each difference is a sentence. What may differ: a job whose worker died while it was handed in ends as
`outcome_unknown`, free and reported; nobody can know whether a task exists.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from bot.domain.jobs import ENDED, Job, JobState
from bot.domain.ledger import Sums, day_of
from bot.store.engine import Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import ledger as books
from bot.store.schema import EVERYWHERE, frames, ledger, totals
from tests.crash.scenario import Order, Scenario
from tests.crash.town import Town
from tests.discord_server import Message

PRICE_USD = Decimal("0.10")
"""What the local upstream takes for a video of the resolution that is ordered here."""

FATES: dict[str, set[str]] = {
    "sea": {"delivered"},
    "busy": {"delivered"},
    "queued": {"cancelled", "delivered"},
    "refused": {"failed: refused"},
    "fails": {"failed: upstream_failed"},
    "held": {"cancelled, paid"},
    "unanswered": {"delivered, found"},
    "untaken": {"failed: lost"},
    "approved": {"delivered"},
    "declined": {"failed: declined"},
    "waiting": {"cancelled"},
}
"""How each order ends where nobody dies."""

CUT_SHORT = {"failed: outcome_unknown", "failed: lost"}
"""How one ends whose worker died while it was handed in; the operator writes some of them off."""


@dataclass(frozen=True)
class Findings:
    """What was found: problems in words, none of them well; how many orders came to which end."""

    problems: list[str]
    ends: Counter[str]


async def audit(scenario: Scenario) -> Findings:
    """Looks at everything after it is over."""
    town = scenario.town
    async with town.engine.connect() as connection:
        found = [job_of(row) for row in await connection.execute(select_jobs())]
    by_prompt = {job.order.prompt: job for job in found}
    entries = await town.rows(ledger)
    problems = [*town.problems]
    ends: Counter[str] = Counter()
    if len(found) != len(by_prompt):
        problems.append("one order has two jobs")
    if await town.rows(frames):
        problems.append("a picture is kept after its job")
    for order in scenario.orders:
        job = by_prompt.get(order.prompt)
        if job is None:
            problems.append(f"{order.prompt}: there is no job of it, told {order.told}")
            continue
        sums = [Sums(entry.videos, entry.credits, entry.usd) for entry in entries if entry.job_id == job.id]
        end = _end(job, found=any(entry.why == "revived" for entry in entries if entry.job_id == job.id))
        ends[end] += 1
        wrongs = [
            *_fate(town, order, job, end),
            *_upstream(town, job, end),
            *_shown(town, order, job, end),
            *_told(town, order, job, end),
            *_charged(job, sum(sums, Sums()), end),
        ]
        problems += [f"{order.prompt} ({end}): {wrong}" for wrong in wrongs]
    problems += [wrong async for wrong in _ledger(town, found)]
    return Findings(problems, ends)


def _end(job: Job, *, found: bool) -> str:
    if job.state is JobState.FAILED:
        return f"failed: {job.failure}"
    if job.state is JobState.CANCELLED and job.counted:
        return "cancelled, paid"
    return f"{job.state}, found" if found else str(job.state)


def _fate(town: Town, order: Order, job: Job, end: str) -> Iterator[str]:
    if job.state not in ENDED:
        yield f"is still {job.state}"
        return
    usual = FATES[order.prompt.split()[0]]
    if end in usual:
        return
    cut = order.prompt in town.submitting_at_death
    if not (cut and (end in CUT_SHORT or end == "delivered, found")):
        yield f"should have ended as {' or '.join(sorted(usual))}"


def _upstream(town: Town, job: Job, end: str) -> Iterator[str]:
    prompt = job.order.prompt
    tasks, asked = town.upstream.tasks_of(prompt), town.upstream.creates[prompt]
    if len(tasks) > 1:
        yield f"{len(tasks)} tasks were paid"
    if asked - town.upstream.turned_away[prompt] > 1:
        yield f"it was handed in {asked} times"
    if end.startswith(("delivered", "cancelled, paid")) and [task.id for task in tasks] != [job.upstream_id]:
        yield f"its task is {job.upstream_id}, the upstream has {[task.id for task in tasks]}"
    if end in {"cancelled", "failed: declined"} and asked:
        yield "it was handed in, though it ended before"


def _shown(town: Town, order: Order, job: Job, end: str) -> Iterator[str]:
    messages = town.discord.messages(order.channel.id)
    videos = [held for held in messages if f"zoetrope:video:{job.id}" in held.custom_ids]
    expected = 1 if job.state is JobState.DELIVERED else 0
    if len(videos) != expected:
        yield f"{len(videos)} videos are posted instead of {expected}"
    if videos and videos[0].id != job.result_message_id:
        yield "its row names another message than the video's"
    kinds = {f"zoetrope:cancel:{job.id}", f"zoetrope:status:{job.id}"}
    status = [held for held in messages if kinds & set(held.custom_ids)]
    if len(status) != 1:
        yield f"{len(status)} status messages"
    for held in status:
        if f"zoetrope:status:{job.id}" not in held.custom_ids:
            yield f"its status message still says {held.content!r}"
    notes = [held for held in messages if f"zoetrope:note:{job.id}" in held.custom_ids]
    # One that the operator found at once may be taken up again before its failure is told.
    usual = {1} if job.state is JobState.FAILED else {0, 1} if end == "delivered, found" else {0}
    if len(notes) not in usual:
        yield f"{len(notes)} notes of its end"


def _told(town: Town, order: Order, job: Job, end: str) -> Iterator[str]:
    """Cards and log channels. Everything that is told names the prompt or the job."""
    here = order.channel is town.here
    log = town.discord.messages((town.here_log if here else town.there_log).id)
    failures = _lines(log, "❌", order.member.mention)
    expected = int((job.state is JobState.FAILED and end != "failed: declined") or end == "delivered, found")
    if failures != expected:
        yield f"the log channel tells its failure {failures} times instead of {expected}"
    lost = _lines(town.discord.messages(town.office.id), "🔎 Job", job.id)
    unknown = end in {"failed: outcome_unknown", "failed: lost", "delivered, found"}
    if lost != int(unknown):
        yield f"the operator is told {lost} times that its outcome is unknown"
    if not here:
        cards = [held for held in log if "wants to make a video" in held.content and order.prompt in held.content]
        if len(cards) > 1 or (not cards and end != "cancelled"):
            yield f"{len(cards)} questions to the moderators"
        if any(held.custom_ids or held.attachments for held in cards):
            yield "the question to the moderators is still open"


def _lines(messages: list[Message], sign: str, name: str) -> int:
    return sum(line.startswith(sign) and name in line for held in messages for line in held.content.splitlines())


def _charged(job: Job, sums: Sums, end: str) -> Iterator[str]:
    match end:
        case "delivered" | "cancelled, paid":
            expected = Sums(1, 0, PRICE_USD)
        case "delivered, found":
            expected = Sums(0, 0, PRICE_USD)
        case _:
            expected = Sums()
    if sums != expected:
        yield f"the ledger charges {sums} instead of {expected}"
    if job.counted != bool(expected.videos):
        yield f"its row says counted={job.counted}"


async def _ledger(town: Town, found: list[Job]) -> AsyncIterator[str]:
    """The sums beside the ledger, and what the limits read."""
    by_day: dict[tuple[int, object], Sums] = defaultdict(Sums)
    for entry in await town.rows(ledger):
        for guild_id in (EVERYWHERE, entry.guild_id):
            by_day[guild_id, day_of(entry.counts_at)] += Sums(entry.videos, 0, entry.usd)
    written = {(row.guild_id, row.day): Sums(row.videos, 0, row.usd) for row in await town.rows(totals)}
    if written != dict(by_day):
        yield f"the totals say {written}, the ledger's entries {dict(by_day)}"
    counted = Counter((job.guild_id, job.user_id) for job in found if job.counted)
    async with Database.open(town.url) as database, database.read() as connection:
        for guild_id, user_id in {(job.guild_id, job.user_id) for job in found}:
            now = max(job.created_at for job in found)
            seen = await books.counted(connection, guild_id, user_id, now, timedelta(days=1))
            if len(seen) != counted[guild_id, user_id]:
                yield f"member {user_id}: the limits see {len(seen)} videos, {counted[guild_id, user_id]} are had"
