"""The buttons on the one card of variations: one that cancels each, and one that cancels all.

Custom ids are `zoetrope:cancelall:<job id>` and, under the question whether to cancel those that are paid for as
well, `zoetrope:spendall:<job id>`, with the id of any of them; the others are found by it at the click.
"""

from collections.abc import Iterator

import discord

from bot.chat.authorization import requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import cancellation_texts
from bot.chat.views.member_buttons import ButtonKind, JobButton
from bot.chat.views.persistent_button import PersistentButton, job_custom_id, row_of
from bot.domain.jobs import ENDED
from bot.domain.status_cards import VariationsCard

CANCEL_ALL = "cancelall"
_CANCEL_ALL_PAID = "spendall"
_LABELS = {CANCEL_ALL: "Cancel all", _CANCEL_ALL_PAID: "Cancel all anyway"}


class CancelAllButton(
    PersistentButton, template=r"zoetrope:(?P<kind>cancelall|spendall):(?P<job>[A-Za-z0-9_-]{1,20})"
):
    """Cancels a member's own variations that have not ended; asks first about those that are paid for."""

    works_in_direct_messages = True

    def __init__(self, kind: str, job: str) -> None:
        self.paid_too, self.job_id = kind == _CANCEL_ALL_PAID, job
        style = discord.ButtonStyle.danger if self.paid_too else discord.ButtonStyle.secondary
        super().__init__(_LABELS[kind], job_custom_id(kind, job), style)

    async def act(self, interaction: Interaction) -> None:
        """Cancels them and says what that means."""
        await interaction.response.defer(ephemeral=True, thinking=not self.paid_too)
        result = await services_of(interaction).jobs.cancel_together(
            self.job_id, requester(interaction), even_if_paid=self.paid_too
        )
        text = cancellation_texts.of_variations(result)
        question = row_of(CancelAllButton(_CANCEL_ALL_PAID, self.job_id)) if result.paid else None
        await interaction.edit_original_response(content=text, view=question)


def cancel_buttons(card: VariationsCard) -> Iterator[PersistentButton]:
    """A button for each that can still be cancelled, and one for all."""
    left = 0
    for number, (job, shown) in enumerate(zip(card.jobs, card.cards, strict=True), 1):
        if shown.state not in ENDED and not shown.is_cancelled:
            left += 1
            button = JobButton(ButtonKind.CANCEL, job.id)
            button.item.label = f"Cancel {number}"
            yield button
    if left > 1:
        yield CancelAllButton(CANCEL_ALL, card.jobs[0].id)
