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
class FakeInteraction:
    """As much of an interaction as the rate limiter reads."""

    user: discord.Object
    type: Type
    response: Response = field(default_factory=Response)
    guild_id: int = 10


class LimiterHarness:
    """A rate limiter and its clock."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.limiter = UserRateLimiter(clock=lambda: self.now_s)

    async def act(self, user_id: int = 1, kind: Type = Type.application_command) -> tuple[bool, Response]:
        act = FakeInteraction(discord.Object(user_id), kind)
        return await self.limiter.allows(act), act.response  # type: ignore[arg-type]  # as much of one as is needed


@pytest.fixture
def harness() -> LimiterHarness:
    return LimiterHarness()


async def test_a_member_who_acts_at_a_normal_rate_is_never_limited(harness: LimiterHarness) -> None:
    for _ in range(10 * ACTIONS):
        harness.now_s += 1.1
        assert (await harness.act())[0]


async def test_over_the_limit_each_command_is_told_when_to_continue(harness: LimiterHarness) -> None:
    for _ in range(ACTIONS):
        assert await harness.act() == (True, Response())
    answers = [await harness.act() for _ in range(1000)]

    assert not any(kept for kept, _ in answers)
    assert {(tuple(response.said), response.private) for _, response in answers} == {
        (tuple(answers[0][1].said), True)
    }
    assert "nothing was done" in answers[0][1].said[0]


async def test_over_the_limit_one_click_is_told_when_to_continue_and_the_rest_get_no_reply(
    harness: LimiterHarness,
) -> None:
    for _ in range(ACTIONS):
        assert await harness.act(kind=Type.component) == (True, Response())
    answers = [await harness.act(kind=Type.component) for _ in range(1000)]

    assert not any(kept for kept, _ in answers)
    [told] = [response for _, response in answers if response.said]
    assert told is answers[0][1]
    assert told.private
    assert "nothing was done" in told.said[0]
    assert "<t:" in told.said[0]


async def test_all_interactions_share_one_limit_except_autocompletion(harness: LimiterHarness) -> None:
    kinds = (Type.application_command, Type.component, Type.modal_submit)
    for number in range(ACTIONS):
        assert (await harness.act(kind=kinds[number % 3]))[0]

    assert [(await harness.act(kind=kind))[0] for kind in kinds] == [False] * 3
    assert (await harness.act(kind=Type.autocomplete))[0]


async def test_over_the_autocomplete_limit_there_are_no_suggestions(harness: LimiterHarness) -> None:
    for _ in range(AUTOCOMPLETES):
        assert (await harness.act(kind=Type.autocomplete))[0]

    kept, response = await harness.act(kind=Type.autocomplete)

    assert not kept
    assert response.choices == []


async def test_a_member_who_kept_trying_is_allowed_again_after_the_pause(harness: LimiterHarness) -> None:
    for _ in range(ACTIONS + 500):
        harness.now_s += ACTIONS_S / (2 * ACTIONS)
        await harness.act()
    harness.now_s += ACTIONS_S + 1

    assert (await harness.act())[0]


async def test_one_member_does_not_limit_another(harness: LimiterHarness) -> None:
    for _ in range(ACTIONS + 5):
        await harness.act(1)

    assert (await harness.act(2))[0]


async def test_inactive_members_are_forgotten(harness: LimiterHarness) -> None:
    for user_id in range(1, 500):
        await harness.act(user_id)
    harness.now_s += ACTIONS_S + 1
    await harness.act(1)

    assert len(harness.limiter._actions._cache) == 1


def send_bad_picture(limiter: UserRateLimiter, user_id: int = 1) -> None:
    with pytest.raises(PictureRefused), limiter.picture(user_id):
        raise PictureRefused(Said("no picture"))


def test_too_many_unusable_pictures_pause_the_member_for_a_while(harness: LimiterHarness) -> None:
    for _ in range(BAD_PICTURES):
        send_bad_picture(harness.limiter)

    with pytest.raises(NotPossible, match="Try again <t:"), harness.limiter.picture(1):
        raise AssertionError("looked at")
    send_bad_picture(harness.limiter, user_id=2)
    harness.now_s += BAD_PICTURES_S + 1
    with harness.limiter.picture(1):
        pass


def test_good_pictures_and_other_refusals_do_not_count(harness: LimiterHarness) -> None:
    for _ in range(BAD_PICTURES * 2):
        with harness.limiter.picture(1):
            pass
        with pytest.raises(OrderRefused), harness.limiter.picture(1):
            raise OrderRefused(Said("too long"))

    send_bad_picture(harness.limiter)
