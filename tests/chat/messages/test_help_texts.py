"""What `/help` says."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat.messages.help_texts import Command, Help, HelpLine, help_text
from bot.chat.messages.markdown import discord_length
from bot.chat.messages.video_list_texts import TEXT_MAX
from bot.domain.limits import Allowance, Credit, Limit, Limits, Origin, Usage
from bot.domain.quotas import LimitName, VideoLimitReached
from tests.chat.messages.jobs import LARGEST, NOW

LIMITS = Limits(Limit(5, Origin.SERVER), Limit(2, Origin.SERVER), Limit(0, Origin.SERVER), timedelta(hours=24))
FREE = Allowance(LIMITS, Usage((NOW,)), NOW)
ANIMATE = Command("animate", 7)
HELP = Help(ANIMATE, FREE, None, service_closed=False, for_members=[HelpLine((ANIMATE,), "Makes a video")])


def test_it_says_what_can_be_ordered_and_what_is_left() -> None:
    text = help_text(HELP)
    assert text.startswith("### You can make a video here\nUse </animate:7> with a picture")
    assert "You have **4 of 5** videos left in 24 hours." in text
    assert "</animate:7>: Makes a video" in text
    assert "You manage me" not in text


def test_a_command_whose_id_is_not_known_is_plain() -> None:
    assert Command("videos list", None).mention == "`/videos list`"


def test_it_says_why_nothing_can_be_ordered_instead_of_how() -> None:
    refusal = VideoLimitReached(LimitName.GUILD_VIDEOS_PER_DAY, None, used=0, maximum=0)
    text = help_text(replace(HELP, refusal=refusal))
    assert text.startswith("### You can't make a video here right now\n🛑 This server's limit is 0 videos a day.")
    assert "with a picture" not in text


def test_it_says_that_the_service_is_closed() -> None:
    assert "Your order would be kept" in help_text(replace(HELP, service_closed=True))


@pytest.mark.parametrize(
    ("allowance", "reads"),
    [
        (replace(FREE, limits=replace(LIMITS, exempt=True)), "the limits for members don't apply to you"),
        (replace(FREE, usage=Usage(credits=(Credit(1, 3),))), "left in 24 hours, and 3 credits."),
        (
            replace(FREE, usage=Usage((NOW,) * 5)),
            f"**0 of 5** videos left in 24 hours. The next one unlocks <t:{int(NOW.timestamp()) + 86400}:R>.",
        ),
    ],
)
def test_it_says_what_is_special_about_what_is_left(allowance: Allowance, reads: str) -> None:
    assert reads in help_text(replace(HELP, allowance=allowance))


def test_the_longest_help_fits_a_message() -> None:
    lines = [HelpLine((Command("w" * 98, LARGEST),), "d" * 100)] * 100
    admins = [Command("a" * 98, LARGEST)] * 4
    assert discord_length(help_text(replace(HELP, for_members=lines, for_admins=admins))) <= TEXT_MAX
