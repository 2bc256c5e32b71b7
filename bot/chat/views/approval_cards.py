"""The question to a server's moderators whether a video may be made, and the buttons that answer it.

The buttons work for ever, all they know stands in their custom ids: `zoetrope:approve:<job id>` and
`zoetrope:decline:<job id>`. These also mark the message, by which it is found again after a crash. Who clicks is
checked at the click; the answer is written, and the worker then says under the question how it was answered.
"""

import contextlib
import io
import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.messages.markdown import escaped, mention, relative, room
from bot.chat.permissions.command_permissions import admin_of
from bot.chat.posting import DISCORD_FAILED, NO_PINGS, carries, own_messages, translated
from bot.chat.views.button_errors import answering
from bot.domain.approvals import PATIENCE, Decision, Verdict
from bot.domain.errors import NotPossible
from bot.domain.jobs import FailureReason, Frame, Job, JobState
from bot.domain.money import show_usd
from bot.seams import Seam, around

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot

CONTENT_MAX = 2000
"""Characters in a message's content (Discord's documentation of Create Message)."""

_KINDS = {"approve": Verdict.APPROVED, "decline": Verdict.DECLINED}
_LABELS = {
    "approve": ("Approve", discord.ButtonStyle.success),
    "decline": ("Decline", discord.ButtonStyle.danger),
}
_ENDINGS = {".jpg": "image/jpeg", ".png": "image/png"}
_ANSWERS = {
    Verdict.APPROVED: "Approved. It starts as soon as there's room.",
    Verdict.DECLINED: "Declined. I'll tell the member, and it doesn't count for them.",
}
_LONGEST_OUTCOME = 200
"""Room for the line that says how it was answered."""


def question(job: Job) -> str:
    """What the moderators are asked: who wants what, and how long they have."""
    order = job.order
    numbers = [order.resolution.value]
    if order.seed is not None:
        numbers.append(f"seed {order.seed}")
    if not order.prompt_extend:
        numbers.append("prompt not extended")
    if order.watermark:
        numbers.append("watermark")
    if job.estimate_usd is not None:
        numbers.append(f"about {show_usd(job.estimate_usd)}")
    head = f"🔍 {mention(job.user_id)} wants to make a video in <#{job.channel_id}>.\n> {escaped(order.prompt)}"
    foot = f"\n-# {' · '.join(numbers)}"
    if order.negative_prompt:
        unwanted = "\n> -# negative prompt: "
        left = CONTENT_MAX - _LONGEST_OUTCOME - room(head + foot + unwanted)
        if left > 1:
            head += unwanted + escaped(order.negative_prompt, left - 1)
    return head + foot


def asked(job: Job) -> str:
    """The question while it is open."""
    return f"{question(job)}\nIf nobody answers, it expires {relative(job.created_at + PATIENCE)} at no cost."


def answered(job: Job, decision: Decision | None) -> str:
    """The question, and how it ended."""
    return f"{question(job)}\n{_outcome(job, decision)}"


def _outcome(job: Job, decision: Decision | None) -> str:
    if job.state is JobState.CANCELLED:
        return "🚫 Cancelled before it was made."
    if decision is not None and decision.verdict is Verdict.APPROVED:
        return f"✅ {mention(decision.by)} approved it {relative(decision.at)}."
    if decision is not None:
        return f"🚫 {mention(decision.by)} declined it {relative(decision.at)}."
    if job.failure is FailureReason.EXPIRED:
        return "⌛ Nobody answered within a day, so it expired."
    return "It isn't waiting for an answer any more."


def custom_id(kind: str, job_id: str) -> str:
    """The custom id of the button of that kind for that job."""
    return f"zoetrope:{kind}:{job_id}"


class ReviewButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"zoetrope:(?P<kind>approve|decline):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """One answer to one question, rebuilt from its custom id whenever somebody clicks it."""

    def __init__(self, kind: str, job_id: str) -> None:
        label, style = _LABELS[kind]
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id(kind, job_id)))
        self.kind = kind
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        return cls(match["kind"], match["job"])

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Answers the question, if the one who clicks may and it is still open."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        admin = await admin_of(interaction)
        card, verdict = interaction.message, _KINDS[self.kind]
        try:
            await interaction.client.admins.reviews.decide(
                admin, self.job_id, verdict, card_id=None if card is None else card.id
            )
        except NotPossible:
            # Nothing is left to answer. Its buttons can have stayed, where the log channel was changed.
            if card is not None:
                with contextlib.suppress(*DISCORD_FAILED):
                    await card.edit(view=None)
            raise
        await interaction.edit_original_response(content=_ANSWERS[verdict])


def review_view(job_id: str) -> discord.ui.View:
    """Both buttons. It holds nothing in memory: the click is routed by the custom id."""
    row = discord.ui.View(timeout=None)
    for kind in _KINDS:
        row.add_item(ReviewButton(kind, job_id))
    return row


class ApprovalCards:
    """The steps' moderators. `client`: logged in; connected to the gateway or not."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    @around(Seam.POST_CARD)
    async def ask(self, job: Job, frame: Frame, channel_id: int, *, look_first: bool) -> int:
        """See `bot.worker.stages.Moderators`."""
        with translated():
            channel = self._channel(job, channel_id)
            if look_first and (found := await self._find(job, channel)) is not None:
                return found
            sent = await channel.send(
                asked(job),
                file=discord.File(io.BytesIO(frame.data), filename=f"first-frame{_ending(frame)}"),
                nonce=f"{job.id}-r",
                view=review_view(job.id),
                allowed_mentions=NO_PINGS,
            )
            return sent.id

    @around(Seam.CLOSE_CARD)
    async def close(self, job: Job, decision: Decision | None, channel_id: int) -> None:
        """Where the log channel was changed meanwhile, the old question stays."""
        channel = self._channel(job, channel_id)
        with translated(), contextlib.suppress(discord.NotFound):
            message_id = job.review_message_id or await self._find(job, channel)
            if message_id is None:
                return
            card = channel.get_partial_message(message_id)
            # The picture has done its part; it is the member's, and kept nowhere else by now.
            await card.edit(content=answered(job, decision), view=None, attachments=[], allowed_mentions=NO_PINGS)

    async def _find(self, job: Job, channel: discord.PartialMessageable) -> int | None:
        """The question about the job that stands open in the channel."""
        wanted = {custom_id(kind, job.id) for kind in _KINDS}
        async for message in own_messages(self._client, channel, since=job.created_at):
            if carries(message, wanted):
                return message.id
        return None

    def _channel(self, job: Job, channel_id: int) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(channel_id, guild_id=job.guild_id)


def _ending(frame: Frame) -> str:
    return next((ending for ending, mime in _ENDINGS.items() if mime == frame.mime), ".jpg")
