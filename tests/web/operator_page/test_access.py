from datetime import UTC, datetime, timedelta

import pytest

from bot.web.operator_page.access import SESSION, WRONG_EVERY, WRONG_MAX, Access

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOKEN = "correct-horse-battery-staple"
SECOND = timedelta(seconds=1)


class Time:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def access(time: Time) -> Access:
    return Access(TOKEN, time)


def test_only_the_whole_token_is_the_token(access: Access) -> None:
    assert access.is_token(TOKEN)
    for wrong in ("", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "tökèn", "\udcff"):
        assert not access.is_token(wrong)


def test_a_session_lasts_for_its_time_and_no_longer(access: Access, time: Time) -> None:
    session = access.new_session()

    time.now += SESSION - SECOND
    assert access.is_session(session)
    time.now += SECOND
    assert not access.is_session(session)


def test_a_session_of_another_token_is_none(access: Access, time: Time) -> None:
    assert not access.is_session(Access("another-token-of-length", time).new_session())


def test_a_session_does_not_say_the_token(access: Access) -> None:
    assert TOKEN not in access.new_session()


@pytest.mark.parametrize(
    "cookie", ["", ".", "0.", "99999999999.", f"99999999999.{'0' * 64}", "x.y", "\udcff.\udcff"]
)
def test_a_made_up_session_is_none(access: Access, cookie: str) -> None:
    assert not access.is_session(cookie)


def test_a_session_whose_end_was_changed_is_none(access: Access) -> None:
    ends, _, mac = access.new_session().partition(".")
    assert not access.is_session(f"{int(ends) + 1}.{mac}")


def test_after_too_many_wrong_tokens_none_is_looked_at_for_a_while(access: Access, time: Time) -> None:
    for _ in range(WRONG_MAX):
        assert access.retry_in() is None
        assert not access.is_token("wrong")

    assert access.retry_in() == WRONG_EVERY
    time.now += WRONG_EVERY - SECOND
    assert access.retry_in() == SECOND
    time.now += SECOND
    assert access.retry_in() is None
    assert not access.is_token("wrong")
    assert access.retry_in() == WRONG_EVERY


def test_the_right_token_uses_up_no_try(access: Access) -> None:
    for _ in range(3 * WRONG_MAX):
        assert access.retry_in() is None
        assert access.is_token(TOKEN)


def test_a_clock_that_goes_back_gives_no_tries(access: Access, time: Time) -> None:
    for _ in range(WRONG_MAX):
        access.is_token("wrong")
    time.now -= timedelta(days=1)
    assert access.retry_in() == WRONG_EVERY
