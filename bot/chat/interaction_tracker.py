"""Knows which interactions are being handled, so that a stop leaves no command without an answer.

discord.py starts a task for each interaction and doesn't keep it: its `close` would end the session under
commands that are still working, and Discord would show "thinking…" for ever.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import discord

from bot.chat.messages import member_texts
from bot.chat.messages.reason_texts import Said
from bot.chat.replies import answer_error
from bot.domain.errors import NotPossible
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, work_under

log = logging.getLogger(__name__)

ANSWERABLE_FOR = timedelta(minutes=15)
"""How long an interaction's token is valid (Discord's documentation of interactions).

What was not done by then, as the process was stopped meanwhile, isn't done any more: its member has been told
nothing and may have asked again.
"""

ANSWER_TIMEOUT_S = 3.0
"""How long it may take to tell members that their commands were interrupted."""

_CANCEL_TIMEOUT_S = 1.0


class InteractionTracker:
    """The interactions in progress. Each is handled in the task that calls `begin`."""

    def __init__(self, steady_s: Callable[[], float] = uptime_s) -> None:
        self._steady_s = steady_s
        self._in_progress: dict[asyncio.Task[Any], discord.Interaction[Any]] = {}
        self._stopping = False

    def begin(self, interaction: discord.Interaction[Any]) -> None:
        """Counts the interaction as in progress until the current task ends. Raises: NotPossible after a stop."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - discord.py handles each interaction in one
        self._in_progress[task] = interaction
        work_under(HeldLease(self._steady_s(), ANSWERABLE_FOR, self._steady_s))
        task.add_done_callback(self._in_progress.pop)
        if self._stopping:
            raise NotPossible(Said(member_texts.STOPPING))

    async def stop(self, grace_s: float) -> None:
        """Refuses new interactions, waits up to `grace_s` for the others, then cancels and answers the rest."""
        self._stopping = True
        if self._in_progress:
            await asyncio.wait(self._in_progress, timeout=grace_s)
        late = dict(self._in_progress)
        for task in late:
            task.cancel()
        if not late:
            return
        log.info("%d commands were interrupted by the stop", len(late))
        answers = [asyncio.create_task(_answer(task, interaction)) for task, interaction in late.items()]
        _, unanswered = await asyncio.wait(answers, timeout=ANSWER_TIMEOUT_S)
        for answer in unanswered:
            answer.cancel()


async def _answer(task: asyncio.Task[Any], interaction: discord.Interaction[Any]) -> None:
    await asyncio.wait({task}, timeout=_CANCEL_TIMEOUT_S)
    finished = task.done() and not task.cancelled()
    if not finished and interaction.type is not discord.InteractionType.autocomplete:
        await answer_error(interaction, NotPossible(Said(member_texts.INTERRUPTED)))
