"""Places an order: the one way of every command and form."""

from typing import Unpack

from bot.chat.authorization import is_elsewhere, may_manage, requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import member_texts
from bot.chat.order_answers import answer_accepted
from bot.chat.permissions.channel_permissions import refuse_where_unpostable
from bot.chat.pictures import Picture
from bot.chat.quotes import saying_quote
from bot.services.videos import OrderOptions


async def order(
    interaction: Interaction, picture: Picture, *, variations: int = 1, **options: Unpack[OrderOptions]
) -> None:
    """Orders a video of the picture in the interaction's channel, and answers privately.

    The interaction is deferred already. Raises: UserError for whatever refuses it.
    """
    services, elsewhere = services_of(interaction), is_elsewhere(interaction)
    if elsewhere:
        # Before anything is paid for: where the video will be.
        await interaction.edit_original_response(content=member_texts.ELSEWHERE)
    else:
        refuse_where_unpostable(interaction)
    with services.limiter.picture(interaction.user.id):
        result = await services.jobs.accept(
            requester(interaction, admin=await may_manage(interaction, fresh=False)),
            picture.read,
            picture=picture.labels,
            variations=variations,
            say_quote=saying_quote(interaction, head=member_texts.ELSEWHERE if elsewhere else None),
            **options,
        )
    await answer_accepted(interaction, result)
