"""The button that extends a video: it asks for a prompt, and orders a video that goes on from the last frame."""

import asyncio
import contextlib
import re
from collections.abc import Mapping

import discord

from bot.chat.authorization import buyer, requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import extension_texts
from bot.chat.messages.markdown import discord_length
from bot.chat.quotes import quote_for_form, saying_quote
from bot.chat.views.persistent_button import PersistentButton, job_custom_id
from bot.chat.views.persistent_form import PersistentForm, show_form
from bot.domain.errors import StoreError
from bot.domain.jobs import DEFAULT_DURATION_S
from bot.domain.models import WAN22_FLASH, Model

_PROMPT = "prompt"


class ExtendButton(PersistentButton, template=r"zoetrope:extend:(?P<job>[A-Za-z0-9_-]{1,20})"):
    """Extends the video that it is under."""

    works_in_direct_messages = True

    def __init__(self, job: str) -> None:
        self.job_id = job
        super().__init__("Extend", job_custom_id("extend", job), discord.ButtonStyle.secondary)

    async def act(self, interaction: Interaction) -> None:
        """Asks for the prompt. What can't be extended is refused here, or else once the form comes back."""
        who, prompt, quote, catalog = requester(interaction), "", None, interaction.client.catalog
        model, duration_s = catalog.default, catalog.default.durations_s[0]
        until_s = asyncio.get_running_loop().time() + services_of(interaction).form_times.lookup_s
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout_at(until_s):
                extensions = services_of(interaction).extensions
                parent, _ = await extensions.extendable(self.job_id, who, message_id=_message_id(interaction))
            prompt, duration_s = parent.order.prompt, parent.order.duration_s
            model, buying = catalog.model(parent.order.model) or model, buyer(interaction, self.job_id)
            quote = await quote_for_form(interaction, buying, parent.order, until_s=until_s)
        await show_form(interaction, extend_form(self.job_id, prompt, interaction.id, model, duration_s), quote)


def extend_form(
    job_id: str, prompt: str, click_id: int, model: Model = WAN22_FLASH, duration_s: int = DEFAULT_DURATION_S
) -> discord.ui.Modal:
    """Asks what happens next. click_id: of the click that shows it, as each form needs its own custom id.

    model, duration_s: of the video and of what is added to it.
    """
    form = discord.ui.Modal(title="Extend this video", custom_id=f"{job_custom_id('extend', job_id)}:{click_id}")
    # Discord may count an emoji as two characters, and would refuse a form whose own text is too long.
    longest = max(model.prompt_max, discord_length(prompt))
    entry = discord.ui.TextInput[discord.ui.Modal](
        custom_id=_PROMPT, style=discord.TextStyle.paragraph, max_length=longest, default=prompt or None
    )
    hint = f"Another {duration_s} seconds, from the last picture on. They count like a new video."
    form.add_item(discord.ui.Label(text="What happens next?", description=hint, component=entry))
    return form


class ExtendForm(PersistentForm):
    """Takes what happens next, and orders the video."""

    template = re.compile(r"zoetrope:extend:(?P<job>[A-Za-z0-9_-]{1,20}):(?P<click>[0-9]{1,20})")

    def __init__(self, job: str, click: str) -> None:
        self._job_id, self._click_id = job, int(click)

    async def act(self, interaction: Interaction, fields: Mapping[str, str]) -> None:
        """Orders the video and answers privately."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await extend(interaction, self._job_id, fields.get(_PROMPT, ""), interaction_id=self._click_id)


async def extend(interaction: Interaction, job_id: str, prompt: str, *, interaction_id: int) -> None:
    """Orders a video that goes on from this job's. The interaction is already deferred.

    interaction_id: what asks for it; see `ExtensionService.extend`.
    """
    services, who = services_of(interaction), await buyer(interaction, job_id)
    with services.limiter.picture(interaction.user.id):
        accepted = await services.extensions.extend(
            job_id,
            who,
            prompt,
            interaction_id=interaction_id,
            message_id=_message_id(interaction),
            say_quote=saying_quote(interaction),
        )
    job = accepted.order.job
    services.upload_limits.state(job.channel_id, interaction.filesize_limit)
    text = extension_texts.accepted(accepted.order, accepted.parent, accepted.extension)
    async with services.replies.answering(job.id, interaction):
        await interaction.edit_original_response(content=text)


def _message_id(interaction: Interaction) -> int | None:
    """The message that was clicked; the form that this showed knows it too. None for a command."""
    return None if interaction.message is None else interaction.message.id
