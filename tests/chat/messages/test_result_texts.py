from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.chat.messages.markdown import discord_length
from bot.chat.messages.result_texts import details
from bot.domain.jobs import Job, JobState, Order
from tests.chat.messages.jobs import JOB, LONG_PROMPTS

DESCRIPTION_MAX = 4096
DELIVERED = replace(JOB, state=JobState.DELIVERED, state_changed_at=JOB.created_at + timedelta(seconds=112.6))


def text(job: Job, *, is_own: bool = False, with_cost: bool = False) -> str:
    return details(job, is_own=is_own, with_cost=with_cost).description or ""


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_the_longest_details_fit_an_embed(prompt: str) -> None:
    order = Order(prompt, negative_prompt=prompt[:500], seed=2**31 - 1, watermark=True)
    job = replace(DELIVERED, order=order, cost_usd=Decimal("123456.123456789"))

    shown = text(job, is_own=True, with_cost=True)

    assert discord_length(shown) <= DESCRIPTION_MAX
    assert shown.endswith(f"`{job.id}`")


def test_they_say_how_long_it_took_once_it_is_known() -> None:
    assert "**Took:** 1 minute 53 seconds" in text(DELIVERED)
    assert "Took" not in text(replace(DELIVERED, state=JobState.DELIVERING))


def test_they_say_if_nobody_knows_the_seed() -> None:
    assert "**Seed:** random\n" in text(replace(DELIVERED, order=Order("a fox")))
    assert "`0`" in text(replace(DELIVERED, order=Order("a fox", seed=0)))


@pytest.mark.parametrize(
    ("cost", "estimate", "said"),
    [
        (Decimal("0.123"), Decimal("0.14"), "$0.123"),
        (Decimal(0), Decimal("0.14"), "$0.00"),
        (None, Decimal("0.136"), "about $0.14"),
        (Decimal("NaN"), Decimal("0.14"), "about $0.14"),
        (None, None, "unknown"),
    ],
)
def test_the_cost_is_for_those_who_may_know_it(cost: Decimal | None, estimate: Decimal | None, said: str) -> None:
    job = replace(DELIVERED, cost_usd=cost, estimated_cost_usd=estimate)

    assert f"**Cost:** {said} (" in text(job, with_cost=True)
    assert "Cost" not in text(job)
    assert "Cost" not in text(job, is_own=True)


def test_a_cost_that_is_held_until_it_is_known_is_told_as_that_and_what_ended_free_as_nothing() -> None:
    failed = replace(JOB, state=JobState.FAILED, charged=False, estimated_cost_usd=Decimal("0.14"))

    assert "**Cost:** nothing (" in text(failed, with_cost=True)
    held = replace(failed, cost_unknown_since=JOB.created_at)
    assert "**Cost:** not known yet, $0.14 is held for it (" in text(held, with_cost=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "1 video"),
        ({"credit_grant_id": 7}, "1 credit"),
        ({"charged": False}, "nothing, it was returned"),
        ({"charged": False, "credit_grant_id": 7}, "nothing, it was returned"),
    ],
)
def test_what_it_took_is_told_its_member_and_those_who_see_the_cost(changes: dict[str, Any], said: str) -> None:
    job = replace(DELIVERED, **changes)

    assert f"**Counted:** {said}\n" in text(job, is_own=True)
    assert f"**Counted:** {said}\n" in text(job, with_cost=True)
    assert "Counted" not in text(job)


def test_a_prompt_does_not_become_markup() -> None:
    assert r"\*\*bold\*\* \<\@1\>" in text(replace(DELIVERED, order=Order("**bold** <@1>")))
