"""Answers accepted orders: privately, and where the bot isn't a member also with what it can do only there."""

from bot.chat.context import Interaction, services_of
from bot.chat.messages import member_texts
from bot.services.videos import AcceptedOrder


async def answer_accepted(interaction: Interaction, result: AcceptedOrder) -> None:
    """Says that the order is accepted and where its videos will be. The interaction is already deferred."""
    services, job = services_of(interaction), result.job
    here = job.channel_id == interaction.channel_id
    if here:
        services.upload_limits.state(job.channel_id, interaction.filesize_limit)
    text = member_texts.accepted(result, here=here)
    async with services.replies.answering(job.id, interaction, [other.id for other in result.others]):
        if job.has_channel:
            await interaction.edit_original_response(content=text, view=None)
            return
        cancel = services.answers.cancel_row([one.id for one in result.jobs])
        answer = await interaction.edit_original_response(content=text, view=cancel)
        is_public = not result.settings.direct
        said = {one.id: member_texts.announced(one) if is_public else None for one in result.jobs}
        await services.answers.open(interaction, answer.id, said)
