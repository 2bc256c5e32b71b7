"""Refused orders: what moderators are told, and which count as violations."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from bot.domain.errors import (
    QuotaRefused,
    RuleRefused,
    UserError,
)
from bot.domain.policy import Consequence, PromptBlocked, Requester, RuleName
from bot.domain.quotas import LimitName
from bot.services.videos import VideoService
from bot.store.engine import Database
from bot.store.guilds import bans
from bot.store.schema import blocked_terms
from tests.fakes import NOW, FakeClock
from tests.services.videos.conftest import MEMBER, Attachment, WakeCounter, fill_quota, picture, set_guild
from tests.store.factories import notified_texts

LOG_CHANNEL = 555


async def log_channel_texts(database: Database) -> list[str]:
    """The notifications that are queued for the log channel."""
    return await notified_texts(database)


async def refusal(
    service: VideoService, requester: Requester = MEMBER, prompt: str = "a fox"
) -> QuotaRefused | RuleRefused:
    with pytest.raises(UserError) as caught:
        await service.accept(requester, Attachment(picture()).read, prompt=prompt)
    assert isinstance(caught.value, (QuotaRefused, RuleRefused))
    return caught.value


async def test_a_refusal_is_reported_in_the_log_channel(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    await refusal(service)
    [text] = await log_channel_texts(database)
    assert "<@1> asked for a video in <#100> and was refused: they already have as many videos" in text
    assert wakes.count == 3


async def test_the_same_refusal_is_reported_once_an_hour(
    service: VideoService, database: Database, wakes: WakeCounter, clock: FakeClock
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    for _ in range(3):
        await refusal(service)
    assert len(await log_channel_texts(database)) == 1
    assert wakes.count == 3
    await set_guild(database, paused=True)
    await refusal(service)
    assert len(await log_channel_texts(database)) == 2
    clock.move(hours=1)
    await refusal(service)
    assert len(await log_channel_texts(database)) == 3


async def test_without_a_log_channel_a_refusal_writes_nothing(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await fill_quota(service)
    await refusal(service)
    assert await log_channel_texts(database) == []
    assert wakes.count == 2


async def test_a_paused_server_refuses_before_the_picture_is_fetched(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, paused=True)
    attachment = Attachment(picture())
    with pytest.raises(RuleRefused) as caught:
        await service.accept(MEMBER, attachment.read, prompt="a fox")
    assert caught.value.rule == RuleName.PAUSED
    assert attachment.fetched == 0


async def block(database: Database, word: str) -> None:
    async with database.write() as connection:
        await connection.execute(
            insert(blocked_terms).values(guild_id=MEMBER.guild_id, text=word, is_pattern=False)
        )


async def test_the_third_blocked_prompt_pauses_the_member_and_says_until_when(
    service: VideoService, database: Database, clock: FakeClock
) -> None:
    await block(database, "wolf")
    for remaining in (2, 1):
        blocked = (await refusal(service, prompt="a wolf")).reason
        assert isinstance(blocked, PromptBlocked)
        assert (blocked.term, blocked.consequence) == ("wolf", Consequence(remaining=remaining))
    last = (await refusal(service, prompt="a wolf")).reason
    assert isinstance(last, PromptBlocked)
    assert last.consequence.ban is not None
    assert last.consequence.ban.expires_at == NOW + timedelta(days=1)
    banned = await refusal(service)
    assert isinstance(banned, RuleRefused)
    assert banned.rule == RuleName.MEMBER_PAUSED
    clock.move(hours=24)
    await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")


async def test_moderators_see_each_prompt_that_counts_as_a_violation(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await block(database, "wolf")
    for animal in ("wolf", "*grey* wolf"):
        await refusal(service, prompt=f"a {animal}")
    blocked = [text for text in await log_channel_texts(database) if "blocked word" in text]
    assert [text.splitlines()[1] for text in blocked] == ["> a wolf", r"> a \*grey\* wolf"]


async def test_without_a_violation_limit_a_blocked_prompt_is_reported_once_an_hour(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL, violation_limit=0)
    await block(database, "wolf")
    for animal in ("wolf", "grey wolf"):
        await refusal(service, prompt=f"a {animal}")
    assert len(await log_channel_texts(database)) == 1


async def test_a_refusal_for_another_reason_does_not_quote_the_prompt(
    service: VideoService, database: Database
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL)
    await fill_quota(service)
    await refusal(service, prompt="a private matter")
    assert "private" not in (await log_channel_texts(database))[0]


async def test_other_refusals_are_no_violations(service: VideoService, database: Database) -> None:
    await set_guild(database, violation_limit=1)
    await fill_quota(service)
    refused = await refusal(service)
    assert isinstance(refused, QuotaRefused)
    assert refused.limit == LimitName.MAX_ACTIVE
    async with database.read() as connection:
        assert await bans.active_ban(connection, 10, 1, NOW) is None
