"""The answers to orders where the bot isn't a member: its only way there, for as long as Discord takes the token.

A public message says that a video was ordered, and the video replaces it. The tokens are in the database, so this
goes on after a restart and in another process. Before any second try, the message is read first.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import discord

from bot.chat.order_replies import LIFETIME_S, OrderReplies
from bot.chat.posting import DISCORD_FAILED, NO_PINGS, components_within, is_missing, translated
from bot.domain.errors import StoreError, Undeliverable
from bot.operations.clock import Clock
from bot.store.jobs.interaction_tokens import InteractionTokenStore, OpenAnswer

log = logging.getLogger(__name__)

_LIFETIME = timedelta(seconds=LIFETIME_S)
_NOT_BEGUN_IN_LAST = timedelta(minutes=2)
"""No video is put there so shortly before the end: if that isn't confirmed, it must still be possible to look."""

_INVALID_TOKEN = 50027


class InteractionAnswers:
    """The answers by job.

    client: logged in. replies: the private answers that this process is writing. cancel_row: makes the buttons of
    a private answer, by the ids of its jobs.
    """

    def __init__(
        self,
        client: discord.Client,
        store: InteractionTokenStore,
        replies: OrderReplies,
        clock: Clock,
        *,
        cancel_row: Callable[[Sequence[str]], discord.ui.View],
    ) -> None:
        self.cancel_row = cancel_row
        self._client = client
        self._store = store
        self._replies = replies
        self._clock = clock

    async def open(
        self, interaction: discord.Interaction[Any], answer_id: int, announcements: Mapping[str, str | None]
    ) -> None:
        """Keeps how the jobs can be answered, and says in public that they were ordered.

        announcements: what to say about each job, by id; None for one whose answer stays private. What fails here
        is only logged: the videos come in the private answer or as direct messages then.
        """
        now = self._clock()
        answers = [OpenAnswer(job_id, interaction.token, answer_id, now + _LIFETIME) for job_id in announcements]
        try:
            added = await self._store.add(answers, now)
        except StoreError as error:
            log.info("jobs %s: their order can't be announced: %s", ", ".join(announcements), error)
            return
        for job_id, text in announcements.items():
            if text is None or job_id not in added:  # or the same order was sent twice
                continue
            try:
                sent = await interaction.followup.send(text, wait=True, allowed_mentions=NO_PINGS)
                await self._store.record_message(job_id, sent.id)
            except (StoreError, *DISCORD_FAILED) as error:
                log.info("job %s: its order can't be announced: %s", job_id, error)

    async def show_video(
        self, job_id: str, text: str, file: Callable[[], discord.File], view: discord.ui.View
    ) -> int:
        """Puts the video into the public message, or else the private answer; returns the message's id.

        Raises: Undeliverable if that isn't possible any more, and other DeliveryErrors.
        """
        answer = await self._alive(job_id)
        if answer is None or answer.expires_at - self._clock() <= _NOT_BEGUN_IN_LAST:
            raise Undeliverable("its order can't be answered any more")
        hook = self._hook(answer)
        ids = await self._places(answer)
        with translated(), _while_alive():
            for message_id in ids:
                try:
                    await hook.edit_message(
                        message_id, content=text, attachments=[file()], view=view, allowed_mentions=NO_PINGS
                    )
                except discord.NotFound as error:
                    if not is_missing(error) or message_id == ids[-1]:
                        raise
                    log.info("job %s: its announcement was deleted", job_id)
                else:
                    return message_id
        raise Undeliverable("its order can't be answered")

    async def find_video(self, job_id: str, button_id: str) -> int | None:
        """The message into which the video was put before, by its button. Raises: DeliveryError."""
        answer = await self._alive(job_id)
        if answer is None:
            return None
        for message_id in (answer.message_id, answer.answer_id):
            if message_id is not None and await self._has_button(answer, message_id, button_id):
                return message_id
        return None

    async def tell(self, job_id: str, text: str) -> bool:
        """Replaces the private answer by `text`; False if that isn't possible, or it is about other jobs too."""
        try:
            answer = await self._alive(job_id)
            if answer is None or await self._store.count_sharing(answer.answer_id) > 1:
                return False
            await self._hook(answer).edit_message(
                answer.answer_id, content=text, view=None, allowed_mentions=NO_PINGS
            )
        except (StoreError, *DISCORD_FAILED) as error:
            log.info("job %s: the answer to its order can't be changed: %s", job_id, error)
            return False
        return True

    async def remove_video(self, job_id: str, button_id: str) -> None:
        """Deletes the message that the video was put into, while that is possible. Raises: DeliveryError.

        button_id: of the video's button, by which it is known.
        """
        answer = await self._alive(job_id)
        if answer is None:
            return
        for message_id in await self._places(answer):
            if await self._has_button(answer, message_id, button_id):
                await self._delete(answer, message_id)

    async def close(self, job_id: str, button_id: str) -> None:
        """Deletes the announcement of a job that ended, unless its video is there, and forgets the token.

        Raises: DeliveryError.
        """
        answer = await self._alive(job_id)
        if answer is not None and answer.message_id is not None:
            if not await self._has_button(answer, answer.message_id, button_id):
                await self._delete(answer, answer.message_id)
            if not await self._has_button(answer, answer.answer_id, button_id):
                with contextlib.suppress(*DISCORD_FAILED):  # its buttons are for jobs in progress
                    await self._hook(answer).edit_message(answer.answer_id, view=None)
        await self._store.forget(job_id)

    async def _alive(self, job_id: str) -> OpenAnswer | None:
        await self._replies.until_written(job_id)
        answer = await self._store.of(job_id)
        return None if answer is None or answer.expires_at <= self._clock() else answer

    async def _places(self, answer: OpenAnswer) -> list[int]:
        """The messages that the video may be put into, the best first; never one that other jobs share."""
        places = [] if answer.message_id is None else [answer.message_id]
        if await self._store.count_sharing(answer.answer_id) == 1:
            places.append(answer.answer_id)
        return places

    async def _delete(self, answer: OpenAnswer, message_id: int) -> None:
        with translated(), contextlib.suppress(Undeliverable), _while_alive():
            await self._hook(answer).delete_message(message_id)

    async def _has_button(self, answer: OpenAnswer, message_id: int, button_id: str) -> bool:
        with translated(), contextlib.suppress(Undeliverable), _while_alive():
            message = await self._hook(answer).fetch_message(message_id)
            shown = components_within(message.components)
            return any(getattr(component, "custom_id", None) == button_id for component in shown)
        return False

    def _hook(self, answer: OpenAnswer) -> discord.Webhook:
        assert self._client.application_id is not None  # noqa: S101 - it is logged in
        return discord.Webhook.partial(self._client.application_id, answer.token, client=self._client)


@contextlib.contextmanager
def _while_alive() -> Iterator[None]:
    """Raises Undeliverable where Discord says that the message or the token is gone."""
    try:
        yield
    except discord.HTTPException as error:
        if is_missing(error) or error.code == _INVALID_TOKEN:
            raise Undeliverable("its order can't be answered any more") from error
        raise
