"""Discord's faults, each at each message of a job's life: what the member then sees, once; what it cost.

What discord.py makes of them is in `tests/discord_server/test_bad_days.py`, what Delivery makes of a single one in
`tests/chat/transport/test_delivery.py`. Here whole jobs are brought to their end.
"""

from datetime import timedelta
from pathlib import Path

import pytest
from discord import Permissions

from bot.demo.faults import Fault as UpstreamFault
from bot.demo.faults import Route
from bot.domain.approvals import Verdict
from bot.domain.jobs import FailureReason, Job, JobState
from bot.store.jobs import approvals
from bot.store.jobs.job_store import JobStore
from tests.discord_server import (
    Answer,
    Half,
    Hang,
    Moment,
    Overwrite,
    Reset,
    ill,
    rate_limited,
    refused,
    unreadable,
)
from tests.discord_server.faults import Fault
from tests.faults.discord_harness import Street, street
from tests.harness import ROOMY

MESSAGES, ONE_MESSAGE = "/channels/*/messages", "/channels/*/messages/*"

PASSING: dict[str, Fault] = {
    "reset before": Reset(),
    "reset after": Reset(Moment.AFTER),
    "closed after": Reset(Moment.AFTER, polite=True),
    "half an answer": Half(),
    "503": ill(503),
    "503 after": ill(503, moment=Moment.AFTER),
    "unreadable": unreadable(),
    "429 of the route": rate_limited(0.01),
    "429 of all": rate_limited(0.01, scope="global"),
    "429 shared": rate_limited(0.01, scope="shared"),
    "429 for minutes": rate_limited(300),
    "401 once": refused(401, 0, "401: Unauthorized"),
    "unknown 400": Answer(400, "<html>Bad Request</html>"),
    "archived meanwhile": refused(400, 50083, "Thread is archived"),
}
"""Faults after which all is as if they had not been."""

MOMENTS: dict[str, tuple[JobState, str, str]] = {
    "the status message": (JobState.QUEUED, "POST", MESSAGES),
    "the sight of it in the making": (JobState.QUEUED, "PATCH", ONE_MESSAGE),
    "the look at the server": (JobState.DELIVERING, "GET", "/guilds/*"),
    "the video": (JobState.DELIVERING, "POST", MESSAGES),
    "the end in the status message": (JobState.DELIVERED, "PATCH", ONE_MESSAGE),
}
"""Which request the fault strikes: in which state, method, path."""


async def delivered_once(place: Street, job: Job) -> None:
    """The one good end."""
    job = await place.now(job)
    assert job.state is JobState.DELIVERED, job
    assert [message.id for message in place.videos] == [job.result_message_id]
    assert [message.id for message in place.statuses] == [job.status_message_id]
    assert "is finished" in place.statuses[0].content
    assert place.notes == []
    assert len(place.upstream.received) == 1
    assert await place.counted() == 1
    assert place.told("failed") == 0


async def failed_free(place: Street, job: Job, reason: FailureReason) -> Job:
    """The one bad end: nothing on the quota, the moderators told once."""
    job = await place.now(job)
    assert (job.state, job.failure_reason) == (JobState.FAILED, reason), job
    assert await place.counted() == 0
    assert place.told("failed") == 1
    return job


def rows() -> list[tuple[str, str, bool]]:
    """All faults where a message is made; a few where one is edited or looked up, which doubles nothing."""
    short = ("reset after", "503", "unreadable", "archived meanwhile")
    return [
        (fault, moment, forgets)
        for moment, (_, method, _) in MOMENTS.items()
        for fault, value in PASSING.items()
        for forgets in (False, True)
        if (method == "POST" or (fault in short and not forgets))
        and not (forgets and value.moment is Moment.BEFORE)
    ]


@pytest.mark.parametrize(("fault", "moment", "forgets"), rows())
async def test_a_transient_fault_changes_nothing(
    store: JobStore, tmp_path: Path, fault: str, moment: str, *, forgets: bool
) -> None:
    """forgets: Discord does not know the nonce any more when it is tried again."""
    state, method, path = MOMENTS[moment]
    async with street(store, tmp_path) as place:
        job = await place.order_at(state, greeted=method == "PATCH")
        place.discord.fail_next(method, path, PASSING[fault])
        await place.step()
        if forgets:
            place.discord.world.forget_nonces()
        await place.settle()

        assert any(call.fault is PASSING[fault] for call in place.discord.requests), "the fault never struck"
        await delivered_once(place, job)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.DELIVERING])
