"""Posts, edits and removes status cards through Discord's REST API; see `bot.chat.transport.delivery`."""

import contextlib
from collections.abc import Collection, Sequence
from typing import Any

import discord

from bot.chat.interaction_answers import InteractionAnswers
from bot.chat.posting import (
    NO_PINGS,
    UNKNOWN_MESSAGE,
    channel_of,
    find_by_button,
    shown_text,
    translated,
    unless_deleted,
)
from bot.chat.views.member_buttons import STATUS_KINDS, ButtonKind
from bot.chat.views.persistent_button import job_custom_id
from bot.chat.views.status_card import card_view, failure_view, thumbnail_file
from bot.chat.views.variation_buttons import CANCEL_ALL
from bot.domain.jobs import Job
from bot.domain.status_cards import AnyCard, VariationsCard


class StatusMessages:
    """The messenger of status cards. `client`: logged in; connected to the gateway or not.

    answers: what stands for the cards where the bot isn't a member.
    """

    def __init__(self, client: discord.Client, answers: InteractionAnswers | None = None) -> None:
        self._client = client
        self._answers = answers

    async def show(self, job: Job, card: AnyCard, thumbnail: bytes | None, *, check_existing: bool) -> int:
        """See `bot.worker.status_cards.StatusMessenger`."""
        with translated():
            message_id = job.status_message_id
            if message_id is None and check_existing:
                message_id = await self._find(job, _ids(job, card))
            if message_id is not None:
                with contextlib.suppress(_Gone):
                    return await self._edit(message_id, job, card, thumbnail)
            sent = await self._send(job, card, thumbnail, "s")
            if shown_text(sent.components) == shown_text(card_view(job, card).children):
                return sent.id
            # The nonce returned an earlier message as it was: from a step that was overtaken, or deleted since.
            try:
                return await self._edit(sent.id, job, card, thumbnail)
            except _Gone:
                return (await self._send(job, card, thumbnail, "n")).id

    async def edit(self, job: Job, card: AnyCard) -> None:
        """See `bot.worker.status_cards.StatusMessenger`."""
        if job.status_message_id is not None:
            with translated(), contextlib.suppress(_Gone):
                await self._edit(job.status_message_id, job, card, None)

    async def remove(self, job: Job, shared_with: Collection[str] = ()) -> None:
        """See `bot.worker.status_cards.StatusMessenger`."""
        if not job.has_channel:
            if self._answers is not None:
                for job_id in {job.id, *shared_with}:
                    await self._answers.close(job_id, job_custom_id(ButtonKind.VIDEO, job_id))
            return
        with translated():
            message_id = job.status_message_id or await self._find(job, [job.id, *shared_with])
            if message_id is not None:
                with unless_deleted():
                    await self._channel(job).get_partial_message(message_id).delete()

    async def close(self, job: Job) -> None:
        """See `bot.worker.status_cards.StatusMessenger`."""
        if job.status_message_id is not None:
            message = self._channel(job).get_partial_message(job.status_message_id)
            with translated(), unless_deleted():
                await message.edit(content=None, view=failure_view(job), attachments=[], allowed_mentions=NO_PINGS)

    async def _send(self, job: Job, card: AnyCard, thumbnail: bytes | None, suffix: str) -> discord.Message:
        files = [] if thumbnail is None else [thumbnail_file(job, thumbnail)]
        view, nonce = card_view(job, card), f"{_ids(job, card)[0]}-{suffix}"
        channel = self._channel(job)
        return await channel.send(view=view, files=files, nonce=nonce, allowed_mentions=NO_PINGS, silent=True)

    async def _edit(self, message_id: int, job: Job, card: AnyCard, thumbnail: bytes | None) -> int:
        """Without a thumbnail, the message keeps the one that it has."""
        message = self._channel(job).get_partial_message(message_id)
        # A message of an earlier version has content, which can't stand beside components of this kind.
        also: dict[str, Any] = {} if thumbnail is None else {"attachments": [thumbnail_file(job, thumbnail)]}
        try:
            await message.edit(content=None, view=card_view(job, card), allowed_mentions=NO_PINGS, **also)
        except discord.NotFound as error:
            if error.code == UNKNOWN_MESSAGE:
                raise _Gone from error
            raise
        return message_id

    async def _find(self, job: Job, job_ids: Sequence[str]) -> int | None:
        """The card with a button of one of these jobs."""
        wanted = {job_custom_id(kind, job_id) for kind in (*STATUS_KINDS, CANCEL_ALL) for job_id in job_ids}
        channel, since = self._channel(job), job.created_at
        return await find_by_button(self._client, channel, wanted, since=since, known_id=job.channel_id)

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return channel_of(self._client, job)


def _ids(job: Job, card: AnyCard) -> list[str]:
    """The jobs that the card is about; whichever of them posts it, it has the nonce of the first."""
    return [one.id for one in card.jobs] if isinstance(card, VariationsCard) else [job.id]


class _Gone(Exception):
    """Somebody deleted the message; a new one is posted."""
