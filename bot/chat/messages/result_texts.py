"""What members read who play with a finished video: how it was made, and the form to edit it. Pure."""

from datetime import timedelta
from decimal import Decimal

import discord

from bot.chat.messages import model_texts
from bot.chat.messages.markdown import discord_length, escaped, exact, mention
from bot.chat.messages.quote_texts import about
from bot.domain.durations import show_duration
from bot.domain.jobs import Job, JobState
from bot.domain.ledger import expected_balances, is_plausible_cost
from bot.domain.models import DEFAULT_CATALOG, Catalog
from bot.domain.money import show_usd

FORM_TITLE = "Edit and make again"
SEED_HINT = "Empty for another one. The same seed gives a similar video."
SLOW = "I can't look that video up right now. Nothing was done, so please click again in a moment."

_EMBED_MAX = 4096
"""Characters in an embed's description (Discord's documentation of Embed Limits)."""


def details(
    job: Job, *, is_own: bool = False, with_cost: bool, catalog: Catalog = DEFAULT_CATALOG
) -> discord.Embed:
    """All about a video. is_own: whether its member reads it. with_cost: also what it cost, for who may see that.

    What it took of the member's limits is between them and these.
    """
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
    if is_own or with_cost:
        lines.append(f"**Counted:** {_counted(job)}")
    if with_cost:
        lines.append(f"**Cost:** {_cost(job)} (only shown to those who manage me here)")
    lines.append(f"-# Job `{job.id}`")
    unwanted = f"**Without:** {escaped(order.negative_prompt)}" if order.negative_prompt else ""
    rest = "\n".join(filter(None, [unwanted, *lines]))
    prompt = escaped(order.prompt, _EMBED_MAX - discord_length(rest) - len("> \n"))
    return discord.Embed(title="How this video was made", description=f"> {prompt}\n{rest}"[:_EMBED_MAX])


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - it is all that the function takes
    return "yes" if value else "no"


def _counted(job: Job) -> str:
    """What the ledger holds of it against its member."""
    if not job.charged:
        return "nothing, it was returned"
    return "1 video" if job.credit_grant_id is None else "1 credit"


def _cost(job: Job) -> str:
    """What the ledger holds of it in USD: the true cost where it is known, else the estimate."""
    if job.estimated_cost_usd is None and job.cost_usd is None:
        return "unknown"
    with_credit = job.credit_grant_id is not None
    amount = expected_balances(job, job.estimated_cost_usd or Decimal(0), with_credit=with_credit).usd
    if is_plausible_cost(job.cost_usd):
        return show_usd(amount)
    if job.cost_unknown_since is not None:
        return f"not known yet, {about(amount)} is held for it"
    return f"about {about(amount)}" if amount else "nothing"
