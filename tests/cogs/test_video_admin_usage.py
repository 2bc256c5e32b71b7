import csv
import io
import sys

import pytest
from PIL import Image
from simcord import ChannelHandle, MemberActor, ResponseMessage

from bot.domain.usage_stats import Period
from tests.cogs.admins import admin, another_guild, ask, bypass_client_check, plain, text_of
from tests.cogs.conftest import CogHarness

COMMAND = "video-admin usage"


async def show_usage(
    harness: CogHarness, who: MemberActor, channel: ChannelHandle | None = None, **options: str
) -> ResponseMessage:
    result = await who.slash(channel or harness.offline.channel, COMMAND, **options)
    assert result.response is not None
    return result.response


async def files(message: ResponseMessage) -> dict[str, bytes]:
    return {file.filename: await file.read() for file in message.attachments}


async def test_the_usage_comes_with_a_chart_and_a_table(harness: CogHarness) -> None:
    await harness.animate("a secret wish")
    await harness.wait_for_video()

    answer = await show_usage(harness, admin(harness))

    assert answer.ephemeral
    assert "**1 video** by 1 member: 1 delivered. 100% of finished attempts succeeded." in answer.content
    assert f"1. <@{harness.offline.viewer.id}>: 1 ordered, 1 delivered" in answer.content
    picture, table = (await files(answer)).items()
    assert picture[0] == "usage.png"
    assert Image.open(io.BytesIO(picture[1])).size == (1000, 620)
    assert table[0].endswith(".csv")
    (line,) = csv.DictReader(io.StringIO(table[1].decode()))
    assert (line["member_id"], line["state"]) == (str(harness.offline.viewer.id), "delivered")
    assert b"secret" not in table[1]


async def test_a_server_without_videos_gets_a_reply_without_files(harness: CogHarness) -> None:
    answer = await show_usage(harness, admin(harness), period=Period.LAST_MONTH.value)

    assert "Nobody ordered a video in that time" in answer.content
    assert answer.attachments == []


async def test_a_chart_that_cannot_be_drawn_keeps_nobody_from_figures_and_table(
    harness: CogHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.animate("a fox")
    await harness.wait_for_video()
    monkeypatch.setattr(sys, "executable", "/no/such/python")  # as if the host had no process left

    answer = await show_usage(harness, admin(harness))

    assert "**1 video** by 1 member" in answer.content
    assert "The chart couldn't be drawn this time." in answer.content
    assert [name[-4:] for name in await files(answer)] == [".csv"]


@pytest.mark.parametrize("period", Period)
async def test_each_period_can_be_chosen(harness: CogHarness, period: Period) -> None:
    assert "Usage of this server" in await ask(harness, admin(harness), COMMAND, period=period.value)


async def test_an_admin_of_another_server_sees_nothing_of_this_one(harness: CogHarness) -> None:
    await harness.animate("mine")
    await harness.wait_for_video()
    guild, channel = another_guild(harness)

    answer = await show_usage(harness, admin(harness, "stranger", guild=guild), channel, period=Period.ALL.value)

    assert "Nobody ordered a video" in answer.content
    assert str(harness.offline.viewer.id) not in answer.content
    assert answer.attachments == []


async def test_a_member_without_manage_server_is_refused(harness: CogHarness) -> None:
    await harness.animate("mine")
    await harness.wait_for_video()

    result = await bypass_client_check(plain(harness), harness.offline.channel, COMMAND)

    assert "Manage Server" in text_of(result)
    assert result.ephemeral
    assert result.response is not None
    assert result.response.attachments == []
