from tests.cogs.conftest import CogHarness, sample_picture


async def test_a_spoilered_picture_becomes_a_spoilered_video(harness: CogHarness) -> None:
    await harness.offline.animate(sample_picture(), "SPOILER_a.png", "waves roll in")

    posted = await harness.wait_for_video()

    [video] = posted.attachments
    assert video.filename == "SPOILER_a.mp4"
    assert video.is_spoiler()
