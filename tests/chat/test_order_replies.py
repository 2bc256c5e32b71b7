import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import discord

from bot.chat.order_replies import LIFETIME_S, OrderReplies


@dataclass
class Seconds:
    """A clock that stands until it is moved."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeInteraction:
    """As much of an interaction as its answer needs."""

    shown: list[str] = field(default_factory=list)
    error: Exception | None = None

    def is_expired(self) -> bool:
        """As discord.py says on a machine whose clock is an hour ahead."""
        return True

    async def edit_original_response(self, *, content: str, view: None) -> None:
        assert view is None
        if self.error is not None:
            raise self.error
        self.shown.append(content)


async def answered(replies: OrderReplies, interaction: Any, job_id: str = "job-1") -> None:
    async with replies.answering(job_id, interaction):
        interaction.shown.append("Got it!")


async def test_an_answer_is_changed_while_its_token_lives() -> None:
    clock = Seconds()
    replies, interaction = OrderReplies(clock), FakeInteraction()
    await answered(replies, interaction)

    clock.now_s += LIFETIME_S - 1
    assert await replies.change("job-1", "it failed")
    clock.now_s += 1
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


async def test_variations_share_an_answer_which_tells_the_end_of_each() -> None:
    replies, interaction = OrderReplies(), FakeInteraction()
    shared: Any = interaction
    async with replies.answering("job-1", shared, ["job-2", "job-3"]):
        interaction.shown.append("Got it!")

    assert await replies.change("job-2", "the second failed")
    assert await replies.change("job-3", "the third failed")

    assert interaction.shown == ["Got it!", "the second failed", "the second failed\nthe third failed"]


async def test_an_answer_that_can_not_be_changed_is_no_error() -> None:
    replies, interaction = (
        OrderReplies(),
        FakeInteraction(error=discord.DiscordServerError(cast("Any", _Response()), "503")),
    )
    await answered(replies, interaction)

    assert not await replies.change("job-1", "it failed")
    assert not await replies.change("another", "it failed")


async def test_expired_answers_are_forgotten() -> None:
    clock = Seconds()
    replies = OrderReplies(clock)
    for number in range(4):
        await answered(replies, FakeInteraction(), f"job-{number}")
        clock.now_s += LIFETIME_S / 3

    assert list(replies._replies) == ["job-1", "job-2", "job-3"]


class _Response:
    """As much of a response as discord.py's errors read."""

    status = 503
    reason = "Service Unavailable"
