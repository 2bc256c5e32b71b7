"""Where moderators approve videos, they are asked once about all variations of an order."""

from bot.domain.jobs import JobState
from tests.cogs.conftest import CogHarness
from tests.cogs.test_approval import ApprovalHarness, approval_harness
from tests.cogs.test_variations import text_of

__all__ = ["approval_harness"]


def cards(harness: ApprovalHarness) -> list[str]:
    return [message.content for message in harness.log.history() if "would like" in message.content]


async def test_one_card_lets_all_of_them_be_made(harness: CogHarness, approval_harness: ApprovalHarness) -> None:
    said = await harness.animate("a *sea*", variations=2, seed=7)
    assert "A moderator has to approve your 2 variations first." in said
    card = await approval_harness.wait_for_log_message(
        lambda message: "2 variations of a video" in message.content
    )

    await approval_harness.moderator.click(card, label="Approve")

    for seed in (7, 8):
        await harness.wait_for_message(f"seed {seed}")
    await approval_harness.wait_for_log_message(lambda message: "approved it" in message.content)
    assert len(cards(approval_harness)) == 1


async def test_one_click_declines_all_of_them(harness: CogHarness, approval_harness: ApprovalHarness) -> None:
    await harness.animate("a *sea*", variations=2)
    card = await approval_harness.wait_for_log_message(
        lambda message: "2 variations of a video" in message.content
    )
    shown = await harness.wait_for_message_where(lambda message: "🛂 waiting for a moderator" in text_of(message))
    assert "sea" not in text_of(shown)

    await approval_harness.moderator.click(card, label="Decline")

    await harness.wait_for_message("a moderator declined your video")
    jobs = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    assert [job.state for job in jobs] == [JobState.FAILED] * 2
