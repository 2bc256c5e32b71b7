"""How often a member may act, by a clock that only the test moves."""

from dataclasses import dataclass, field
from typing import Any

import discord
import pytest
from discord import InteractionType as Type

from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.user_rate_limiter import (
    ACTIONS,
    ACTIONS_S,
    AUTOCOMPLETES,
    BAD_PICTURES,
    BAD_PICTURES_S,
    UserRateLimiter,
)
from bot.domain.errors import NotPossible, OrderRefused, PictureRefused


@dataclass
class Response:
    """What an interaction was answered with at first."""

    said: list[str] = field(default_factory=list)
    private: bool = False
    choices: list[Any] | None = None

    def is_done(self) -> bool:
        return bool(self.said)

    async def send_message(self, text: str, *, ephemeral: bool) -> None:
        self.said.append(text)
        self.private = ephemeral

    async def autocomplete(self, choices: list[Any]) -> None:
        self.choices = choices


@dataclass
class Act:
    """Just as much of an interaction as is looked at."""

    user: discord.Object
    type: Type
    response: Response = field(default_factory=Response)


class Street:
    """A pace and its clock."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.pace = UserRateLimiter(clock=lambda: self.now_s)

    async def act(self, user_id: int = 1, kind: Type = Type.application_command) -> tuple[bool, Response]:
        act = Act(discord.Object(user_id), kind)
        return await self.pace.allows(act), act.response  # type: ignore[arg-type]  # as much of one as is needed


@pytest.fixture
def street() -> Street:
    return Street()


async def test_who_acts_as_people_do_is_never_stopped(street: Street) -> None:
    for _ in range(10 * ACTIONS):
        street.now_s += 1.1
        assert (await street.act())[0]


async def test_beyond_the_bound_one_answer_says_when_to_go_on_and_the_rest_gets_none(street: Street) -> None:
    for _ in range(ACTIONS):
        assert await street.act() == (True, Response())
    answers = [await street.act() for _ in range(1000)]

    assert not any(kept for kept, _ in answers)
    [told] = [response for _, response in answers if response.said]
    assert told is answers[0][1]
    assert told.private
    assert "nothing was done" in told.said[0]
    assert "<t:" in told.said[0]


async def test_all_kinds_of_acts_count_together_and_typing_by_itself(street: Street) -> None:
    kinds = (Type.application_command, Type.component, Type.modal_submit)
    for number in range(ACTIONS):
        assert (await street.act(kind=kinds[number % 3]))[0]

    assert [(await street.act(kind=kind))[0] for kind in kinds] == [False] * 3
    assert (await street.act(kind=Type.autocomplete))[0]


async def test_beyond_the_bound_of_typing_there_are_no_suggestions(street: Street) -> None:
    for _ in range(AUTOCOMPLETES):
        assert (await street.act(kind=Type.autocomplete))[0]

    kept, response = await street.act(kind=Type.autocomplete)

    assert not kept
    assert response.choices == []


async def test_after_the_pause_it_goes_on_though_nothing_was_waited_for(street: Street) -> None:
    for _ in range(ACTIONS + 500):
        street.now_s += ACTIONS_S / (2 * ACTIONS)
        await street.act()
    street.now_s += ACTIONS_S + 1

    assert (await street.act())[0]


async def test_one_member_is_not_stopped_by_another(street: Street) -> None:
    for _ in range(ACTIONS + 5):
        await street.act(1)

    assert (await street.act(2))[0]


async def test_who_is_quiet_is_forgotten(street: Street) -> None:
    for user_id in range(1, 500):
        await street.act(user_id)
    street.now_s += ACTIONS_S + 1
    await street.act(1)

    assert len(street.pace._actions._cache) == 1


def a_bad_picture(pace: UserRateLimiter, user_id: int = 1) -> None:
    with pytest.raises(PictureRefused), pace.picture(user_id):
        raise PictureRefused(Said("no picture"))


def test_too_many_useless_pictures_are_a_pause_that_ends(street: Street) -> None:
    for _ in range(BAD_PICTURES):
        a_bad_picture(street.pace)

    with pytest.raises(NotPossible, match="Try again <t:"), street.pace.picture(1):
        raise AssertionError("looked at")
    a_bad_picture(street.pace, user_id=2)
    street.now_s += BAD_PICTURES_S + 1
    with street.pace.picture(1):
        pass


def test_good_pictures_and_other_refusals_do_not_count(street: Street) -> None:
    for _ in range(BAD_PICTURES * 2):
        with street.pace.picture(1):
            pass
        with pytest.raises(OrderRefused), street.pace.picture(1):
            raise OrderRefused(Said("too long"))

    a_bad_picture(street.pace)
