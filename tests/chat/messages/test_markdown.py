import pytest

from bot.chat.messages.markdown import escaped, naming, room, several


@pytest.mark.parametrize("mention", ["<@1>", "<@&22>", "<#333>"])
def test_what_admins_read_names_members_roles_and_channels(mention: str) -> None:
    assert naming(f"a *b* {mention}, {mention}") == rf"a \*b\* {mention}, {mention}"
    assert mention not in escaped(mention)


@pytest.mark.parametrize(
    "text",
    ["@everyone", "@here", "<@x>", "<@1", "<t:1:R>", "<:e:1>", "</video-admin bans:1>", "<@&>", "<id:guide>"],
)
def test_nothing_else_works_in_it(text: str) -> None:
    assert naming(text) == escaped(text) != text


def test_a_mention_that_is_cut_is_none() -> None:
    cut = naming("x" * 10 + " <@123456789>", 18)

    assert room(cut) <= 18
    assert "<@" not in cut


@pytest.mark.parametrize(
    ("count", "reads"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1000, "1,000 videos")]
)
def test_one_is_told_from_several(count: int, reads: str) -> None:
    assert several(count, "video") == reads
