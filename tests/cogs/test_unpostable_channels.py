"""The whole bot where a channel takes none of its messages, such as a private thread that the bot isn't in."""

from pathlib import Path

from bot.domain.jobs import JobState
from tests.discord_server import DiscordServer, Interaction, refused
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, open_harness


def content(asked: Interaction) -> str:
    return "" if asked.original is None else asked.original.content


async def test_the_private_answer_says_at_once_that_nothing_can_be_posted_there_and_what_to_do(
    tmp_path: Path,
) -> None:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
        harness.worker_running(),
    ):
        posts = f"/channels/{server.channel.id}/messages"
        server.fail_next("POST", posts, refused(403, 50001, "Missing Access"), times=1000)

        asked = await harness.order("a heron")
        await asked.until(lambda: "mentioning me there" in content(asked), timeout_s=WITHIN_S)

        assert "It doesn't count" in content(asked)
        job = await harness.job("a heron")
        assert (job.state, job.charged) == (JobState.FAILED, False)
        while (await harness.job("a heron")).due_at is not None:
            await harness.app.store.release([])
        assert not upstream.received
        assert server.messages(server.state.direct(server.member).id) == []
