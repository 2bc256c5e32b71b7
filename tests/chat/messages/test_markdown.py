import pytest

from bot.chat.messages.markdown import discord_length, escaped, fitting, joined_within, several


@pytest.mark.parametrize("mention", ["<@1>", "<@&22>", "<#333>"])
def test_mentions_of_members_roles_and_channels_can_be_kept(mention: str) -> None:
    assert escaped(f"a *b* {mention}, {mention}", keep_mentions=True) == rf"a \*b\* {mention}, {mention}"
    assert mention not in escaped(mention)


@pytest.mark.parametrize(
    "text",
    ["@everyone", "@here", "<@x>", "<@1", "<t:1:R>", "<:e:1>", "</video-admin bans:1>", "<@&>", "<id:guide>"],
)
def test_everything_else_is_escaped_even_when_mentions_are_kept(text: str) -> None:
    assert escaped(text, keep_mentions=True) == escaped(text) != text


def test_a_truncated_mention_does_not_mention() -> None:
    cut = escaped("x" * 10 + " <@123456789>", 18, keep_mentions=True)

    assert discord_length(cut) <= 18
    assert "<@" not in cut


@pytest.mark.parametrize(
    ("count", "reads"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1000, "1,000 videos")]
)
def test_nouns_are_pluralised(count: int, reads: str) -> None:
    assert several(count, "video") == reads


def test_lines_are_joined_as_long_as_they_fit() -> None:
    assert joined_within(["abc", "de"], 6) == "abc\nde"
    assert joined_within(["abc", "de"], 5) == "abc"
    assert joined_within(["abc", "de"], 2) == ""
    assert joined_within([], 2) == ""


def test_the_tail_is_kept_whatever_is_left_out() -> None:
    assert joined_within(["abc", "de", "f"], 10, tail="end") == "abc\nde\nend"
    assert joined_within(["abcdefgh", "de"], 10, tail="end") == "end"


def test_a_note_gives_the_number_of_missing_lines_if_any() -> None:
    rest = "{left} more"
    assert joined_within(["abc", "de"], 6, rest=rest) == "abc\nde"
    assert joined_within(["abc"] * 10, 13, rest=rest) == "abc\n9 more"
    assert joined_within(["abc"] * 2, 99, rest=rest, total=7) == "abc\nabc\n5 more"
    assert joined_within(["x" * 3000, "y"], 2000, rest=rest) == "2 more"


@pytest.mark.parametrize("length", range(1, 120))
def test_as_many_lines_as_possible_fit_together_with_the_note(length: int) -> None:
    text = joined_within(["🎞" * length] * 2500, 2000, rest="{left} more")

    assert discord_length(text) <= 2000
    assert discord_length(text) + 2 * length + 1 > 2000
    assert text.endswith(f"{2500 - text.count('🎞') // length} more")


def test_markdown_is_not_truncated_in_the_middle_of_an_escape() -> None:
    assert fitting(r"ab\*c", 4, str) == "ab…"
