"""Whether a member could order a video here now, which `/help` says."""

import pytest

from bot.domain.policy import PolicyViolation
from bot.domain.quotas import LimitName, VideoLimitReached
from bot.services.videos import VideoService
from bot.store.engine import Database
from tests.services.videos.conftest import MEMBER, WakeCounter, fill_quota, set_guild
from tests.store.factories import notified_texts

LOG_CHANNEL = 555


async def test_a_member_with_room_can_order(service: VideoService) -> None:
    outlook = await service.outlook(MEMBER)

    assert outlook.refusal is None
    assert outlook.allowance.usage.left(outlook.allowance.limits) == 2
    assert not outlook.service_closed


async def test_a_limit_that_is_reached_is_the_reason(service: VideoService) -> None:
    await fill_quota(service)

    refusal = (await service.outlook(MEMBER)).refusal

    assert isinstance(refusal, VideoLimitReached)
    assert refusal.limit is LimitName.MAX_ACTIVE


@pytest.mark.parametrize("rule", ["paused", "age_restricted_only"])
async def test_a_rule_of_the_server_is_the_reason(service: VideoService, database: Database, rule: str) -> None:
    await set_guild(database, **{rule: True})

    assert isinstance((await service.outlook(MEMBER)).refusal, PolicyViolation)


async def test_asking_is_not_reported_as_a_refused_order(
    service: VideoService, database: Database, wakes: WakeCounter
) -> None:
    await set_guild(database, log_channel_id=LOG_CHANNEL, paused=True)

    await service.outlook(MEMBER)

    assert await notified_texts(database) == []
    assert wakes.count == 0
