"""A local DashScope beside the local gateway, which treats each order as its prompt says."""

import json
from collections import Counter
from decimal import Decimal

from aiohttp import web

from bot.demo.gateway import LocalTask
from bot.domain.models import DEFAULT_USD_PER, Currency
from tests.crash.scripted_gateway import no_answer
from tests.dashscope_gateway import DashScopeGateway, DashScopeTask, error_body

AnyTask = LocalTask | DashScopeTask


class ScriptedDashScope(DashScopeGateway):
    """The first word of a prompt says what happens:

    `refused`: 400. `untaken`, `unanswered`, `crossed`: the create gets no answer; only the first makes no task.
    """

    def __init__(self, api_key: str) -> None:
        super().__init__(api_key)
        self.creates: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()

    def tasks_of(self, prompt: str) -> list[DashScopeTask]:
        return [task for task in self.tasks.values() if task.body["input"]["prompt"] == prompt]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        prompt = json.loads(await request.read())["input"]["prompt"]
        self.creates[prompt] += 1
        if "refused" in prompt:
            self.turned_away[prompt] += 1
            return web.json_response(error_body("InvalidParameter", "not that"), status=400)
        if "untaken" in prompt:
            return no_answer(request)
        answer = await super()._create(request)
        return no_answer(request) if "unanswered" in prompt or "crossed" in prompt else answer


def price_usd(task: DashScopeTask) -> Decimal:
    """What the task is billed."""
    return task.price_cny * DEFAULT_USD_PER[Currency.CNY]
