"""What videos cost at DashScope, which bills seconds of video and says no amount in its answers. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from bot.domain.jobs import ProviderName, Resolution
from bot.domain.ledger import rounded_up
from bot.domain.models import Currency, Model


@dataclass(frozen=True, slots=True)
class Usage:
    """What a finished task is billed for: so many videos of so many seconds each."""

    resolution: Resolution
    video_seconds: Decimal
    videos: int


def repriced(model: Model, video_prices: Mapping[Resolution, Decimal]) -> Model:
    """The model with other prices at DashScope.

    video_prices: of a video of the default duration, in the offering's currency; other resolutions keep theirs.
    """
    per_second = {resolution: price / model.durations_s[0] for resolution, price in video_prices.items()}
    return replace(
        model,
        offerings=tuple(
            replace(offering, per_second={**offering.per_second, **per_second})
            if offering.provider is ProviderName.DASHSCOPE
            else offering
            for offering in model.offerings
        ),
    )


Prices = Mapping[tuple[str, Resolution], Decimal]
"""The price of a second of video in USD, by the model's name and the resolution."""


def usd_per_second(models: Iterable[Model], usd_per: Mapping[Currency, Decimal]) -> Prices:
    """The prices of these models. usd_per: how many USD one unit of a currency is."""
    offerings = ((model.name, model.offering(ProviderName.DASHSCOPE)) for model in models)
    return {
        (name, resolution): offering.price(resolution, 1, usd_per)
        for name, offering in offerings
        if offering is not None
        for resolution in offering.per_second
    }


def cost_usd(usage: Usage, model: str, prices: Prices) -> Decimal | None:
    """What a model's task cost in USD; None if it isn't known."""
    price = prices.get((model, usage.resolution))
    return None if price is None else rounded_up(price * usage.video_seconds * usage.videos)
