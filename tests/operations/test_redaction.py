import base64
import json
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
def test_a_secret_goes_in_whatever_way_it_is_written(seen: str) -> None:
    cleaned = Redactor([KEY])(seen)
    assert HIDDEN in cleaned
    assert "42" not in cleaned


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "somebody"])
@pytest.mark.parametrize("coded", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", ["correct-horse", "battery~~~staple??", "12345678"])
def test_a_secret_goes_out_of_a_basic_header_however_it_is_aligned(user: str, coded: object, secret: str) -> None:
    assert callable(coded)
    header = coded(f"{user}:{secret}@end".encode()).decode()
    cleaned = Redactor([secret])(f"Proxy-Authorization: Basic {header}")
    assert HIDDEN in cleaned
    rest = cleaned.removeprefix("Proxy-Authorization: Basic ").replace(HIDDEN, "")
    # What is left are the groups that the secret shares with its neighbours.
    assert len(rest) <= len(header) - len(secret)


def test_the_longest_of_two_secrets_goes_first() -> None:
    assert Redactor(["hunter", "hunter-and-more"])("hunter-and-more") == HIDDEN


def test_nothing_secret_hides_nothing() -> None:
    assert Redactor(["", ""])("as it is") == "as it is"


def test_showing_it_shows_no_secret() -> None:
    assert "hunter2" not in repr(Redactor(["hunter2"]))


def test_a_secret_of_signs_that_mean_something_in_patterns_is_found_as_it_stands() -> None:
    assert Redactor(["a.c*[d"])("abcd a.c*[d") == f"abcd {HIDDEN}"


@pytest.mark.parametrize("around", ["", "Authorization: Bot ", "<pre>", "\n"])
def test_any_bots_token_is_recognised_by_its_shape(around: str) -> None:
    assert TOKEN[-20:] not in without_tokens(f"{around}{TOKEN}{around}")


@pytest.mark.parametrize(
    "text", ["Missing Access", "Cannot send messages to this user", "discord.com/api/v10/channels", "1.2.3", ""]
)
def test_discords_usual_words_stay(text: str) -> None:
    assert without_tokens(text) == text


def test_a_long_text_is_cut_and_half_a_token_at_the_cut_is_not_shown() -> None:
    for length in range(1900, 2100):
        assert "Tk9q" not in without_tokens("." * length + TOKEN)
        assert "Tk9q" not in without_tokens("." * (length - 1750) + TOKEN)
