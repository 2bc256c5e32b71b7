"""Amounts in USD as people write and read them. Pure; always Decimal, never float."""

import re
from decimal import Decimal

from bot.domain.errors import NotPossible, Problem

USD_MAX = Decimal(1_000_000)
"""The largest amount that may be set."""

_DECIMALS_MAX = 9
_NUMBER = rf"\d{{1,15}}(?:\.\d{{1,{_DECIMALS_MAX}}})?|\.\d{{1,{_DECIMALS_MAX}}}"
_AMOUNT = re.compile(rf"\$?\s*({_NUMBER})\s*(?:\$|usd)?", re.IGNORECASE | re.ASCII)
_CENT = Decimal("0.01")


def usd_of(nano_usd: int | Decimal) -> Decimal:
    """Billionths of a USD, in USD without trailing zeros."""
    return Decimal(nano_usd).scaleb(-_DECIMALS_MAX).normalize() + 0


def parse_usd(text: str) -> Decimal:
    """Parses an amount such as `5`, `2.50`, `$2.50` or `2.50 USD`; zero is valid. Raises: NotPossible."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise NotPossible(Problem.AMOUNT_UNREADABLE)
    amount = Decimal(match[1])
    if amount > USD_MAX:
        raise NotPossible(Problem.AMOUNT_TOO_LARGE)
    return amount


def show_usd(amount: Decimal) -> str:
    """The amount as people read it: with cents, and further decimals only if it has them."""
    sign = "-" if amount < 0 else ""
    exact = abs(amount).normalize()
    shown = exact.quantize(_CENT) if exact == exact.quantize(_CENT) else exact
    return f"{sign}${shown:,f}"


def show_limit(amount: Decimal | None) -> str:
    """A limit in USD, or "no limit"."""
    return "no limit" if amount is None else show_usd(amount)


def percent(used: Decimal, limit: Decimal) -> int:
    """The used share in whole percent, rounded down so that only a full limit reads 100."""
    return max(0, int(used * 100 / limit)) if limit > 0 else 100


def show_share(used: Decimal, limit: Decimal | None) -> str:
    """The used share of a limit, or "no limit"."""
    return "no limit" if limit is None else f"{percent(used, limit)}%"
