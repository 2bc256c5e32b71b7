"""Each Discord fault, at each message about a job: what the member sees, that they see it once, and what it costs.

discord.py's own handling is tested in `tests/discord_server/test_discord_faults.py`, Delivery's in
`tests/chat/transport/test_delivery.py`. Here whole jobs run to their end.
"""

from datetime import timedelta
from pathlib import Path

import pytest
from discord import Permissions

from bot.domain.approvals import Verdict
from bot.domain.jobs import FailureReason, Job, JobState
from bot.store.jobs import approvals
from bot.store.jobs.job_store import JobStore
from tests.discord_server import (
    Answer,
    FaultPhase,
    Hang,
    Overwrite,
    Reset,
    Truncated,
    not_json,
    rate_limited,
    refused,
    server_error,
)
from tests.discord_server.faults import Fault
from tests.faults.discord_harness import DiscordHarness, discord_harness
from tests.faulty_gateway import Fault as UpstreamFault
from tests.faulty_gateway import Route
from tests.harness import ROOMY

pytestmark = pytest.mark.full

MESSAGES, ONE_MESSAGE = "/channels/*/messages", "/channels/*/messages/*"

TRANSIENT: dict[str, Fault] = {
    "reset before": Reset(),
    "reset after": Reset(FaultPhase.AFTER),
    "closed after": Reset(FaultPhase.AFTER, graceful=True),
    "half an answer": Truncated(),
    "503": server_error(503),
    "503 after": server_error(503, phase=FaultPhase.AFTER),
    "unreadable": not_json(),
    "429 of the route": rate_limited(0.01),
    "429 of all": rate_limited(0.01, scope="global"),
    "429 shared": rate_limited(0.01, scope="shared"),
    "429 for minutes": rate_limited(300),
    "401 once": refused(401, 0, "401: Unauthorized"),
    "unknown 400": Answer(400, "<html>Bad Request</html>"),
    "archived thread": refused(400, 50083, "Thread is archived"),
}
"""Faults that leave no trace once they are over."""

REQUESTS: dict[str, tuple[JobState, str, str]] = {
    "the status card": (JobState.QUEUED, "POST", MESSAGES),
    "the upload limit lookup": (JobState.DELIVERING, "GET", "/guilds/*"),
    "the video": (JobState.DELIVERING, "POST", MESSAGES),
    "the card's removal": (JobState.DELIVERED, "DELETE", ONE_MESSAGE),
}
"""The request that fails: the state of its job, its method and its path."""


async def check_delivered_once(harness: DiscordHarness, job: Job) -> None:
    """The job is delivered, with one video and nothing else, and is charged once."""
    job = await harness.reload(job)
    assert job.state is JobState.DELIVERED, job
    assert [message.id for message in harness.videos] == [job.result_message_id]
    assert harness.status_cards == []
    assert harness.failure_notes == []
    assert len(harness.upstream.received) == 1
    assert await harness.charged_count() == 1
    assert harness.log_channel_count("failed") == 0


async def check_failed_uncharged(harness: DiscordHarness, job: Job, reason: FailureReason) -> Job:
    """The job has failed; nothing is charged, and moderators are notified once."""
    job = await harness.reload(job)
    assert (job.state, job.failure_reason) == (JobState.FAILED, reason), job
    assert await harness.charged_count() == 0
    assert harness.log_channel_count("failed") == 1
    return job


def rows() -> list[tuple[str, str, bool]]:
    """All faults where a message is posted; a few where one is edited or read, which can duplicate nothing."""
    short = ("reset after", "503", "unreadable", "archived thread")
    return [
        (fault, target, nonce_forgotten)
        for target, (_, method, _) in REQUESTS.items()
        for fault, value in TRANSIENT.items()
        for nonce_forgotten in (False, True)
        if (method == "POST" or (fault in short and not nonce_forgotten))
        and not (nonce_forgotten and value.phase is FaultPhase.BEFORE)
    ]


@pytest.mark.parametrize(("fault", "target", "nonce_forgotten"), rows())
async def test_a_transient_fault_changes_nothing(
    store: JobStore, tmp_path: Path, fault: str, target: str, *, nonce_forgotten: bool
) -> None:
    """nonce_forgotten: Discord no longer remembers the nonce at the retry."""
    state, method, path = REQUESTS[target]
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(state)
        harness.discord.fail_next(method, path, TRANSIENT[fault])
        await harness.run_next()
        if nonce_forgotten:
            harness.discord.state.forget_nonces()
        await harness.settle()

        assert any(call.fault is TRANSIENT[fault] for call in harness.discord.requests), (
            "the fault was never injected"
        )
        await check_delivered_once(harness, job)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.DELIVERING])
