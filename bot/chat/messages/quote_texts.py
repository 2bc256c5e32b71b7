"""What an order will take and cost, in words, before it is placed. Pure.

Members read what it takes of their own limits; only who manages the bot in the server, and its operator, also read
what it costs.
"""

from decimal import ROUND_UP, Decimal

from bot.chat.messages.reason_texts import text_of
from bot.domain.durations import window_text
from bot.domain.errors import Reason
from bot.domain.money import show_usd
from bot.domain.quotes import Quote

_CENT = Decimal("0.01")


def quoted(quote: Quote, *, with_cost: bool, may_change: bool = False) -> str:
    """What an order takes. with_cost: also what it costs. may_change: whether its resolution is still a choice."""
    if quote.left is None:
        said = "This doesn't count against your limits here."
    else:
        parts = []
        if quote.by_window:
            window = window_text(quote.window)
            parts.append(f"{_some_of(quote.by_window, quote.left, 'video')} you have left in {window}")
        if quote.by_credits:
            parts.append(_some_of(quote.by_credits, quote.credits_left, "credit", own=True))
        said = f"This uses {' and '.join(parts)}."
    return f"{said} {_cost(quote, may_change=may_change)}" if with_cost else said


def _some_of(number: int, left: int, noun: str, *, own: bool = False) -> str:
    """The part of what is left: "**1** of the **3** videos", "the last video", "your last **2** credits"."""
    whose = "your" if own else "the"
    if number < left:
        return f"**{number}** of {whose} **{left}** {noun}s"
    return f"{whose} last {noun}" if number == 1 else f"{whose} last **{number}** {noun}s"


def _cost(quote: Quote, *, may_change: bool) -> str:
    where = f" at {quote.resolution}" if may_change else ""
    return f"It costs about **{about(quote.estimate)}**{where}."


def each(quote: Quote) -> str:
    """What each of several videos costs, where the number is still a choice. quote: for one video."""
    return f"Each costs about **{about(quote.estimate)}**."


def about(estimate: Decimal) -> str:
    """An estimate in USD, rounded up to cents: it is the average of what other videos cost."""
    return show_usd(estimate.quantize(_CENT, rounding=ROUND_UP))


def before(quote: Quote, *, with_cost: bool, head: str | None = None) -> str:
    """What is said while an order is being checked. head: what was said already."""
    said = quoted(quote, with_cost=with_cost)
    return f"⏳ {said} One moment…" if head is None else f"{head}\n{said}"


def refused(reason: Reason) -> str:
    """Instead of a quote: why the order would be refused now."""
    return f"🛑 {text_of(reason)}"
