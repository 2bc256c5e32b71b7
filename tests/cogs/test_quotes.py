"""What an order will take is said before it is placed, and what it took afterwards, as people read it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import InteractionResult, MemberActor

from bot.chat.form_times import FormTimes
from bot.domain.errors import StoreError
from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import Order
from bot.domain.policy import Requester
from bot.domain.quotes import Quote
from bot.operations.clock import utc_now
from bot.services.operator.service import OperatorService
from bot.services.videos import VideoService
from tests.cogs.admins import admin, ask, text_of
from tests.cogs.conftest import WITHIN_S, CogHarness, open_cog_harness, sample_picture
from tests.cogs.own_app import content, own_app
from tests.cogs.own_app import order as order_elsewhere
from tests.cogs.test_result_buttons import a_video, answer
from tests.discord_server import DiscordServer, refused
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, ForgeryHarness, open_harness

ONE_OF_FOUR = "This uses **1** of the **4** videos you have left in 24 hours."
TEXT = 10
"""Discord's type of a text among components."""

OpenForm = Callable[[CogHarness, discord.Message, MemberActor], Awaitable[InteractionResult]]


async def _edit(harness: CogHarness, video: discord.Message, who: MemberActor) -> InteractionResult:
    return await harness.click(video, "Edit", who)


async def _extend(harness: CogHarness, video: discord.Message, who: MemberActor) -> InteractionResult:
    return await harness.click(video, "Extend", who)


async def _message(harness: CogHarness, _video: discord.Message, who: MemberActor) -> InteractionResult:
    channel = harness.offline.channel
    message = await who.send(channel, "", attachments=[("sea.png", sample_picture())])
    return await who.context_menu(channel, "Animate this image", message)


async def _choice(harness: CogHarness, _video: discord.Message, who: MemberActor) -> InteractionResult:
    channel, pictures = harness.offline.channel, [("a.png", sample_picture()), ("b.png", sample_picture())]
    message = await who.send(channel, "", attachments=pictures)
    asked = await who.context_menu(channel, "Animate this image", message)
    assert asked.response is not None
    return await who.select(asked.response, ["1"])


FORMS: dict[str, OpenForm] = {"edit": _edit, "extend": _extend, "message": _message, "choice": _choice}


def notes(form: InteractionResult) -> list[str]:
    """The texts in a form, besides its fields."""
    assert form.modal is not None
    return [part["content"] for part in form.modal["components"] if part["type"] == TEXT]


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_begins_with_what_its_order_takes(harness: CogHarness, name: str) -> None:
    video = await a_video(harness)

    form = await FORMS[name](harness, video, harness.offline.viewer)

    assert notes(form) == [ONE_OF_FOUR]
    assert form.modal is not None
    assert form.modal["components"][0]["type"] == TEXT


@pytest.mark.parametrize("name", FORMS)
async def test_who_manages_the_bot_also_reads_what_it_costs(harness: CogHarness, name: str) -> None:
    video, boss = await a_video(harness), admin(harness)

    form = await FORMS[name](harness, video, boss)

    assert notes(form) == [
        "This uses **1** of the **5** videos you have left in 24 hours. It costs about **$0.14** at 720P."
    ]


async def test_the_operator_reads_what_it_costs_in_every_server(harness: CogHarness) -> None:
    video, viewer = await a_video(harness), harness.offline.viewer
    operator = OperatorService(
        harness.app.database,
        OperatorDefaults(),
        guild_id=1,
        user_ids=[viewer.id],
        wake=harness.app.worker.wake,
        clock=utc_now,
    )
    harness.bot.services = replace(harness.bot.services, operator=operator)

    form = await _message(harness, video, viewer)

    assert notes(form) == [f"{ONE_OF_FOUR} It costs about **$0.14** at 720P."]


async def test_exempt_admins_read_that_it_does_not_count(harness: CogHarness) -> None:
    video, boss = await a_video(harness), admin(harness)
    await ask(harness, boss, "video-admin limits server", exempt_admins=True)

    [note] = notes(await _edit(harness, video, boss))

    assert note == "This doesn't count against your limits here. It costs about **$0.14** at 720P."


async def test_once_the_window_is_full_a_form_says_that_a_credit_pays(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=1) as harness:
        video, viewer = await a_video(harness), harness.offline.viewer
        await ask(harness, admin(harness), "video-admin grant", member=viewer, credits=4)

        assert notes(await _edit(harness, video, viewer)) == ["This uses **1** of your **4** credits."]


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_says_instead_why_its_order_would_be_refused(tmp_path: Path, name: str) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=1) as harness:
        video, viewer = await a_video(harness), harness.offline.viewer

        form = await FORMS[name](harness, video, viewer)

        [note] = notes(form)
        assert note.startswith("🛑 You've used 1 of 1 video")
        fields = {"prompt": "a storm"} | ({"resolution": ["720P"]} if name == "edit" else {})
        sent = await viewer.submit_modal(form, fields)
        assert note.removeprefix("🛑 ") in text_of(sent)


