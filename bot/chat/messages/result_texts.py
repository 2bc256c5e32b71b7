"""What members read who play with a finished video: how it was made, and the form to edit it. Pure."""

from datetime import timedelta

import discord

from bot.chat.messages import model_texts
from bot.chat.messages.markdown import discord_length, escaped, exact, mention
from bot.domain.durations import show_duration
from bot.domain.jobs import Job, JobState
from bot.domain.models import Catalog
from bot.domain.money import show_usd

FORM_TITLE = "Edit and make again"
SEED_HINT = "Empty for another one. The same seed gives a similar video."
SLOW = "I can't look that video up right now. Nothing was done, so please click again in a moment."

_EMBED_MAX = 4096
"""Characters in an embed's description (Discord's documentation of Embed Limits)."""


def details(job: Job, *, with_cost: bool, catalog: Catalog = Catalog()) -> discord.Embed:
    """All about a video. with_cost: also what it cost, for who manages the server."""
    order = job.order
    lines = []
    if model_texts.is_special(order, catalog):
        lines.append(f"**Model:** {escaped(model_texts.model_of(order))} · **Length:** {order.duration_s} s")
    seed = "random" if order.seed is None else f"`{order.seed}`"
    lines += [
        f"**Resolution:** {order.resolution}",
        f"**Seed:** {seed}",
        f"**Prompt extended:** {_yes_or_no(order.prompt_extend)} · **Watermark:** {_yes_or_no(order.watermark)}",
        f"**For:** {mention(job.user_id)}, who asked {exact(job.created_at)}",
    ]
    if job.state is JobState.DELIVERED:
        taken = timedelta(seconds=round((job.state_changed_at - job.created_at).total_seconds()))
        lines.append(f"**Took:** {show_duration(taken)}")
    if with_cost:
        lines.append(f"**Cost:** {_cost(job)} (only shown to those who manage me here)")
    lines.append(f"-# Job `{job.id}`")
    unwanted = f"**Without:** {escaped(order.negative_prompt)}" if order.negative_prompt else ""
    rest = "\n".join(filter(None, [unwanted, *lines]))
    prompt = escaped(order.prompt, _EMBED_MAX - discord_length(rest) - len("> \n"))
    return discord.Embed(title="How this video was made", description=f"> {prompt}\n{rest}"[:_EMBED_MAX])


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - it is all that the function takes
    return "yes" if value else "no"


def _cost(job: Job) -> str:
    if job.cost_usd is not None:
        return show_usd(job.cost_usd)
    return "unknown" if job.estimated_cost_usd is None else f"about {show_usd(job.estimated_cost_usd)}"
