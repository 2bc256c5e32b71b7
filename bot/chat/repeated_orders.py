"""Orders a video again for whoever clicked a button or sent a form, and answers."""

from bot.chat.authorization import buyer
from bot.chat.context import Interaction, services_of
from bot.chat.order_answers import answer_accepted
from bot.chat.quotes import saying_quote
from bot.domain.repeats import OrderChanges


async def order_again(
    interaction: Interaction, job_id: str, changes: OrderChanges, *, interaction_id: int, variations: int = 1
) -> None:
    """Orders a video again and answers privately. The interaction is already deferred.

    No picture is decoded, so unusable ones that the member sent before don't matter. Raises: UserError.
    """
    services, who = services_of(interaction), await buyer(interaction, job_id)
    result = await services.jobs.order_again(
        job_id,
        who,
        changes,
        interaction_id=interaction_id,
        variations=variations,
        say_quote=saying_quote(interaction),
    )
    await answer_accepted(interaction, result)
