"""Makes the providers, the models and their limits from the settings: a part of the composition root."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from bot.domain.guilds import Budget
from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, ProviderName, Resolution
from bot.domain.models import DEFAULT_USD_PER, Catalog, Currency, TaskKind, configured
from bot.domain.provider_limits import ProviderLimits, models_at
from bot.operations.observer import Observer
from bot.providers.base import Provider, Timeouts
from bot.providers.request_times import ObserveRequest, ignore_request
from bot.providers.vtrix.client import BodyForm, Vtrix
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.providers.dashscope.client import DashScope

SUBMIT_TIMEOUT_S = 60.0
"""How long a create may take. Shorter than a stop waits by default: if cut off, its outcome would be unknown."""


def catalog(settings: Settings) -> Catalog:
    """The models that are offered, where they are made, and what they are estimated to cost."""
    in_cny = {resolution: cny * settings.dashscope_usd_per_cny for resolution, cny in prices_cny(settings).items()}
    return configured(
        settings.models,
        settings.providers,
        usd_per={**DEFAULT_USD_PER, Currency.CNY: settings.dashscope_usd_per_cny},
        prices={
            TaskKind(provider, DEFAULT_MODEL, resolution, DEFAULT_DURATION_S): usd
            for provider, prices in ((ProviderName.VTRIX, prices_usd(settings)), (ProviderName.DASHSCOPE, in_cny))
            for resolution, usd in prices.items()
        },
    )


def prices_usd(settings: Settings) -> dict[Resolution, Decimal]:
    """What a video of the default model costs at the Vtrix gateway, in USD."""
    return {Resolution.P480: settings.price_usd_480p, Resolution.P720: settings.price_usd_720p}


def prices_cny(settings: Settings) -> dict[Resolution, Decimal]:
    """What a video of the default model costs at DashScope, in CNY."""
    return {
        Resolution.P480: settings.dashscope_price_cny_480p,
        Resolution.P720: settings.dashscope_price_cny_720p,
    }


def provider_limits(settings: Settings) -> tuple[ProviderLimits, ...]:
    """How much each provider takes, in the order in which they are asked."""
    limits = {
        ProviderName.VTRIX: (
            settings.upstream_max_running,
            settings.upstream_submits_per_second,
            Budget(settings.vtrix_budget_usd_per_day, settings.vtrix_budget_usd_per_month),
        ),
        ProviderName.DASHSCOPE: (
            settings.dashscope_max_running,
            settings.dashscope_submits_per_second,
            Budget(settings.dashscope_budget_usd_per_day, settings.dashscope_budget_usd_per_month),
        ),
    }
    offered = catalog(settings)
    return tuple(
        ProviderLimits(
            provider, max_running, timedelta(seconds=1 / per_second), models_at(offered, provider), budget
        )
        for provider in settings.providers
        for max_running, per_second, budget in (limits[provider],)
    )


def vtrix_client(settings: Settings, key: str, observe: ObserveRequest = ignore_request) -> Vtrix:
    """The client of the Vtrix gateway, an async context manager."""
    return Vtrix(
        settings.vtrix_base_url,
        key,
        body=BodyForm(settings.upstream_body),
        timeouts=Timeouts(submit_s=SUBMIT_TIMEOUT_S),
        max_result_bytes=settings.upstream_result_max_bytes,
        observe=observe,
    )


def dashscope_client(settings: Settings, key: str, observe: ObserveRequest = ignore_request) -> "DashScope":
    """The client of DashScope, an async context manager. Loaded only where there is a key for it."""
    from bot.providers.dashscope.factory import dashscope  # noqa: PLC0415

    return dashscope(
        settings.dashscope_base_url,
        key,
        prices_cny=prices_cny(settings),
        usd_per_cny=settings.dashscope_usd_per_cny,
        timeouts=Timeouts(submit_s=SUBMIT_TIMEOUT_S),
        max_result_bytes=settings.upstream_result_max_bytes,
        observe=observe,
    )


@asynccontextmanager
async def open_providers(settings: Settings, observer: Observer) -> AsyncIterator[dict[ProviderName, Provider]]:
    """The clients of all providers with a key: also of those that get no new jobs, for the tasks they have."""

    def observe(provider: ProviderName) -> ObserveRequest:
        return partial(observer.provider_request, provider)

    async with AsyncExitStack() as stack:
        opened: dict[ProviderName, Provider] = {}
        if settings.vtrix_api_key is not None:
            gateway = vtrix_client(
                settings, settings.vtrix_api_key.get_secret_value(), observe(ProviderName.VTRIX)
            )
            opened[ProviderName.VTRIX] = await stack.enter_async_context(gateway)
        if settings.dashscope_api_key is not None:
            key = settings.dashscope_api_key.get_secret_value()
            first_party = dashscope_client(settings, key, observe(ProviderName.DASHSCOPE))
            opened[ProviderName.DASHSCOPE] = await stack.enter_async_context(first_party)
        yield opened