@pytest.mark.parametrize("name", FORMS)
async def test_admins_can_turn_quotes_off(harness: CogHarness, name: str) -> None:
    video, boss = await a_video(harness), admin(harness)

    assert "Turned price quotes off" in await ask(harness, boss, "video-admin quotes", shown="off")
    assert "Nothing changed: price quotes are already off." in await ask(
        harness, boss, "video-admin quotes", shown="off"
    )
    assert "price quotes before each order: **off**" in await ask(harness, boss, "video-admin settings")
    assert notes(await FORMS[name](harness, video, boss)) == []

    assert "Turned price quotes on" in await ask(harness, boss, "video-admin quotes", shown="on")
    assert len(notes(await FORMS[name](harness, video, boss))) == 1


class SlowQuotes(VideoService):
    """The service of a bot whose database takes forever to make a quote, or fails to."""

    def __init__(self, service: VideoService, error: Exception | None) -> None:
        self.__dict__.update(service.__dict__)
        self._error = error

    async def quote(self, requester: Requester, order: Order | None = None) -> Quote | None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        return await super().quote(requester, order)


@pytest.mark.full
@pytest.mark.parametrize("error", [None, StoreError("the database doesn't answer")], ids=["slow", "down"])
@pytest.mark.parametrize("name", FORMS)
async def test_a_form_opens_without_a_quote_while_the_database_does_not_answer(
    harness: CogHarness, name: str, error: Exception | None
) -> None:
    video = await a_video(harness)
    slow = SlowQuotes(harness.app.service, error)
    harness.bot.services = replace(harness.bot.services, jobs=slow, form_times=FormTimes(WITHIN_S, quote_s=0.05))

    form = await FORMS[name](harness, video, harness.offline.viewer)

    assert notes(form) == []
    assert form.modal is not None
    assert form.modal["components"]


async def test_the_question_how_many_variations_says_what_each_costs_to_who_manages_the_bot(
    harness: CogHarness,
) -> None:
    video = await a_video(harness)

    assert "$" not in answer(await harness.click(video, "Variations")).content
    asked = answer(await harness.click(video, "Variations", admin(harness)))
    assert asked.content.endswith("Each costs about **$0.14**.")


async def test_info_says_what_a_video_took_and_what_it_really_cost(harness: CogHarness) -> None:
    video = await a_video(harness)
    boss, other = admin(harness), harness.another_member()

    own = text_of(await harness.click(video, "Info"))
    theirs = text_of(await harness.click(video, "Info", other))
    managers = text_of(await harness.click(video, "Info", boss))

    [job] = await harness.jobs_of([harness.offline.viewer])
    assert job.cost_usd is not None
    assert "**Counted:** 1 video" in own
    assert "Counted" not in theirs
    assert "Cost" not in own + theirs
    assert "**Counted:** 1 video" in managers
    assert f"**Cost:** ${job.cost_usd}" in managers


def said(server: DiscordServer) -> list[str]:
    """What private answers were edited to, in order."""
    return [str(it.payload["content"]) for it in server.calls("PATCH", "/webhooks/") if "content" in it.payload]


@pytest.fixture
async def wire(tmp_path: Path) -> Any:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
    ):
        yield harness


async def test_an_order_says_what_it_takes_and_then_what_is_left(wire: ForgeryHarness) -> None:
    await wire.order("a heron")

    first, second = said(wire.discord)
    assert first == "⏳ This uses **1** of the **5** videos you have left in 24 hours. One moment…"
    assert second.startswith("Got it!")
    assert "You have **4 of 5** videos left in 24 hours." in second


async def test_variations_say_what_they_take_together(wire: ForgeryHarness) -> None:
    await wire.order("a heron", variations=2)

    assert "This uses **2** of the **5** videos you have left" in said(wire.discord)[0]


async def test_an_order_goes_on_if_what_it_takes_cannot_be_said(wire: ForgeryHarness) -> None:
    wire.discord.fail_next("PATCH", "/webhooks/*", refused(403, 40333, "no"), text="One moment…")

    asked = await wire.order("a heron")

    assert content(asked).startswith("Got it!")
    assert (await wire.job("a heron")).charged


async def test_a_refused_order_says_nothing_but_why(wire: ForgeryHarness) -> None:
    for number in range(3):
        await wire.order(f"a heron {number}")

    assert "in progress" in said(wire.discord)[-1]
    assert len(said(wire.discord)) == 5


async def test_again_says_what_it_takes_first(wire: ForgeryHarness) -> None:
    wire.upstream.task_seconds = 0.1
    async with wire.worker_running():
        await wire.order("a heron")
        video = await wire.wait_for_message("here's your video")
        await wire.wait_until_notified()
    job = await wire.job("a heron")

    await (await wire.discord.click(video.id, f"zoetrope:again:{job.id}")).answer()

    first, second = said(wire.discord)[-2:]
    assert first == f"⏳ {ONE_OF_FOUR} One moment…"
    assert second.startswith("Got it!")


async def test_where_the_bot_is_not_a_member_it_is_said_below_where_the_video_will_be(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        await order_elsewhere(harness, channel)

        where, both, accepted = said(harness.discord)
        assert both == f"{where}\nThis uses **1** of the **3** videos you have left in 24 hours."
        assert accepted.startswith("Got it!")
