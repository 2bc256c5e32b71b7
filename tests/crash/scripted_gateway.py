"""A local gateway that treats each task as its prompt says, and counts what was asked of it by prompt."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.demo.gateway import LocalTask
from tests.faulty_gateway import FaultyGateway

BUSY_S = 1
"""How long the bot submits nothing after a 429."""


class ScriptedGateway(FaultyGateway):
    """The first word of a prompt says what happens:

    `busy`: the first create is answered 429. `refused`: 400. `fails`: the task ends as failed. `held`: in progress
    until `release`. `untaken`, `unanswered`: the create gets no answer; a task was made only for the latter.
    `moved`, `crossed`: 400, so that another provider may make it. `closed`: the first create is answered 403.
    turned_away: how often a create was answered that there is certainly no task.
    """

    def __init__(self, folder: Path, api_key: str) -> None:
        super().__init__(folder, api_key)
        self.creates: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self._released: set[str] = set()

    def release(self, prompt: str) -> None:
        """The held task may end."""
        self._released.add(prompt)

    def tasks_of(self, prompt: str) -> list[LocalTask]:
        return [task for task in self.tasks.values() if task.create.prompt == prompt]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        prompt = _prompt(json.loads(await request.read()))
        self.creates[prompt] += 1
        if "busy" in prompt and self.creates[prompt] == 1:
            self.turned_away[prompt] += 1
            headers = {"Retry-After": str(BUSY_S)}
            return web.json_response({"error": {"message": "too many"}}, status=429, headers=headers)
        if "closed" in prompt and self.creates[prompt] == 1:
            self.turned_away[prompt] += 1
            return web.json_response({"error": {"message": "no balance"}}, status=403)
        if any(word in prompt for word in ("refused", "moved", "crossed")):
            self.turned_away[prompt] += 1
            return web.json_response({"error": {"code": "1", "message": "not that"}}, status=400)
        if "untaken" in prompt:
            return no_answer(request)
        answer = await super()._create(request)
        return no_answer(request) if "unanswered" in prompt else answer

    def _report(self, task: LocalTask) -> dict[str, Any]:
        if "held" in task.create.prompt and task.create.prompt not in self._released:
            return {"id": task.id, "status": "in_progress", "progress": 0.5}
        if "fails" in task.create.prompt:
            return {"id": task.id, "status": "failed", "error": {"code": "2", "message": "it went wrong"}}
        return super()._report(task)


def _prompt(body: Mapping[str, Any]) -> str:
    return str(body["input"][0]["params"]["input"]["prompt"])


def no_answer(request: web.Request) -> web.StreamResponse:
    """Closes the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