async def test_a_request_that_hangs_makes_no_second_message(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    async with street(store, tmp_path, hang_s=1.5) as place:
        job = await place.order_at(state)
        place.discord.fail_next("POST", MESSAGES, Hang(Moment.AFTER))
        await place.step()
        place.discord.world.forget_nonces()
        await place.settle()

        await delivered_once(place, job)


LOST = [Reset(Moment.AFTER), Half(), ill(503, moment=Moment.AFTER)]
LOST_IDS = ["reset", "half", "503"]


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_a_failure_note_is_posted_once(store: JobStore, tmp_path: Path, fault: Fault) -> None:
    async with street(store, tmp_path) as place:
        place.upstream.fault(Route.CREATE, UpstreamFault(status=400, body={"message": "no"}))
        job = await place.order_at(JobState.FAILED)
        place.discord.fail_next("POST", f"/channels/{place.discord.channel.id}/messages", fault)
        await place.step()
        place.discord.world.forget_nonces()
        await place.settle()

        await failed_free(place, job, FailureReason.REFUSED)
        assert len(place.notes) == len(place.statuses) == 1
        assert place.notes[0].pinged == [place.discord.member]


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_a_notification_is_posted_once(store: JobStore, tmp_path: Path, fault: Fault) -> None:
    async with street(store, tmp_path) as place:
        place.upstream.fault(Route.CREATE, UpstreamFault(status=400, body={"message": "no"}))
        place.discord.fail_next("POST", f"/channels/{place.log_channel.id}/messages", fault)
        job = await place.order_at(JobState.FAILED)
        while not place.told("failed"):
            await place.step()
        place.discord.world.forget_nonces()
        await place.settle()

        await failed_free(place, job, FailureReason.REFUSED)


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_an_approval_card_is_posted_once_and_can_be_answered(
    store: JobStore, tmp_path: Path, fault: Fault
) -> None:
    async with street(store, tmp_path, approval=True) as place:
        job = await place.order()
        place.discord.fail_next("POST", f"/channels/{place.log_channel.id}/messages", fault)
        await place.step()
        place.discord.world.forget_nonces()
        for _ in range(5):
            await place.worker.run_once()
            place.clock.move(seconds=10)
        cards = [held for held in place.discord.messages(place.log_channel.id) if len(held.custom_ids) == 2]
        assert [held.id for held in cards] == [(await place.now(job)).approval_message_id]

        async with store._db.write() as connection:
            await approvals.decide(
                connection, job.guild_id, job.id, Verdict.APPROVED, by=77, card_id=cards[0].id, rules=ROOMY,
                now=place.clock(),
            )  # fmt: skip
        await place.settle()

        await delivered_once(place, job)
        assert cards[0].custom_ids == []


# --- what does not pass by itself ---


def take_away(place: Street, **rights: bool) -> None:
    """An admin forbids that to the bot in the member's channel."""
    channel, bot = place.discord.channel, place.discord.world.bot
    channel.overwrites[bot.id] = Overwrite(deny=Permissions(**rights))


STRUCK = [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING]


@pytest.mark.parametrize("state", STRUCK)
async def test_a_deleted_channel_ends_the_job_uncharged(store: JobStore, tmp_path: Path, state: JobState) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(state)
        place.discord.remove_channel(place.discord.channel)
        await place.settle()

        await failed_free(place, job, FailureReason.UNDELIVERABLE)
        assert len(place.upstream.received) == (state is not JobState.QUEUED)


@pytest.mark.parametrize("state", STRUCK)
async def test_removing_the_bot_from_the_server_ends_the_job_uncharged(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(state)
        place.discord.remove_from(place.discord.guild)
        del place.discord.guild.members[place.discord.world.bot.id]
        await place.settle()

        job = await place.now(job)
        assert (job.state, job.failure_reason) == (JobState.FAILED, FailureReason.UNDELIVERABLE)
        assert (await place.counted(), place.videos) == (0, [])
        assert len(place.upstream.received) == (state is not JobState.QUEUED)


TAKEN = {
    "send": {"send_messages": True},
    "see": {"view_channel": True},
    "attach": {"attach_files": True},
}


@pytest.mark.parametrize("right", TAKEN)
async def test_a_permission_that_is_revoked_and_restored_only_delays_the_job(
    store: JobStore, tmp_path: Path, right: str
) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.DELIVERING)
        take_away(place, **TAKEN[right])
        await place.settle(until=timedelta(minutes=20))
        assert await place.now(job) != job
        assert (await place.now(job)).state is JobState.DELIVERING

        place.discord.channel.overwrites.clear()
        await place.settle()
        await delivered_once(place, job)


@pytest.mark.parametrize("right", TAKEN)
async def test_a_permission_that_stays_revoked_ends_the_job_uncharged(
    store: JobStore, tmp_path: Path, right: str
) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.DELIVERING)
        take_away(place, **TAKEN[right])
        await place.settle()

        await failed_free(place, job, FailureReason.UNDELIVERABLE)
        assert place.videos == []
        refusals = [call for call in place.discord.requests if call.status == 403]
        assert len(refusals) < 60


