import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from bot.operations.redaction import HIDDEN, Redactor, without_tokens

KEY = "vtx/k+y='\"\\42%&<>end"
TAIL = "Tk9q-ZyX3wVu_5sRq7PoN1mLk8JiHgFeDc2BaQ"
TOKEN = f"MTIzNDU2Nzg5MDEyMzQ1Njc4.G4hLm9.{TAIL}"


@pytest.mark.parametrize(
    "seen",
    [
        KEY,
        f"{{'Authorization': {f'Bearer {KEY}'!r}}}",
        repr(KEY),
        repr(f"it's {KEY}"),
        json.dumps({"key": KEY}),
        f"https://example.org/?key={quote(KEY, safe='')}",
        f"https://example.org/{quote(KEY)}",
        f"a form: {quote_plus(KEY)}",
    ],
)
def test_a_secret_is_redacted_in_every_encoding(seen: str) -> None:
    cleaned = Redactor([KEY])(seen)
    assert HIDDEN in cleaned
    assert "42" not in cleaned


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "somebody"])
@pytest.mark.parametrize("coded", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", ["correct-horse", "battery~~~staple??", "12345678"])
def test_a_secret_in_a_basic_header_is_redacted_at_every_alignment(user: str, coded: object, secret: str) -> None:
    assert callable(coded)
    header = coded(f"{user}:{secret}@end".encode()).decode()
    cleaned = Redactor([secret])(f"Proxy-Authorization: Basic {header}")
    assert HIDDEN in cleaned
    rest = cleaned.removeprefix("Proxy-Authorization: Basic ").replace(HIDDEN, "")
    # What is left are the groups that the secret shares with its neighbours.
    assert len(rest) <= len(header) - len(secret)


def test_the_longer_of_two_secrets_is_redacted_first() -> None:
    assert Redactor(["hunter", "hunter-and-more"])("hunter-and-more") == HIDDEN


def test_empty_secrets_redact_nothing() -> None:
    assert Redactor(["", ""])("as it is") == "as it is"


def test_the_repr_shows_no_secret() -> None:
    assert "hunter2" not in repr(Redactor(["hunter2"]))


def test_regex_characters_in_a_secret_are_matched_literally() -> None:
    assert Redactor(["a.c*[d"])("abcd a.c*[d") == f"abcd {HIDDEN}"


@pytest.mark.parametrize("around", ["", "Authorization: Bot ", "<pre>", "\n"])
def test_any_bot_token_is_redacted_by_its_format(around: str) -> None:
    assert TOKEN[-20:] not in without_tokens(f"{around}{TOKEN}{around}")


@pytest.mark.parametrize(
    "text", ["Missing Access", "Cannot send messages to this user", "discord.com/api/v10/channels", "1.2.3", ""]
)
def test_ordinary_discord_texts_are_unchanged(text: str) -> None:
    assert without_tokens(text) == text


def test_a_truncated_text_shows_no_part_of_a_token() -> None:
    for length in range(1900, 2100):
        assert "Tk9q" not in without_tokens("." * length + TOKEN)
        assert "Tk9q" not in without_tokens("." * (length - 1750) + TOKEN)


@pytest.mark.parametrize("clean", [Redactor(), without_tokens])
def test_the_token_of_an_interaction_is_redacted_in_an_address_and_anywhere(clean: Callable[[str], str]) -> None:
    coded = base64.b64encode(b"interaction:123:" + b"secret" * 20).decode()
    opaque = "Zk3_x-Vq" * 8

    assert clean(f"it is {coded}.") == f"it is {HIDDEN}."
    address = f"https://discord.com/api/v10/webhooks/42/{opaque}/messages/7?wait=true"
    assert clean(address) == f"https://discord.com/api/v10/webhooks/42/{HIDDEN}/messages/7?wait=true"
