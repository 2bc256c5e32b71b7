"""The whole bot with two providers, each over real HTTP: who makes a member's video, and what it costs."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.domain.jobs import Job, ProviderName
from bot.domain.models import WAN22_FLASH, WAN25_PREVIEW
from bot.store.money import ledger
from tests.cogs.admins import admin, ask
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.dashscope_gateway import DashScopeGateway
from tests.faulty_gateway import Ending, Fault, Route
from tests.providers_asked import DASHSCOPE, VTRIX

KEY = "key-for-tests"
NO_BALANCE = Fault(403, {"message": "No balance left."})


@pytest.fixture
async def dashscope() -> AsyncIterator[DashScopeGateway]:
    async with DashScopeGateway(KEY) as gateway:
        yield gateway


@pytest.fixture
async def two(tmp_path: Path, dashscope: DashScopeGateway) -> AsyncIterator[CogHarness]:
    async with open_cog_harness(
        tmp_path,
        models=(WAN22_FLASH.name, WAN25_PREVIEW.name),
        providers=(VTRIX, DASHSCOPE),
        upstream_body="envelope",
        dashscope_api_key=SecretStr(KEY),
        dashscope_base_url=dashscope.url,
        dashscope_submits_per_second=100,
    ) as harness:
        yield harness


async def made(harness: CogHarness, **options: Any) -> Job:
    """A video that a member ordered and got."""
    await harness.animate(**options)
    await harness.wait_for_video()
    [job] = await harness.jobs_of([harness.offline.viewer])
    return job


async def spent(harness: CogHarness) -> dict[ProviderName, Decimal]:
    """What each provider's tasks have cost today."""
    async with harness.app.database.read() as connection:
        now = harness.app.clock()
        return {name: (await ledger.spent_at_provider(connection, name, now)).usd_today for name in ProviderName}


async def test_the_first_provider_makes_the_video(two: CogHarness, dashscope: DashScopeGateway) -> None:
    job = await made(two)

    assert (job.provider, job.cost_usd) == (VTRIX, Decimal("0.10"))
    assert dashscope.received == []
    assert await spent(two) == {VTRIX: Decimal("0.1"), DASHSCOPE: 0}


@pytest.mark.parametrize(
    "fault", [NO_BALANCE, Fault(429, {"error": "busy"}), Fault(400, {"detail": "no such model"})]
)
async def test_the_second_makes_it_where_the_first_takes_none(
    two: CogHarness, dashscope: DashScopeGateway, fault: Fault
) -> None:
    two.gateway.fault(Route.CREATE, fault)

    job = await made(two)

    assert (job.provider, job.cost_usd) == (DASHSCOPE, Decimal("0.14"))  # 5 s at 0.20 CNY
    assert (len(two.gateway.tasks), len(dashscope.tasks)) == (0, 1)
    assert await spent(two) == {VTRIX: 0, DASHSCOPE: Decimal("0.14")}


@pytest.mark.parametrize("takes_effect", [True, False])
async def test_after_a_lost_answer_the_second_is_never_asked(
    two: CogHarness, dashscope: DashScopeGateway, *, takes_effect: bool
) -> None:
    two.gateway.fault(Route.CREATE, Fault(ending=Ending.RESET, takes_effect=takes_effect))

    await two.animate()
    await two.wait_for_message("lost")

    assert dashscope.received == []
    assert len(two.gateway.tasks) == takes_effect
    assert await spent(two) == {VTRIX: Decimal("0.14"), DASHSCOPE: 0}, "it may be billed"


async def test_what_moderation_rejects_is_not_shown_to_the_next_provider(
    two: CogHarness, dashscope: DashScopeGateway
) -> None:
    said = {"error": {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}}
    two.gateway.fault(Route.CREATE, Fault(400, said))

    await two.animate()
    await two.wait_for_message("moderation")

    assert dashscope.received == []
    assert await spent(two) == {VTRIX: 0, DASHSCOPE: 0}


async def test_a_model_is_made_where_it_is_offered_as_it_was_ordered(
    two: CogHarness, dashscope: DashScopeGateway
) -> None:
    await ask(two, admin(two), "video-admin resolutions", allow="480P, 720P and 1080P")

    job = await made(two, model=WAN25_PREVIEW.name, resolution="1080P", duration=10)

    [body] = dashscope.received
    assert body["model"] == "wan2.5-i2v-preview"
    assert (body["parameters"]["resolution"], body["parameters"]["duration"]) == ("1080P", 10)
    assert (job.provider, job.cost_usd) == (DASHSCOPE, Decimal("1.4"))  # 10 s at 1 CNY
    assert dashscope.billed_cny * Decimal("0.14") == job.cost_usd
