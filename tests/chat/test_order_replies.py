import asyncio
from dataclasses import dataclass, field
from typing import Any

import discord

from bot.chat.order_replies import OrderReplies


@dataclass
class FakeInteraction:
    """As much of an interaction as its answer needs."""

    shown: list[str] = field(default_factory=list)
    expired: bool = False
    error: Exception | None = None

    def is_expired(self) -> bool:
        return self.expired

    async def edit_original_response(self, *, content: str, view: None) -> None:
        assert view is None
        if self.error is not None:
            raise self.error
        self.shown.append(content)


async def answered(replies: OrderReplies, interaction: Any, job_id: str = "job-1") -> None:
    async with replies.answering(job_id, interaction):
        interaction.shown.append("Got it!")


async def test_an_answer_is_changed_while_its_token_lives() -> None:
    replies, interaction = OrderReplies(), FakeInteraction()
    await answered(replies, interaction)

    assert await replies.change("job-1", "it failed")
    interaction.expired = True
    assert not await replies.change("job-1", "again")

    assert interaction.shown == ["Got it!", "it failed"]


async def test_the_first_answer_never_overwrites_a_later_one() -> None:
    replies = OrderReplies()
    interaction: Any = FakeInteraction()
    async with replies.answering("job-1", interaction):
        change = asyncio.create_task(replies.change("job-1", "it failed"))
        await asyncio.sleep(0)
        interaction.shown.append("Got it!")
    await change

    assert interaction.shown == ["Got it!", "it failed"]


async def test_an_answer_that_can_not_be_changed_is_no_error() -> None:
    replies, interaction = OrderReplies(), FakeInteraction(error=discord.DiscordServerError(_Response(), "503"))
    await answered(replies, interaction)

    assert not await replies.change("job-1", "it failed")
    assert not await replies.change("another", "it failed")


async def test_expired_answers_are_forgotten() -> None:
    replies = OrderReplies()
    for number in range(3):
        await answered(replies, FakeInteraction(expired=number < 2), f"job-{number}")
    await answered(replies, FakeInteraction(), "job-3")

    assert list(replies._replies) == ["job-2", "job-3"]


class _Response:
    """As much of a response as discord.py's errors read."""

    status = 503
    reason = "Service Unavailable"
