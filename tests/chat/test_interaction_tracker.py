"""Commands and clicks while the bot stops: those in progress are finished or answered, new ones are refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.chat.interaction_tracker import InteractionTracker
from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.member_buttons import ButtonKind, view
from bot.domain.jobs import Job, JobState, Order
from bot.domain.policy import Requester
from bot.media.prepared_frame import PictureChanges
from bot.operations.held_lease import is_overtaken
from bot.services.videos import AcceptedOrder
from tests.chat.some_services import some_services
from tests.discord_server import DiscordServer, Interaction, connected

RESTARTING = "I'm just restarting"


@dataclass
class Orders:
    """A service that takes each order when the test says so."""

    asked: int = 0
    taken: int = 0
    overtaken: bool | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def accept(self, requester: Requester, read_picture: object, **_: object) -> AcceptedOrder:
        del read_picture
        self.asked += 1
        await self.go_on.wait()
        self.overtaken = is_overtaken()
        self.taken += 1
        now, at = datetime.now(UTC), (requester.guild_id, requester.channel_id, requester.user_id)
        return AcceptedOrder(Job("job", JobState.QUEUED, *at, Order("x"), now, now), PictureChanges())


@dataclass
class Uptime:
    """A steady clock that moves by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class StoppingBot:
    """A connected bot, its Discord, and its service of orders."""

    server: DiscordServer
    bot: ZoetropeBot
    orders: Orders
    uptime: Uptime

    async def order(self) -> Interaction:
        return await self.server.slash("animate", options={"prompt": "x"}, attachments={"image": b"x"})

    async def order_in_progress(self) -> Interaction:
        before, interaction = self.orders.asked, await self.order()
        while self.orders.asked == before:
            await asyncio.sleep(0)
        return interaction

    def stop(self, grace_s: float) -> "asyncio.Task[None]":
        return asyncio.create_task(self.bot.services.interactions.stop(grace_s))


@pytest.fixture
async def stopping() -> AsyncIterator[StoppingBot]:
    bot, orders, uptime = ZoetropeBot(), Orders(), Uptime()
    bot.services = some_services(jobs=orders, interactions=InteractionTracker(uptime))
    async with DiscordServer() as server, connected(bot, server):
        yield StoppingBot(server, bot, orders, uptime)


async def text_of(interaction: Interaction) -> str:
    return (await interaction.answer()).content


async def test_a_command_in_progress_finishes_and_a_new_one_is_refused(stopping: StoppingBot) -> None:
    first = await stopping.order_in_progress()
    stop = stopping.stop(grace_s=60)
    await asyncio.sleep(0)
    assert (await text_of(await stopping.order())).startswith(RESTARTING)
    assert stopping.orders.asked == 1
    assert not stop.done()
    stopping.orders.go_on.set()
    await stop
    assert "Got it" in await text_of(first)


async def test_a_command_that_does_not_finish_in_time_says_to_check_first(stopping: StoppingBot) -> None:
    late = await stopping.order_in_progress()
    await stopping.stop(grace_s=0)
    assert late.original is not None
    assert not late.original.loading
    assert "/videos list" in late.original.content


async def test_a_command_that_was_interrupted_does_nothing_more(stopping: StoppingBot) -> None:
    await stopping.order_in_progress()
    await stopping.stop(grace_s=0)
    stopping.orders.go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert stopping.orders.taken == 0


async def test_clicks_and_autocompletes_after_the_stop_are_answered_too(stopping: StoppingBot) -> None:
    channel = stopping.bot.get_partial_messageable(stopping.server.channel.id)
    posted = await channel.send("a status card", view=view(ButtonKind.CANCEL, "abcdefghijkl"))
    [custom_id] = stopping.server.state.messages[posted.id].custom_ids
    await stopping.stop(grace_s=60)
    assert (await text_of(await stopping.server.click(posted.id, custom_id))).startswith(RESTARTING)
    suggesting = await stopping.server.autocomplete("videos cancel", "video")
    assert await suggesting.until(lambda: suggesting.choices is not None)
    assert suggesting.choices == []


@pytest.mark.parametrize(("seconds", "overtaken"), [(899, False), (900, True)])
async def test_a_command_whose_answer_can_not_be_given_any_more_works_under_a_lease_that_is_over(
    stopping: StoppingBot, seconds: float, *, overtaken: bool
) -> None:
    await stopping.order_in_progress()
    stopping.uptime.now_s += seconds
    stopping.orders.go_on.set()
    while not stopping.orders.taken:
        await asyncio.sleep(0)
    assert stopping.orders.overtaken is overtaken


async def test_an_interaction_that_is_over_is_forgotten(stopping: StoppingBot) -> None:
    stopping.orders.go_on.set()
    for _ in range(3):
        await text_of(await stopping.order())
    in_progress: dict[Any, Any] = stopping.bot.services.interactions._in_progress
    while in_progress:
        await asyncio.sleep(0)