async def test_without_permission_to_post_nothing_is_paid_for(store: JobStore, tmp_path: Path) -> None:
    async with street(store, tmp_path) as place:
        take_away(place, send_messages=True)
        job = await place.order()
        await place.settle()

        await failed_free(place, job, FailureReason.UNDELIVERABLE)
        assert not place.upstream.received


async def test_without_read_history_a_lost_response_is_not_retried_until_it_can_be_checked(
    store: JobStore, tmp_path: Path
) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.DELIVERING)
        take_away(place, read_message_history=True)
        place.discord.fail_next("POST", MESSAGES, Reset(Moment.AFTER))
        await place.step()
        place.discord.world.forget_nonces()
        await place.settle(until=timedelta(minutes=10))
        assert len(place.videos) == 1

        place.discord.channel.overwrites.clear()
        await place.settle()
        await delivered_once(place, job)


async def test_the_same_without_a_status_message(store: JobStore, tmp_path: Path) -> None:
    """Discord was ill when the job was greeted; nothing in the channel is known to be there."""
    async with street(store, tmp_path) as place:
        place.discord.fail_next("POST", MESSAGES, ill(503), times=5)
        job = await place.order_at(JobState.DELIVERING)
        assert job.status_message_id is None
        take_away(place, read_message_history=True)
        place.discord.fail_next("POST", MESSAGES, Reset(Moment.AFTER))
        await place.step()
        place.discord.world.forget_nonces()
        await place.settle(until=timedelta(minutes=10))
        assert len(place.videos) == 1

        place.discord.channel.overwrites.clear()
        await place.settle()
        await delivered_once(place, job)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED])
async def test_a_deleted_status_message_is_reposted_at_the_end(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(state)
        place.discord.world.delete(place.statuses[0])
        await place.settle()

        await delivered_once(place, job)


async def test_deleting_an_approval_card_decides_nothing(store: JobStore, tmp_path: Path) -> None:
    async with street(store, tmp_path, approval=True) as place:
        job = await place.order_at(JobState.AWAITING, greeted=True)
        (card,) = (held for held in place.discord.messages(place.log_channel.id) if len(held.custom_ids) == 2)
        place.discord.world.delete(card)
        await place.settle()

        await failed_free(place, job, FailureReason.EXPIRED)
        assert not place.upstream.received


async def test_the_video_reopens_an_archived_thread(store: JobStore, tmp_path: Path) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.DELIVERING)
        place.discord.channel.archived = True
        await place.settle()

        await delivered_once(place, job)


async def test_a_locked_thread_only_delays_the_job(store: JobStore, tmp_path: Path) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.DELIVERING)
        place.discord.channel.archived = place.discord.channel.locked = True
        await place.settle(until=timedelta(minutes=40))
        assert (await place.now(job)).state is JobState.DELIVERING

        place.discord.channel.locked = False
        await place.settle()
        await delivered_once(place, job)


async def test_a_member_who_left_still_gets_their_video(store: JobStore, tmp_path: Path) -> None:
    async with street(store, tmp_path) as place:
        job = await place.order_at(JobState.RUNNING)
        del place.discord.guild.members[place.discord.member.id]
        await place.settle()

        await delivered_once(place, job)
