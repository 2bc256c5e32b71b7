from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.chat.messages import quote_texts as texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.chat.messages.member_texts import ELSEWHERE
from bot.domain.errors import Problem
from bot.domain.jobs import Resolution
from bot.domain.quotes import Quote

ONE = Quote(1, 0, 3, timedelta(hours=24), 0, Resolution.P720, Decimal("0.2"))


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        (ONE, "This uses **1** of the **3** videos you have left in 24 hours."),
        (replace(ONE, left=1), "This uses the last video you have left in 24 hours."),
        (
            replace(ONE, videos=3, left=4, window=timedelta(days=7)),
            "This uses **3** of the **4** videos you have left in 7 days.",
        ),
        (replace(ONE, videos=2, left=2), "This uses the last **2** videos you have left in 24 hours."),
        (replace(ONE, by_credits=1, left=0, credits_left=4), "This uses **1** of your **4** credits."),
        (replace(ONE, by_credits=1, left=0, credits_left=1), "This uses your last credit."),
        (
            replace(ONE, videos=3, by_credits=2, left=1, credits_left=2),
            "This uses the last video you have left in 24 hours and your last **2** credits.",
        ),
        (replace(ONE, left=None), "This doesn't count against your limits here."),
    ],
)
def test_members_read_what_it_takes_of_their_limits_and_no_money(quote: Quote, said: str) -> None:
    assert texts.quoted(quote, with_cost=False) == said
    assert texts.quoted(quote, with_cost=True).startswith(f"{said} It costs about **$")


@pytest.mark.parametrize(
    ("estimate", "said"), [("0.2", "$0.20"), ("0.066812345", "$0.07"), ("0.0004", "$0.01"), ("0", "$0.00")]
)
def test_an_estimate_is_rounded_up_to_cents(estimate: str, said: str) -> None:
    quote = replace(ONE, estimate=Decimal(estimate))

    assert texts.quoted(quote, with_cost=True).endswith(f" It costs about **{said}**.")
    assert texts.each(quote) == f"Each costs about **{said}**."


def test_where_the_resolution_is_still_a_choice_the_cost_names_it() -> None:
    assert texts.quoted(ONE, with_cost=True, may_change=True).endswith("about **$0.20** at 720P.")
    assert "720P" not in texts.quoted(ONE, with_cost=False, may_change=True)


def test_while_an_order_is_checked_what_was_said_before_stays() -> None:
    assert texts.before(ONE, with_cost=False) == f"⏳ {texts.quoted(ONE, with_cost=False)} One moment…"
    with_head = texts.before(ONE, with_cost=False, head=ELSEWHERE)
    assert with_head == f"{ELSEWHERE}\n{texts.quoted(ONE, with_cost=False)}"


def test_a_refusal_stands_in_place_of_a_quote() -> None:
    assert texts.refused(Problem.ORDER_NOT_STORED).startswith("🛑 I can't save anything right now")


def test_the_longest_quote_fits_an_answer() -> None:
    large = 10**9
    longest = Quote(large, large - 2, large, timedelta(days=30), large, Resolution.P720, Decimal(10) ** 12)

    assert discord_length(texts.before(longest, with_cost=True, head=ELSEWHERE)) < CONTENT_MAX
