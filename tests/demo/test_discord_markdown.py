import pytest
from simcord.preview._markdown import markdown_tokens

from bot.demo.discord_markdown import follow_discord, with_blocks_ended


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("> a fox\n-# 720P", "> a fox\n\n-# 720P"),
        ("> a fox\n> runs\nready\n> a cat", "> a fox\n> runs\n\nready\n> a cat"),
        ("- one\n- two\nthat's all\n- three", "- one\n- two\n\nthat's all\n- three"),
        ("1. one\n2. two\n**that's all**", "1. one\n2. two\n\n**that's all**"),
        ("- one\n  of two\nthat's all", "- one\n  of two\n\nthat's all"),
        ("> a fox\n- one", "> a fox\n\n- one"),
    ],
)
def test_a_quote_or_list_ends_with_its_last_line(text: str, shown: str) -> None:
    assert with_blocks_ended(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one\ntwo",
        "> a fox\n\nready",
        "-# small\nready",
        "**bold**\nready",
        "```\n> a fox\n- one\nready\n```",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert with_blocks_ended(text) == text


@pytest.mark.parametrize("part", ["embed_description", "embed_field_value"])
def test_an_embed_shows_the_name_of_a_channel(part: str) -> None:
    follow_discord()

    [block] = markdown_tokens("<#5>", part, context={"channels": {"5": "moderators"}})

    assert "moderators" in str(block)


def test_an_embeds_description_shows_small_print() -> None:
    follow_discord()

    assert markdown_tokens("-# small", "embed_description") == markdown_tokens("-# small", "message")
