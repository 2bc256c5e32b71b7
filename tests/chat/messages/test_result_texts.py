from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.chat.messages.markdown import discord_length
from bot.chat.messages.result_texts import details
from bot.domain.jobs import Job, JobState, Order
from tests.chat.messages.jobs import JOB, LONG_PROMPTS

DESCRIPTION_MAX = 4096
DELIVERED = replace(JOB, state=JobState.DELIVERED, state_changed_at=JOB.created_at + timedelta(seconds=112.6))


def text(job: Job, *, with_cost: bool = False) -> str:
    return details(job, with_cost=with_cost).description or ""


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_the_longest_details_fit_an_embed(prompt: str) -> None:
    order = Order(prompt, negative_prompt=prompt[:500], seed=2**31 - 1, watermark=True)
    job = replace(DELIVERED, order=order, cost_usd=Decimal("123456.123456789"))

    shown = text(job, with_cost=True)

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
    [(Decimal("0.12"), Decimal("0.14"), "$0.12"), (None, Decimal("0.14"), "about $0.14"), (None, None, "unknown")],
)
def test_the_cost_is_for_those_who_may_know_it(cost: Decimal | None, estimate: Decimal | None, said: str) -> None:
    job = replace(DELIVERED, cost_usd=cost, estimated_cost_usd=estimate)

    assert f"**Cost:** {said}" in text(job, with_cost=True)
    assert "Cost" not in text(job)


def test_a_prompt_does_not_become_markup() -> None:
    assert r"\*\*bold\*\* \<\@1\>" in text(replace(DELIVERED, order=Order("**bold** <@1>")))
