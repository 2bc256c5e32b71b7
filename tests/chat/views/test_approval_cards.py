from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from discord import Permissions

from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.chat.transport.client import RestClient
from bot.chat.views.approval_cards import ApprovalCards, answered, asked
from bot.domain.approvals import Decision, Verdict
from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, Undeliverable
from bot.domain.jobs import FailureReason, Frame, Job, JobState, Order, new_job_id
from bot.domain.models import WAN22_FLASH
from tests.discord_server import Channel, DiscordServer, Message, Overwrite, logged_in, server_error

NOW = datetime.now(UTC)
FRAME = Frame(b"\x89PNG a picture", "image/png")
APPROVED = Decision(Verdict.APPROVED, 77, NOW)
DECLINED = Decision(Verdict.DECLINED, 77, NOW)


@pytest.fixture
async def cards(server: DiscordServer) -> AsyncIterator[ApprovalCards]:
    async with logged_in(RestClient(), server) as client:
        yield ApprovalCards(client)


@pytest.fixture
def channel(server: DiscordServer) -> Channel:
    """The server's log channel."""
    return server.state.add_channel(server.guild, "mod-log")


@pytest.fixture
def job(server: DiscordServer) -> Job:
    return Job(
        new_job_id(), JobState.AWAITING, server.guild.id, server.channel.id, server.member.id,
        Order("a *cat* for @everyone", negative_prompt="no dogs", seed=5), NOW, NOW,
        estimated_cost_usd=Decimal("0.2000"),
    )  # fmt: skip


def only_message(server: DiscordServer, channel: Channel) -> Message:
    (message,) = server.messages(channel.id)
    return message


async def test_the_card_shows_the_order_with_its_picture_and_pings_nobody(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    message_id = await cards.post(job, FRAME, channel.id, check_existing=False)

    message = only_message(server, channel)
    assert message.id == message_id
    assert message.custom_ids == [f"zoetrope:approve:{job.id}", f"zoetrope:decline:{job.id}"]
    assert [held.upload.data for held in message.attachments] == [FRAME.data]
    assert message.attachments[0].upload.filename == "first-frame.png"
    for part in (
        f"<@{job.user_id}>",
        "a \\*cat\\* for \\@everyone",
        "no dogs",
        "720P · seed 5 · about $0.20\n",
        ":R>",
    ):
        assert part in message.content
    assert message.pinged == []


async def test_a_card_of_a_process_that_died_is_adopted(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    first = await cards.post(job, FRAME, channel.id, check_existing=False)
    await cards.post(replace(job, id=new_job_id()), FRAME, channel.id, check_existing=False)
    server.state.forget_nonces()
    assert await cards.post(job, FRAME, channel.id, check_existing=True) == first
    assert len(server.messages(channel.id)) == 2


async def test_posting_a_card_twice_makes_one_message(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    for _ in range(2):
        await cards.post(job, FRAME, channel.id, check_existing=False)
    only_message(server, channel)


@pytest.mark.parametrize(
    ("state", "decision", "says"),
    [
        (JobState.QUEUED, APPROVED, "<@77> approved it"),
        (JobState.FAILED, DECLINED, "<@77> declined it"),
        (JobState.CANCELLED, None, "Cancelled"),
        (JobState.FAILED, None, "expired"),
    ],
)
async def test_a_closed_card_shows_the_decision_without_buttons_or_picture(
    server: DiscordServer,
    cards: ApprovalCards,
    channel: Channel,
    job: Job,
    state: JobState,
    decision: Decision | None,
    says: str,
) -> None:
    message_id = await cards.post(job, FRAME, channel.id, check_existing=False)
    failure = None if decision or state is not JobState.FAILED else FailureReason.EXPIRED
    after = replace(job, state=state, failure_reason=failure, approval_message_id=message_id)

    await cards.close(after, decision, channel.id)

    message = only_message(server, channel)
    assert says in message.content
    assert "expires" not in message.content
    assert message.custom_ids == []
    assert message.attachments == []


async def test_a_card_with_an_unrecorded_id_is_found_and_closed(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    await cards.post(job, FRAME, channel.id, check_existing=False)
    await cards.close(replace(job, state=JobState.CANCELLED), None, channel.id)
    assert "Cancelled" in only_message(server, channel).content
    assert (only_message(server, channel).custom_ids, only_message(server, channel).attachments) == ([], [])


async def test_closing_a_job_without_a_card_edits_nothing(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    await cards.close(replace(job, state=JobState.CANCELLED), None, channel.id)
    assert not server.calls("PATCH", "/channels/")


async def test_closing_a_deleted_card_posts_nothing(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    message_id = await cards.post(job, FRAME, channel.id, check_existing=False)
    server.state.delete(only_message(server, channel))
    await cards.close(replace(job, approval_message_id=message_id), APPROVED, channel.id)
    assert server.messages(channel.id) == []


async def test_a_missing_or_forbidden_log_channel_is_distinguished_from_a_failing_discord(
    server: DiscordServer, cards: ApprovalCards, channel: Channel, job: Job
) -> None:
    server.fail_next("POST", "/channels/*/messages", server_error(400))
    with pytest.raises(DeliveryDelayed):
        await cards.post(job, FRAME, channel.id, check_existing=False)

    closed = {server.state.bot.id: Overwrite(deny=Permissions(send_messages=True))}
    with pytest.raises(DeliveryForbidden):
        await cards.post(
            job, FRAME, server.state.add_channel(server.guild, "closed", closed).id, check_existing=False
        )
    with pytest.raises(Undeliverable):
        await cards.post(job, FRAME, 1, check_existing=False)


@pytest.mark.parametrize("letter", ["*", "🎬", "猫"])
def test_the_longest_order_fits_an_open_and_a_closed_card(job: Job, letter: str) -> None:
    order = Order(
        letter * WAN22_FLASH.prompt_max,
        negative_prompt=letter * WAN22_FLASH.negative_prompt_max,
        seed=2**31 - 1,
        prompt_extend=False,
        watermark=True,
    )
    job = replace(job, order=order, user_id=2**63 - 1, channel_id=2**63 - 1, estimated_cost_usd=Decimal("12.3456"))
    by_somebody = Decision(Verdict.APPROVED, 2**63 - 1, NOW)
    for text in (asked(job), answered(job, DECLINED), answered(job, by_somebody)):
        assert discord_length(text) <= CONTENT_MAX


def test_variations_are_asked_about_together_at_what_they_cost_together(job: Job) -> None:
    assert "would like 4 variations of a video" in asked(job, 4)
    assert "they expire" in asked(job, 4)
    assert "about $0.80" in asked(job, 4)
    assert "seed" not in asked(job, 4)
    assert asked(job, 4).splitlines()[0] == answered(job, APPROVED, 4).splitlines()[0]
