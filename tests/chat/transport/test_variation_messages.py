"""The one card of variations on the wire: posted once whoever posts it, and found by the button of any of them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.status_messages import StatusMessages
from bot.domain.jobs import Job, JobState, Order, new_job_id
from bot.domain.status_cards import StatusCard, VariationsCard
from bot.domain.variations import variations_of
from tests.chat.transport.test_status_messages import THUMBNAIL, only_message
from tests.discord_server import DiscordServer

QUEUED = StatusCard(JobState.QUEUED)


@pytest.fixture
def cards(client: RestClient) -> StatusMessages:
    return StatusMessages(client)


@pytest.fixture
def jobs(server: DiscordServer) -> list[Job]:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    orders = variations_of(Order("a *cat* for @everyone"), 4)
    return [Job(new_job_id(), JobState.QUEUED, *place, order, now, now) for order in orders]


def card_of(jobs: list[Job], *said: StatusCard) -> VariationsCard:
    shown = (*said, *[StatusCard(job.state) for job in jobs[len(said) :]])
    return VariationsCard(tuple(jobs), shown)


async def test_it_has_a_button_for_each_and_one_for_all(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job]
) -> None:
    await cards.show(jobs[0], card_of(jobs), None, check_existing=False)

    assert only_message(server).custom_ids == [
        *(f"zoetrope:cancel:{job.id}" for job in jobs),
        f"zoetrope:cancelall:{jobs[0].id}",
    ]
    assert only_message(server).shown.count("in the queue") == 4


async def test_workers_that_post_it_at_the_same_time_post_one(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job]
) -> None:
    ids = await asyncio.gather(*(cards.show(job, card_of(jobs), None, check_existing=False) for job in jobs))

    assert set(ids) == {only_message(server).id}


@pytest.mark.parametrize("number", range(4))
async def test_that_of_a_process_that_died_is_adopted_by_any_of_them(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job], number: int
) -> None:
    first = await cards.show(jobs[0], card_of(jobs), None, check_existing=False)
    server.state.forget_nonces()

    assert await cards.show(jobs[number], card_of(jobs), None, check_existing=True) == first
    assert only_message(server).id == first


async def test_it_is_found_by_the_one_that_is_still_waiting(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job]
) -> None:
    jobs = [replace(job, state=JobState.CANCELLED) for job in jobs[:3]] + jobs[3:]
    first = await cards.show(jobs[3], card_of(jobs), None, check_existing=False)
    assert only_message(server).custom_ids == [f"zoetrope:cancel:{jobs[3].id}"]
    server.state.forget_nonces()

    assert await cards.show(jobs[3], card_of(jobs), None, check_existing=True) == first


async def test_an_edit_keeps_the_picture_and_links_to_what_is_ready(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job]
) -> None:
    with_picture = replace(QUEUED, has_thumbnail=True)
    shown = await cards.show(jobs[0], card_of(jobs, with_picture), THUMBNAIL, check_existing=False)
    ready = replace(jobs[1], state=JobState.DELIVERED, result_message_id=77)
    jobs = [replace(jobs[0], status_message_id=shown), ready, *jobs[2:]]

    await cards.edit(jobs[0], card_of(jobs, with_picture))

    message = only_message(server)
    assert [file.upload.data for file in message.attachments] == [THUMBNAIL]
    assert f"✅ [ready](https://discord.com/channels/{ready.guild_id}/{ready.channel_id}/77)" in message.shown
    assert f"zoetrope:cancel:{ready.id}" not in message.custom_ids


async def test_it_is_removed_whichever_ends_last_even_if_its_id_was_never_written(
    server: DiscordServer, cards: StatusMessages, jobs: list[Job]
) -> None:
    await cards.show(jobs[0], card_of(jobs), None, check_existing=False)

    await cards.remove(replace(jobs[2], state=JobState.CANCELLED), [job.id for job in jobs])

    assert server.messages() == []
