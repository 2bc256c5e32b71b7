"""Tells members what an order will take before it is placed: in the form for it, or in the private answer.

A quote is a help: where it can't be found out in time, or be said, the order goes on without it.
"""

import asyncio
import logging
from collections.abc import Awaitable

from bot.chat.authorization import may_see_cost
from bot.chat.context import Interaction, services_of
from bot.chat.messages import quote_texts
from bot.chat.posting import DISCORD_FAILED, UNREADABLE
from bot.chat.replies import as_shown
from bot.domain.errors import NotPossible, QuotaRefused, RuleRefused, StoreError
from bot.domain.jobs import Order
from bot.domain.policy import Requester
from bot.domain.quotes import Quote
from bot.services.videos import SayQuote

log = logging.getLogger(__name__)


def saying_quote(interaction: Interaction, *, head: str | None = None) -> SayQuote:
    """Says what an order takes in the private answer, which the confirmation then replaces.

    The interaction is already deferred. head: what the answer says already.
    """

    async def say(quote: Quote) -> None:
        text = quote_texts.before(quote, with_cost=await may_see_cost(interaction), head=head)
        try:
            await interaction.edit_original_response(content=text, view=None)
        except (*DISCORD_FAILED, *UNREADABLE) as error:
            log.info("what an order takes couldn't be said before it: %r", error)

    return say


async def quote_for_form(
    interaction: Interaction, who: Awaitable[Requester], order: Order | None, *, until_s: float | None = None
) -> str | None:
    """The line about what an order takes that a form begins with, or why it would be refused now.

    None where the server shows no quotes, and if it can't be found out in time. order: None for one without
    options. until_s: the event loop's time by which the form has to be shown, if that is sooner.
    """
    ends_s = asyncio.get_running_loop().time() + services_of(interaction).form_times.quote_s
    try:
        async with asyncio.timeout_at(ends_s if until_s is None else min(ends_s, until_s)):
            quote = await services_of(interaction).jobs.quote(await who, order)
            if quote is None:
                return None
            return quote_texts.quoted(quote, with_cost=await may_see_cost(interaction), may_change=True)
    except (QuotaRefused, RuleRefused) as refused:
        return quote_texts.refused(as_shown(interaction, refused.reason))
    except NotPossible:  # the answer to the form says why
        return None
    except (StoreError, TimeoutError) as error:
        log.info("a form was shown without what its order takes: %r", error)
        return None
