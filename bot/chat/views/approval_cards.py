"""Approval cards: messages that ask a server's moderators whether a video may be made, and their buttons.

The buttons' custom ids are `zoetrope:approve:<job id>` and `zoetrope:decline:<job id>`; a card is found again by
them after a crash. A click stores the decision, and the worker then edits the card to show it.
"""

import contextlib
import io

import discord

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import alt_texts, model_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length, escaped, mention, relative
from bot.chat.posting import DISCORD_FAILED, NO_PINGS, find_by_button, translated, unless_deleted
from bot.chat.views.persistent_button import PersistentButton, job_custom_id, row_of
from bot.domain.approvals import APPROVAL_TIMEOUT, Decision, Verdict
from bot.domain.errors import NotPossible
from bot.domain.jobs import FailureReason, Frame, Job, JobState
from bot.domain.money import show_usd

_BUTTONS = {
    "approve": (Verdict.APPROVED, "Approve", discord.ButtonStyle.success),
    "decline": (Verdict.DECLINED, "Decline", discord.ButtonStyle.danger),
}
_ANSWERS = {
    Verdict.APPROVED: "You approved it. It starts as soon as there's a free slot.",
    Verdict.DECLINED: "You declined it. I'll tell the member, and it doesn't count against their limits.",
}
_PROMPT_MAX = 1600
"""800 characters, all escaped. Some models read longer prompts."""
_LONGEST_OUTCOME = 200
"""Room for the line that shows the decision."""


def question(job: Job, count: int = 1) -> str:
    """What the moderators are asked: who wants what, and how long they have. count: of how many variations."""
    order = job.order
    numbers = model_texts.options(order)
    if order.seed is not None and count == 1:
        numbers.append(f"seed {order.seed}")
    if not order.prompt_extend:
        numbers.append("prompt not extended")
    if order.watermark:
        numbers.append("watermark")
    if job.estimated_cost_usd is not None:
        numbers.append(f"about {show_usd(job.estimated_cost_usd * count)}")
    wish = "a video" if count == 1 else f"{count} variations of a video"
    prompt = escaped(order.prompt, _PROMPT_MAX)
    head = f"🔍 {mention(job.user_id)} would like {wish} in <#{job.channel_id}>.\n> {prompt}"
    foot = f"\n-# {' · '.join(numbers)}"
    if order.negative_prompt:
        unwanted = "\n> -# without: "
        left = CONTENT_MAX - _LONGEST_OUTCOME - discord_length(head + foot + unwanted)
        if left > 1:
            head += unwanted + escaped(order.negative_prompt, left - 1)
    return head + foot


def asked(job: Job, count: int = 1) -> str:
    """The question while it is open."""
    ends = relative(job.created_at + APPROVAL_TIMEOUT)
    it_expires = "it expires" if count == 1 else "they expire"
    return f"{question(job, count)}\nIf nobody answers, {it_expires} {ends} at no cost."


def answered(job: Job, decision: Decision | None, count: int = 1) -> str:
    """The question and its outcome."""
    return f"{question(job, count)}\n{_outcome(job, decision)}"


def _outcome(job: Job, decision: Decision | None) -> str:
    if job.state is JobState.CANCELLED:
        return "🚫 Cancelled before it was made."
    if decision is not None and decision.verdict is Verdict.APPROVED:
        return f"✅ {mention(decision.moderator_id)} approved it {relative(decision.decided_at)}."
    if decision is not None:
        return f"🚫 {mention(decision.moderator_id)} declined it {relative(decision.decided_at)}."
    if job.failure_reason is FailureReason.EXPIRED:
        return "⌛ It expired because nobody answered within a day."
    return "It's no longer waiting for an answer."


class ApprovalButton(
    PersistentButton,
    template=r"zoetrope:(?P<kind>approve|decline):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """Approves or declines one job, with its variations."""

    def __init__(self, kind: str, job: str) -> None:
        self.verdict, label, style = _BUTTONS[kind]
        self.job_id = job
        super().__init__(label, job_custom_id(kind, job), style)

    async def act(self, interaction: Interaction) -> None:
        """Stores the decision, if this member may decide and nobody has yet."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        admin, card = await admin_of(interaction), interaction.message
        try:
            await services_of(interaction).admins.jobs.decide(
                admin, self.job_id, self.verdict, card_id=None if card is None else card.id
            )
        except NotPossible:
            # Nothing is left to decide. A card in a former log channel still has its buttons.
            if card is not None:
                with contextlib.suppress(*DISCORD_FAILED):
                    await card.edit(view=None)
            raise
        await interaction.edit_original_response(content=_ANSWERS[self.verdict])


def approval_view(job_id: str) -> discord.ui.View:
    """Both buttons."""
    return row_of(*(ApprovalButton(kind, job_id) for kind in _BUTTONS))


class ApprovalCards:
    """Posts approval requests. `client`: logged in; connected to the gateway or not."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def post(self, job: Job, frame: Frame, channel_id: int, *, check_existing: bool, count: int = 1) -> int:
        """See `bot.worker.stages.ApprovalMessenger`."""
        with translated():
            channel = self._channel(job, channel_id)
            if check_existing and (found := await self._find(job, channel)) is not None:
                return found
            sent = await channel.send(
                asked(job, count),
                file=discord.File(
                    io.BytesIO(frame.data),
                    filename="first-frame.png" if frame.mime == "image/png" else "first-frame.jpg",
                    spoiler=job.is_spoiler,
                    description=alt_texts.of_picture(job),
                ),
                nonce=f"{job.id}-r",
                view=approval_view(job.id),
                allowed_mentions=NO_PINGS,
            )
            return sent.id

    async def close(self, job: Job, decision: Decision | None, channel_id: int, *, count: int = 1) -> None:
        """Shows the decision on the card. A card in a former log channel stays as it is."""
        channel = self._channel(job, channel_id)
        with translated(), unless_deleted():
            message_id = job.approval_message_id or await self._find(job, channel)
            if message_id is None:
                return
            card = channel.get_partial_message(message_id)
            # The picture is the member's and is no longer needed or stored anywhere else.
            text = answered(job, decision, count)
            await card.edit(content=text, view=None, attachments=[], allowed_mentions=NO_PINGS)

    async def _find(self, job: Job, channel: discord.PartialMessageable) -> int | None:
        """The job's open card in the channel."""
        wanted = {job_custom_id(kind, job.id) for kind in _BUTTONS}
        return await find_by_button(self._client, channel, wanted, since=job.created_at)

    def _channel(self, job: Job, channel_id: int) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(channel_id, guild_id=job.guild_id)
