"""A local DashScope and a client of it."""

from collections.abc import AsyncIterator

import pytest

from bot.providers.dashscope.client import DashScope
from tests.dashscope_gateway import DashScopeGateway

KEY = "sk-0123456789-secret"
AT_ONCE = 1_000_000.0
"""A rate of polls that delays none."""


@pytest.fixture
async def gateway() -> AsyncIterator[DashScopeGateway]:
    async with DashScopeGateway(KEY) as running:
        yield running


@pytest.fixture
async def dashscope(gateway: DashScopeGateway) -> AsyncIterator[DashScope]:
    async with DashScope(gateway.url, KEY, polls_per_second=AT_ONCE) as client:
        yield client
