"""Makes the client from what an operator sets."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from bot.domain.jobs import Resolution
from bot.domain.models import DECLARED, DEFAULT_USD_PER, Currency, Model
from bot.providers.base import Timeouts
from bot.providers.dashscope.client import DashScope
from bot.providers.dashscope.prices import repriced, usd_per_second
from bot.providers.request_times import ObserveRequest, ignore_request


def dashscope(
    base_url: str,
    api_key: str,
    *,
    prices_cny: Mapping[Resolution, Decimal],
    usd_per_cny: Decimal,
    timeouts: Timeouts,
    max_result_bytes: int,
    models: Sequence[Model] = DECLARED,
    observe: ObserveRequest = ignore_request,
) -> DashScope:
    """The client, an async context manager.

    prices_cny: of a video of the first model, the default; those of the others are declared with them.
    """
    default, *others = models
    priced = (repriced(default, prices_cny), *others)
    return DashScope(
        base_url,
        api_key,
        models=priced,
        prices=usd_per_second(priced, {**DEFAULT_USD_PER, Currency.CNY: usd_per_cny}),
        timeouts=timeouts,
        max_result_bytes=max_result_bytes,
        observe=observe,
    )