async def test_a_request_that_hangs_makes_no_second_message(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    async with discord_harness(store, tmp_path, stage_timeout_s=1.5) as harness:
        job = await harness.order_at(state)
        harness.discord.fail_next("POST", MESSAGES, Hang(FaultPhase.AFTER))
        await harness.run_next()
        harness.discord.state.forget_nonces()
        await harness.settle()

        await check_delivered_once(harness, job)


LOST = [Reset(FaultPhase.AFTER), Truncated(), server_error(503, phase=FaultPhase.AFTER)]
LOST_IDS = ["reset", "half", "503"]


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_a_failure_note_is_posted_once(store: JobStore, tmp_path: Path, fault: Fault) -> None:
    async with discord_harness(store, tmp_path) as harness:
        harness.upstream.fault(Route.CREATE, UpstreamFault(status=400, body={"message": "no"}))
        job = await harness.order_at(JobState.FAILED)
        harness.discord.fail_next("POST", f"/channels/{harness.discord.channel.id}/messages", fault)
        await harness.run_next()
        harness.discord.state.forget_nonces()
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.REFUSED)
        assert len(harness.failure_notes) == 1
        assert harness.status_cards == []
        assert harness.failure_notes[0].pinged == [harness.discord.member]


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_a_notification_is_posted_once(store: JobStore, tmp_path: Path, fault: Fault) -> None:
    async with discord_harness(store, tmp_path) as harness:
        harness.upstream.fault(Route.CREATE, UpstreamFault(status=400, body={"message": "no"}))
        harness.discord.fail_next("POST", f"/channels/{harness.log_channel.id}/messages", fault)
        job = await harness.order_at(JobState.FAILED)
        while not harness.log_channel_count("failed"):
            await harness.run_next()
        harness.discord.state.forget_nonces()
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.REFUSED)


@pytest.mark.parametrize("fault", LOST, ids=LOST_IDS)
async def test_an_approval_card_is_posted_once_and_can_be_answered(
    store: JobStore, tmp_path: Path, fault: Fault
) -> None:
    async with discord_harness(store, tmp_path, approval=True) as harness:
        job = await harness.order()
        harness.discord.fail_next("POST", f"/channels/{harness.log_channel.id}/messages", fault)
        await harness.run_next()
        harness.discord.state.forget_nonces()
        for _ in range(5):
            await harness.worker.run_once()
            harness.clock.move(seconds=10)
        cards = [
            message for message in harness.discord.messages(harness.log_channel.id) if len(message.custom_ids) == 2
        ]
        assert [card.id for card in cards] == [(await harness.reload(job)).approval_message_id]

        async with store._db.write() as connection:
            await approvals.decide(
                connection, job.guild_id, job.id, Verdict.APPROVED, actor_id=77, card_id=cards[0].id, rules=ROOMY,
                now=harness.clock(),
            )  # fmt: skip
        await harness.settle()

        await check_delivered_once(harness, job)
        assert cards[0].custom_ids == []


# --- faults that need somebody to act ---


def revoke_permissions(harness: DiscordHarness, **rights: bool) -> None:
    """An admin denies the bot these permissions in the member's channel."""
    channel, bot = harness.discord.channel, harness.discord.state.bot
    channel.overwrites[bot.id] = Overwrite(deny=Permissions(**rights))


def refuse_direct_messages(harness: DiscordHarness) -> None:
    """The member's privacy settings keep the bot out."""
    refusal = refused(403, 50007, "Cannot send messages to this user")
    direct = harness.discord.state.direct(harness.discord.member)
    harness.discord.fail_next("POST", f"/channels/{direct.id}/messages", refusal, times=1000)


FAULT_STATES = [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING]


@pytest.mark.parametrize("state", FAULT_STATES)
async def test_a_deleted_channel_ends_the_job_uncharged(store: JobStore, tmp_path: Path, state: JobState) -> None:
    """Their member takes no direct messages."""
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(state)
        refuse_direct_messages(harness)
        harness.discord.remove_channel(harness.discord.channel)
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.UNDELIVERABLE)
        assert len(harness.upstream.received) == (state is not JobState.QUEUED)


