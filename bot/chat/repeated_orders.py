"""Orders a video again for whoever clicked a button or sent a form, and answers."""

from bot.chat.authorization import buyer
from bot.chat.context import Interaction, services_of
from bot.chat.messages import member_texts
from bot.domain.repeats import OrderChanges


async def order_again(
    interaction: Interaction, job_id: str, changes: OrderChanges, *, interaction_id: int, variations: int = 1
) -> None:
    """Orders a video again and answers privately. The interaction is already deferred.

    No picture is decoded, so unusable ones that the member sent before don't matter. Raises: UserError.
    """
    services, who = services_of(interaction), await buyer(interaction, job_id)
    result = await services.jobs.order_again(
        job_id, who, changes, interaction_id=interaction_id, variations=variations
    )
    is_here = result.job.channel_id == interaction.channel_id
    if is_here:
        services.upload_limits.state(result.job.channel_id, interaction.filesize_limit)
    text = member_texts.accepted(result, here=is_here)
    async with services.replies.answering(result.job.id, interaction, [job.id for job in result.others]):
        await interaction.edit_original_response(content=text, view=None)
