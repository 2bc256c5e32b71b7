"""Which refusals are Discord's own, and what each means. What somebody in between says is not believed."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.chat.messages import member_texts, notification_texts
from bot.chat.permissions.command_permissions import CommandPermissions, Override, asking
from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.chat.views.approval_cards import ApprovalCards
from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, ThreadLocked, Undeliverable
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Frame, Job, JobState, Order, new_job_id
from bot.domain.notifications import AnswerLost, GateClosed
from bot.store.jobs.job_store import JobStore
from tests.discord_server import Answer, DiscordServer, refused
from tests.faults.discord_harness import discord_harness

MESSAGES = "/channels/*/messages"
CHALLENGE = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>"
DENIED = Override(kind=2, target_id=7, allowed=False)


def job_in(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    return Job(new_job_id(), JobState.QUEUED, *place, Order("a cat"), now, now)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (Answer(403, CHALLENGE), DeliveryDelayed),
        (refused(403, 40333, "internal network error"), DeliveryDelayed),
        (refused(403, 40003, "You are opening direct messages too fast"), DeliveryDelayed),
        (Answer(403, {"message": "Access denied by policy"}), DeliveryDelayed),
        (Answer(404, CHALLENGE), DeliveryDelayed),
        (Answer(400, CHALLENGE), DeliveryDelayed),
        (Answer(410, CHALLENGE), DeliveryDelayed),
        (refused(400, 20028, "The write action you are performing on the channel has hit the rate limit"),
         DeliveryDelayed),
        (refused(400, 20016, "This action cannot be performed due to slowmode rate limit"), DeliveryDelayed),
        (refused(400, 20022, "This message cannot be edited due to announcement rate limits"), DeliveryDelayed),
        (refused(403, 40004, "Send messages has been temporarily disabled"), DeliveryDelayed),
        (refused(403, 40006, "This feature has been temporarily disabled server-side"), DeliveryDelayed),
        (refused(400, 50083, "Thread is archived"), ThreadLocked),
        (refused(400, 160005, "Thread is locked"), ThreadLocked),
        (refused(400, 160006, "Maximum number of active threads reached"), Undeliverable),
        (refused(403, 50013, "Missing Permissions"), DeliveryForbidden),
        (refused(403, 50001, "Missing Access"), DeliveryForbidden),
        (refused(404, 10003, "Unknown Channel"), Undeliverable),
        (refused(404, 10013, "Unknown User"), Undeliverable),
        (refused(400, 240000, "Message blocked by harmful links filter"), Undeliverable),
    ],
)  # fmt: skip
async def test_only_a_refusal_with_discords_error_code_is_believed(
    server: DiscordServer, delivery: Delivery, answer: Answer, meaning: type[Exception]
) -> None:
    server.fail_next("POST", MESSAGES, answer)

    with pytest.raises(DeliveryDelayed if meaning is ThreadLocked else meaning) as caught:
        await delivery.notify_failure(job_in(server), check_existing=False)

    assert type(caught.value) is meaning
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [Answer(403, CHALLENGE), refused(403, 40333, "internal network error")], ids=["HTML", "40333"]
)
async def test_a_proxys_403_at_the_status_message_only_delays_the_job(
    store: JobStore, tmp_path: Path, answer: Answer
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order()
        harness.discord.fail_next("POST", MESSAGES, answer)
        await harness.settle()

        job = await harness.reload(job)
        assert job.state is JobState.DELIVERED
        assert harness.status_cards == []
        assert len(harness.videos) == 1


async def test_a_proxys_404_does_not_say_that_nothing_was_posted(
    server: DiscordServer, delivery: Delivery
) -> None:
    server.fail_next("GET", "/channels/*/messages/*", Answer(404, CHALLENGE))

    with pytest.raises(DeliveryDelayed):
        await delivery.find_video(job_in(server))


async def test_a_proxys_404_does_not_say_that_an_approval_card_is_gone(
    server: DiscordServer, client: RestClient
) -> None:
    cards, job = ApprovalCards(client), job_in(server)
    card_id = await cards.post(job, Frame(b"a picture", "image/png"), server.channel.id, check_existing=False)
    job = replace(job, state=JobState.CANCELLED, approval_message_id=card_id)
    server.fail_next("PATCH", "/channels/*/messages/*", Answer(404, CHALLENGE))

    with pytest.raises(DeliveryDelayed):
        await cards.close(job, None, server.channel.id)


@pytest.mark.parametrize(
    ("answer", "overrides"),
    [
        (Answer(404, CHALLENGE), (DENIED,)),
        (refused(404, 10066, "Unknown application command permissions"), ()),
    ],
    ids=["HTML", "10066"],
)
async def test_a_proxys_404_does_not_say_that_integration_settings_were_removed(
    server: DiscordServer, client: RestClient, answer: Answer, overrides: tuple[Override, ...]
) -> None:
    permissions = CommandPermissions(asking(client))
    path = "/applications/*/guilds/*/commands/*/permissions"
    listed = {"id": "5", "permissions": [{"type": 2, "id": str(DENIED.target_id), "permission": False}]}
    server.fail_next("GET", path, Answer(200, listed))
    assert await permissions.of(server.guild.id, 5, fresh=True) == (DENIED,)
    server.fail_next("GET", path, answer)

    assert await permissions.of(server.guild.id, 5, fresh=True) == overrides


@pytest.mark.parametrize("cause", [FailureCause.CHANNEL_CLOSED, FailureCause.REFUSED_BY_SERVICE])
def test_a_web_page_that_was_stored_as_a_reason_is_shown_to_nobody(cause: FailureCause) -> None:
    now = datetime.now(UTC)
    failed = replace(
        Job(new_job_id(), JobState.FAILED, 1, 2, 3, Order("a cat"), now, now),
        failure_reason=FailureReason.UNDELIVERABLE,
        failure_detail=FailureDetail(cause, quote=CHALLENGE),
    )

    text = member_texts.failure(failed)
    assert "html" not in text.lower()
    assert "Cloudflare" not in text


@pytest.mark.parametrize(
    "event", [AnswerLost("a", f"not JSON: {CHALLENGE}"), GateClosed(1, f"not JSON: {CHALLENGE}")]
)
def test_the_operator_reads_no_web_page_either(event: AnswerLost | GateClosed) -> None:
    text = notification_texts.text_of_notification(event)

    assert "not JSON" in text
    assert "html" not in text.lower()
