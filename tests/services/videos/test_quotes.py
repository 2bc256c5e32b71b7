"""What an order takes is said before anything is done for it."""

import pytest

from bot.domain.errors import QuotaRefused
from bot.domain.jobs import Order, Resolution
from bot.domain.quotes import Quote
from bot.services.videos import VideoService
from bot.store.engine import Database
from tests.services.videos.conftest import MEMBER, Attachment, WakeCounter, fill_quota, picture, set_guild
from tests.store.factories import notified_texts


class Told:
    """Notes what a member is told, and what was done by then."""

    def __init__(self, service: VideoService, attachment: Attachment | None = None) -> None:
        self._service = service
        self._attachment = attachment
        self.quotes: list[Quote] = []
        self.done_before = 0

    async def say(self, quote: Quote) -> None:
        self.quotes.append(quote)
        jobs = await self._service.recent(MEMBER.guild_id, MEMBER.user_id)
        self.done_before += len(jobs) + (0 if self._attachment is None else self._attachment.fetched)


async def test_it_is_said_before_the_picture_is_read_and_the_order_accepted(service: VideoService) -> None:
    attachment = Attachment(picture())
    told = Told(service, attachment)

    accepted = await service.accept(MEMBER, attachment.read, prompt="a fox", variations=2, say_quote=told.say)

    [quote] = told.quotes
    assert told.done_before == 0
    assert (quote.videos, quote.left) == (len(accepted.jobs), 2)


async def test_for_another_one_of_a_video_it_is_said_before_too(service: VideoService) -> None:
    first = (await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job
    told = Told(service)

    await service.order_again(first.id, MEMBER, {}, interaction_id=1, say_quote=told.say)
    await service.order_again(first.id, MEMBER, {}, interaction_id=1, say_quote=told.say)

    [quote] = told.quotes  # the same click a second time takes nothing
    assert told.done_before == 1
    assert quote.left == 1


async def test_nothing_is_said_of_what_is_refused(service: VideoService) -> None:
    await fill_quota(service)
    told = Told(service)

    with pytest.raises(QuotaRefused):
        await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox", say_quote=told.say)

    assert told.quotes == []


async def test_nothing_is_said_where_admins_turned_it_off(service: VideoService, database: Database) -> None:
    await set_guild(database, quotes_shown=False)
    told = Told(service)

    await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox", say_quote=told.say)

    assert told.quotes == []


async def test_a_quote_can_be_asked_for_and_is_not_reported_where_it_would_be_refused(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    usual = await service.quote(MEMBER)
    assert usual is not None
    assert usual.resolution is Resolution.P720
    small = await service.quote(MEMBER, Order("a fox", resolution=Resolution.P480))
    assert small is not None
    assert small.estimate < usual.estimate

    await set_guild(database, log_channel_id=555)
    await fill_quota(service)
    woken = wakes.count
    with pytest.raises(QuotaRefused):
        await service.quote(MEMBER)
    assert await notified_texts(database) == []
    assert wakes.count == woken
