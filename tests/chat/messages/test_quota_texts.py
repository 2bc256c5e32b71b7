"""What `/videos quota` says."""

from dataclasses import replace
from datetime import timedelta

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.domain.limits import Allowance, Credit, Limit, Limits, Origin, Usage
from bot.domain.quotas import LimitName, VideoLimitReached
from tests.chat.messages.jobs import LARGEST, NOW

DEFAULT = Limits(
    videos_per_window=Limit(5, Origin.OPERATOR),
    max_active=Limit(2, Origin.OPERATOR),
    cooldown_s=Limit(0, Origin.OPERATOR),
    window=timedelta(hours=24),
)


def test_the_quota_says_what_is_used_and_when_the_next_video_unlocks() -> None:
    asked = NOW - timedelta(hours=21)
    full = member_texts.quota(Allowance(DEFAULT, Usage((asked,) * 5, running=1), NOW))
    assert full.splitlines() == [
        "You've used **5 of 5** videos in the last 24 hours (default).",
        "In progress: **1 of 2** (default).",
        f"Your next video unlocks <t:{int((NOW + timedelta(hours=3)).timestamp())}:R>.",
    ]


def test_the_quota_begins_with_a_refusal_that_applies_to_every_order() -> None:
    free = Allowance(DEFAULT, Usage(), NOW)
    reached = VideoLimitReached(LimitName.GUILD_VIDEOS_PER_DAY, None, used=0, maximum=0)
    assert member_texts.quota(replace(free, refusal=reached)).splitlines() == [
        "🛑 This server's limit is 0 videos a day. Server admins can change this.",
        *member_texts.quota(free).splitlines(),
    ]


def test_a_quota_with_videos_left_names_no_time() -> None:
    assert "<t:" not in member_texts.quota(Allowance(DEFAULT, Usage((NOW,), running=0), NOW))


def test_a_quota_says_where_each_limit_comes_from() -> None:
    limits = Limits(
        Limit(9, Origin.ROLE, 77), Limit(1, Origin.MEMBER), Limit(60, Origin.SERVER), timedelta(days=30)
    )
    lines = member_texts.quota(Allowance(limits, Usage(last_accepted_at=NOW), NOW)).splitlines()
    ends = f"<t:{int(NOW.timestamp()) + 60}:R>"
    assert lines == [
        "You've used **0 of 9** videos in the last 30 days (from <@&77>).",
        "In progress: **0 of 1** (set for you).",
        f"You need to wait 1 minute between videos (set by this server). You can ask again {ends}.",
    ]


def test_a_cooldown_that_has_ended_names_no_time() -> None:
    paused = replace(DEFAULT, cooldown_s=Limit(60, Origin.SERVER))
    text = member_texts.quota(Allowance(paused, Usage(last_accepted_at=NOW - timedelta(seconds=60)), NOW))
    assert text.endswith("You need to wait 1 minute between videos (set by this server).")


def test_a_quota_of_zero_says_who_can_change_it() -> None:
    none = replace(DEFAULT, videos_per_window=Limit(0, Origin.SERVER))
    assert "Your limit is 0 videos. Server admins can change this." in member_texts.quota(
        Allowance(none, Usage(), NOW)
    )


def test_a_quota_names_credits_and_when_they_expire() -> None:
    usage = Usage(credits=(Credit(1, 2, NOW), Credit(2, 1)))
    assert member_texts.quota(Allowance(DEFAULT, usage, NOW)).splitlines()[-1] == (
        "Plus **3 credits**, used once those run out: "
        f"2 expiring <t:{int(NOW.timestamp())}:R>, 1 without an expiry date."
    )


def test_a_quota_with_many_grants_fits_a_message() -> None:
    usage = Usage((NOW,) * 5, 2, NOW, tuple(Credit(number, 10_000, NOW) for number in range(500)))
    text = member_texts.quota(Allowance(replace(DEFAULT, cooldown_s=Limit(60, Origin.ROLE, LARGEST)), usage, NOW))
    assert discord_length(text) <= CONTENT_MAX
    assert "**5,000,000 credits**" in text


def test_an_exempt_admins_quota_shows_no_member_limits() -> None:
    text = member_texts.quota(Allowance(replace(DEFAULT, exempt=True), Usage((NOW,) * 7, running=3), NOW))
    assert "don't apply to you" in text
    assert "**7 videos**" in text
    assert " of 5" not in text