@pytest.mark.parametrize("state", FAULT_STATES)
async def test_removing_the_bot_from_the_server_ends_the_job_uncharged(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(state)
        refuse_direct_messages(harness)  # as Discord does where no server is shared
        harness.discord.remove_from(harness.discord.guild)
        del harness.discord.guild.members[harness.discord.state.bot.id]
        await harness.settle()

        job = await harness.reload(job)
        assert (job.state, job.failure_reason) == (JobState.FAILED, FailureReason.UNDELIVERABLE)
        assert (await harness.charged_count(), harness.videos) == (0, [])
        assert len(harness.upstream.received) == (state is not JobState.QUEUED)


REVOKED = {
    "send": {"send_messages": True},
    "see": {"view_channel": True},
    "attach": {"attach_files": True},
}


@pytest.mark.parametrize("permission", REVOKED)
async def test_a_permission_that_is_revoked_and_restored_only_delays_the_job(
    store: JobStore, tmp_path: Path, permission: str
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        revoke_permissions(harness, **REVOKED[permission])
        await harness.settle(until=timedelta(minutes=20))
        assert await harness.reload(job) != job
        assert (await harness.reload(job)).state is JobState.DELIVERING

        harness.discord.channel.overwrites.clear()
        await harness.settle()
        await check_delivered_once(harness, job)


@pytest.mark.parametrize("permission", REVOKED)
async def test_a_permission_that_stays_revoked_ends_the_job_uncharged(
    store: JobStore, tmp_path: Path, permission: str
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        refuse_direct_messages(harness)
        revoke_permissions(harness, **REVOKED[permission])
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.UNDELIVERABLE)
        assert harness.videos == []
        refusals = [call for call in harness.discord.requests if call.status == 403]
        assert len(refusals) < 100  # in an hour: half of it for the video, half for its end


async def test_without_permission_to_post_nothing_is_paid_for(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        revoke_permissions(harness, send_messages=True)
        job = await harness.order()
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.UNDELIVERABLE)
        assert not harness.upstream.received


async def test_without_read_history_a_lost_response_is_not_retried_until_it_can_be_checked(
    store: JobStore, tmp_path: Path
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        revoke_permissions(harness, read_message_history=True)
        harness.discord.fail_next("POST", MESSAGES, Reset(FaultPhase.AFTER))
        await harness.run_next()
        harness.discord.state.forget_nonces()
        await harness.settle(until=timedelta(minutes=10))
        assert len(harness.videos) == 1

        harness.discord.channel.overwrites.clear()
        await harness.settle()
        await check_delivered_once(harness, job)


async def test_without_read_history_and_status_message_a_lost_response_is_not_retried_either(
    store: JobStore, tmp_path: Path
) -> None:
    """Discord failed when the status card was due, so the job knows of no message in the channel."""
    async with discord_harness(store, tmp_path) as harness:
        harness.discord.fail_next("POST", MESSAGES, server_error(503), times=5)
        job = await harness.order_at(JobState.DELIVERING)
        assert job.status_message_id is None
        revoke_permissions(harness, read_message_history=True)
        harness.discord.fail_next("POST", MESSAGES, Reset(FaultPhase.AFTER))
        await harness.run_next()
        harness.discord.state.forget_nonces()
        await harness.settle(until=timedelta(minutes=10))
        assert len(harness.videos) == 1

        harness.discord.channel.overwrites.clear()
        await harness.settle()
        await check_delivered_once(harness, job)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED])
async def test_a_card_that_somebody_deletes_is_no_loss(store: JobStore, tmp_path: Path, state: JobState) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(state)
        harness.discord.state.delete(harness.status_cards[0])
        await harness.settle()

        await check_delivered_once(harness, job)


async def test_deleting_an_approval_card_decides_nothing(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path, approval=True) as harness:
        job = await harness.order_at(JobState.AWAITING, with_status_message=True)
        (card,) = (
            message for message in harness.discord.messages(harness.log_channel.id) if len(message.custom_ids) == 2
        )
        harness.discord.state.delete(card)
        await harness.settle()

        await check_failed_uncharged(harness, job, FailureReason.EXPIRED)
        assert not harness.upstream.received


async def test_the_video_reopens_an_archived_thread(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        harness.discord.channel.archived = True
        await harness.settle()

        await check_delivered_once(harness, job)


async def test_a_locked_thread_only_delays_the_job(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        harness.discord.channel.archived = harness.discord.channel.locked = True
        await harness.settle(until=timedelta(minutes=40))
        assert (await harness.reload(job)).state is JobState.DELIVERING

        harness.discord.channel.locked = False
        await harness.settle()
        await check_delivered_once(harness, job)


async def test_a_member_who_left_still_gets_their_video(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.RUNNING)
        del harness.discord.guild.members[harness.discord.member.id]
        await harness.settle()

        await check_delivered_once(harness, job)
