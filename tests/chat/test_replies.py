from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import discord
import pytest

from bot.chat.messages import member_texts
from bot.chat.transport.client import ZoetropeBot
from bot.domain.jobs import Job, JobState, Order, PictureLabels
from bot.domain.policy import Requester
from bot.media.prepared_frame import PictureChanges
from bot.services.videos import AcceptedOrder
from tests.chat.some_services import some_services
from tests.discord_server import Answer, DiscordServer, Interaction, Reset, Upload, connected, refused

PICTURE = b"the service here looks at no picture"


@dataclass
class Orders:
    """A video service that accepts every order and reads its picture."""

    taken: list[bytes] = field(default_factory=list)
    labels: list[PictureLabels] = field(default_factory=list)

    async def accept(
        self, requester: Requester, read_picture: Any, *, picture: PictureLabels, **_: object
    ) -> AcceptedOrder:
        self.labels.append(picture)
        self.taken.append(await read_picture())
        now = datetime.now(UTC)
        job = Job(
            "job",
            JobState.QUEUED,
            requester.guild_id,
            requester.channel_id,
            requester.user_id,
            Order("x"),
            now,
            now,
        )
        return AcceptedOrder(job, PictureChanges())

    async def find(self, job_id: str) -> None:
        """It has no videos."""

    async def video_removed(self, job_id: str, message_id: int, *, guild_id: int | None) -> None:
        """It has no videos, so nothing follows."""


@pytest.fixture
async def orders(server: DiscordServer) -> AsyncIterator[Orders]:
    bot = ZoetropeBot()
    orders = Orders()
    bot.services = some_services(jobs=orders)
    async with connected(bot, server):
        yield orders


async def order(server: DiscordServer) -> Interaction:
    return await server.slash("animate", options={"prompt": "x"}, attachments={"image": PICTURE})


@pytest.mark.parametrize("fault", [Reset(), Reset(graceful=True)], ids=["reset", "closed"])
async def test_after_a_lost_reply_the_member_is_told_to_check_before_ordering_again(
    server: DiscordServer, orders: Orders, fault: Reset
) -> None:
    server.fail_next("PATCH", "/webhooks/*", fault)

    answer = await (await order(server)).answer()

    assert orders.taken == [PICTURE]
    assert "Check `/videos list` before you try again" in answer.content


async def test_a_picture_that_discord_does_not_hand_out_at_once_is_asked_for_again(
    server: DiscordServer, orders: Orders
) -> None:
    server.fail_next("GET", "/cdn/*", refused(404, 0, "404: Not Found"))

    answer = await (await order(server)).answer()

    assert orders.taken == [PICTURE]
    assert "Got it" in answer.content


async def test_a_picture_that_is_only_flagged_as_a_spoiler_is_one(server: DiscordServer, orders: Orders) -> None:
    flags = discord.AttachmentFlags(spoiler=True).value
    picture = Upload("sea.png", PICTURE, flags=flags)

    await (await server.slash("animate", options={"prompt": "x"}, attachments={"image": picture})).answer()

    assert [one.name for one in orders.labels] == ["SPOILER_sea.png"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (refused(404, 10008, "Unknown Message"), "Deleted, and so are its picture and the link to it."),
        (Answer(404, "<html>Not found</html>"), member_texts.UNSURE),
    ],
    ids=["Discord's", "a proxy's"],
)
async def test_a_video_that_was_just_removed_is_told_from_a_proxys_404(
    server: DiscordServer, orders: Orders, fault: Answer, text: str
) -> None:
    del orders
    button = {"type": 2, "style": 2, "label": "Remove", "custom_id": "zoetrope:video:job"}
    payload = {"content": "video", "components": [{"type": 1, "components": [button]}]}
    message = server.state.send(server.channel, server.state.bot, payload, {})
    moderator = server.state.add_member(server.guild, "max", permissions=discord.Permissions(manage_messages=True))
    server.fail_next("DELETE", "/channels/*/messages/*", fault)

    answer = await (await server.click(message.id, "zoetrope:video:job", moderator)).answer()

    assert answer.content == text
