import pytest

from bot.chat.messages.markdown import discord_length, escaped, fitting, joined_within, several


@pytest.mark.parametrize("mention", ["<@1>", "<@&22>", "<#333>"])
def test_what_admins_read_names_members_roles_and_channels(mention: str) -> None:
    assert escaped(f"a *b* {mention}, {mention}", keep_mentions=True) == rf"a \*b\* {mention}, {mention}"
    assert mention not in escaped(mention)


@pytest.mark.parametrize(
    "text",
    ["@everyone", "@here", "<@x>", "<@1", "<t:1:R>", "<:e:1>", "</video-admin bans:1>", "<@&>", "<id:guide>"],
)
def test_nothing_else_works_in_it(text: str) -> None:
    assert escaped(text, keep_mentions=True) == escaped(text) != text


def test_a_mention_that_is_cut_is_none() -> None:
    cut = escaped("x" * 10 + " <@123456789>", 18, keep_mentions=True)

    assert discord_length(cut) <= 18
    assert "<@" not in cut


@pytest.mark.parametrize(
    ("count", "reads"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1000, "1,000 videos")]
)
def test_one_is_told_from_several(count: int, reads: str) -> None:
    assert several(count, "video") == reads


def test_all_lines_that_fit_are_joined_to_the_last_character() -> None:
    assert joined_within(["abc", "de"], 6) == "abc\nde"
    assert joined_within(["abc", "de"], 5) == "abc"
    assert joined_within(["abc", "de"], 2) == ""
    assert joined_within([], 2) == ""


def test_the_tail_stays_whatever_is_left_out() -> None:
    assert joined_within(["abc", "de", "f"], 10, tail="end") == "abc\nde\nend"
    assert joined_within(["abcdefgh", "de"], 10, tail="end") == "end"


def test_a_note_says_how_many_lines_are_missing_and_only_then() -> None:
    rest = "{left} more"
    assert joined_within(["abc", "de"], 6, rest=rest) == "abc\nde"
    assert joined_within(["abc"] * 10, 13, rest=rest) == "abc\n9 more"
    assert joined_within(["abc"] * 2, 99, rest=rest, total=7) == "abc\nabc\n5 more"
    assert joined_within(["x" * 3000, "y"], 2000, rest=rest) == "2 more"


@pytest.mark.parametrize("length", range(1, 120))
def test_whatever_the_lines_are_the_note_fits_and_no_more_would(length: int) -> None:
    text = joined_within(["🎞" * length] * 2500, 2000, rest="{left} more")

    assert discord_length(text) <= 2000
    assert discord_length(text) + 2 * length + 1 > 2000
    assert text.endswith(f"{2500 - text.count('🎞') // length} more")


def test_shown_markdown_is_not_cut_in_the_middle_of_an_escape() -> None:
    assert fitting(r"ab\*c", 4, str) == "ab…"
