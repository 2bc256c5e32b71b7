"""The button Variations under a finished video, and the question how many.

Custom ids are `zoetrope:vary:<job id>` and, under the question, `zoetrope:vary<number>:<job id>:<click id>`, with
the id of the click that asked: answering twice orders once.
"""

import discord

from bot.chat.authorization import buyer, may_see_cost
from bot.chat.context import Interaction, services_of
from bot.chat.messages import variation_texts
from bot.chat.repeated_orders import order_again
from bot.chat.views.persistent_button import PersistentButton, job_custom_id, row_of
from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.jobs import Order
from bot.domain.policy import Requester
from bot.domain.quotes import Quote
from bot.domain.variations import VARIATIONS_MAX


class VariationsButton(PersistentButton, template=r"zoetrope:vary:(?P<job>[A-Za-z0-9_-]{1,20})"):
    """Asks how many variations of the video to make; for everybody who sees it."""

    works_in_direct_messages = True

    def __init__(self, job: str) -> None:
        self.job_id = job
        super().__init__("Variations", job_custom_id("vary", job), discord.ButtonStyle.secondary)

    async def act(self, interaction: Interaction) -> None:
        """Asks, and says what the member has left."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        jobs, who = services_of(interaction).jobs, await buyer(interaction, self.job_id)
        job = await jobs.repeatable(self.job_id, who)
        allowance = await jobs.allowance(who)
        choices = [
            NumberButton(f"vary{number}", self.job_id, str(interaction.id), disabled=number > allowance.room)
            for number in range(2, VARIATIONS_MAX + 1)
        ]
        text = variation_texts.how_many(allowance, await _quote(interaction, who, job.order))
        await interaction.edit_original_response(content=text, view=row_of(*choices))


async def _quote(interaction: Interaction, who: Requester, order: Order) -> Quote | None:
    """What one such video takes, for who may see what it costs; None if it would be refused."""
    if not await may_see_cost(interaction):
        return None
    try:
        return await services_of(interaction).jobs.quote(who, order)
    except (QuotaRefused, RuleRefused):
        return None


class NumberButton(
    PersistentButton,
    template=r"zoetrope:(?P<kind>vary2|vary3|vary4):(?P<job>[A-Za-z0-9_-]{1,20}):(?P<click>[0-9]{1,20})",
):
    """Orders so many variations; the answer replaces the question."""

    works_in_direct_messages = True

    def __init__(self, kind: str, job: str, click: str, *, disabled: bool = False) -> None:
        self.number, self.job_id, self.click_id = int(kind.removeprefix("vary")), job, int(click)
        custom_id = f"{job_custom_id(kind, job)}:{click}"
        super().__init__(f"{self.number} videos", custom_id, discord.ButtonStyle.primary, disabled=disabled)

    async def act(self, interaction: Interaction) -> None:
        """Orders them."""
        await interaction.response.defer(ephemeral=True)
        await order_again(interaction, self.job_id, {}, interaction_id=self.click_id, variations=self.number)
