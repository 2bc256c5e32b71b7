import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import discord
import pytest

from bot.chat.permissions.command_permissions import Integrations, Override, asking, decide
from bot.chat.transport.client import log_in, rest_client
from bot.chat.transport.endpoints import Endpoints, redirect
from tests.discord_server import DiscordServer

GUILD, MEMBER, ROLE, OTHER_ROLE = 1, 2, 3, 4
NONE = discord.Permissions.none()
MANAGER = discord.Permissions(manage_guild=True)


def of_role(role_id: int, *, allowed: bool) -> Override:
    return Override(1, role_id, allowed)


def of_member(user_id: int, *, allowed: bool) -> Override:
    return Override(2, user_id, allowed)


def may(permissions: discord.Permissions, *of_command: Override, of_app: tuple[Override, ...] = ()) -> bool:
    return decide(
        permissions,
        guild_id=GUILD,
        user_id=MEMBER,
        roles={GUILD, ROLE, OTHER_ROLE},
        of_command=of_command,
        of_app=of_app,
    )


def test_without_settings_manage_server_decides() -> None:
    assert may(MANAGER)
    assert not may(NONE)


def test_a_member_who_is_allowed_by_name_may() -> None:
    assert may(NONE, of_member(MEMBER, allowed=True))


def test_a_member_who_is_denied_by_name_may_not_even_with_manage_server() -> None:
    assert not may(MANAGER, of_member(MEMBER, allowed=False), of_role(ROLE, allowed=True))


def test_a_role_that_is_allowed_beats_one_that_is_denied() -> None:
    assert may(NONE, of_role(OTHER_ROLE, allowed=False), of_role(ROLE, allowed=True))


def test_a_role_that_is_denied_takes_the_right_of_manage_server() -> None:
    assert not may(MANAGER, of_role(ROLE, allowed=False))


def test_a_role_beats_everyone() -> None:
    assert may(NONE, of_role(GUILD, allowed=False), of_role(ROLE, allowed=True))
    assert not may(MANAGER, of_role(GUILD, allowed=True), of_role(ROLE, allowed=False))


def test_everyone_may_be_allowed_or_denied() -> None:
    assert may(NONE, of_role(GUILD, allowed=True))
    assert not may(MANAGER, of_role(GUILD, allowed=False))


def test_what_is_said_of_others_says_nothing() -> None:
    assert not may(NONE, of_member(99, allowed=True), of_role(99, allowed=True), Override(3, MEMBER, allowed=True))
    assert may(MANAGER, of_member(99, allowed=False), of_role(99, allowed=False))


def test_the_applications_settings_deny_but_do_not_allow() -> None:
    assert not may(MANAGER, of_app=(of_member(MEMBER, allowed=False),))
    assert not may(NONE, of_app=(of_member(MEMBER, allowed=True),))


def test_the_commands_settings_beat_the_applications() -> None:
    assert may(NONE, of_member(MEMBER, allowed=True), of_app=(of_member(MEMBER, allowed=False),))


def test_an_administrator_always_may() -> None:
    assert may(discord.Permissions(administrator=True), of_member(MEMBER, allowed=False))


class Asked:
    """A Discord that counts how often it is asked. `may_answer`: cleared, its answers wait."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.count = 0
        self.time = 0.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
        del guild_id, target_id
        self.count += 1
        answer: Any = self.answers.pop(0)
        await self.may_answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # also what Discord never should send

    def integrations(self) -> Integrations:
        return Integrations(self.fetch, lambda: self.time)


ALLOWS = [{"id": str(MEMBER), "type": 2, "permission": True}]


class _Answer:
    """What discord.py's errors want to know of a response."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = "no"


def refused(kind: type[discord.HTTPException], status: int) -> discord.HTTPException:
    return kind(_Answer(status), {"code": 10066, "message": "no"})


async def test_a_moment_is_remembered_where_little_depends_on_it() -> None:
    asked = Asked(ALLOWS, [])
    integrations = asked.integrations()

    first = await integrations.of(GUILD, 5, fresh=False)
    asked.time = 19
    again = await integrations.of(GUILD, 5, fresh=False)
    asked.time = 21
    later = await integrations.of(GUILD, 5, fresh=False)

    assert first == again == (of_member(MEMBER, allowed=True),)
    assert later == ()
    assert asked.count == 2


async def test_another_server_is_asked_for_itself() -> None:
    asked = Asked(ALLOWS, [])
    integrations = asked.integrations()
    await integrations.of(GUILD, 5, fresh=False)

    assert await integrations.of(GUILD + 1, 5, fresh=False) == ()


async def test_at_a_click_discord_is_asked_anew() -> None:
    asked = Asked(ALLOWS, [])
    integrations = asked.integrations()
    await integrations.of(GUILD, 5, fresh=False)

    assert await integrations.of(GUILD, 5, fresh=True) == ()


async def test_no_settings_at_all_is_an_answer() -> None:
    assert await Asked(refused(discord.NotFound, 404)).integrations().of(GUILD, 5, fresh=True) == ()


FAILURES = [
    refused(discord.Forbidden, 403),
    refused(discord.DiscordServerError, 503),
    OSError(),
    TimeoutError(),
    KeyError("permissions"),
]
ODD: list[Any] = [None, 5, ["allowed"], [{}], [{"id": str(MEMBER)}], [{"id": "me", "type": 2, "permission": True}]]


@pytest.mark.parametrize("failure", [*FAILURES, *ODD])
async def test_a_discord_that_can_not_be_asked_says_nothing_and_is_asked_again(failure: Any) -> None:
    asked = Asked(failure, ALLOWS)
    integrations = asked.integrations()

    assert await integrations.of(GUILD, 5, fresh=True) is None
    asked.time = 6
    assert await integrations.of(GUILD, 5, fresh=True) == (of_member(MEMBER, allowed=True),)


async def test_a_discord_that_failed_is_left_alone_for_some_seconds() -> None:
    asked = Asked(TimeoutError())
    integrations = asked.integrations()

    for _ in range(3):
        assert await integrations.of(GUILD, 5, fresh=True) is None
    assert asked.count == 1


@pytest.mark.parametrize("failure", [*FAILURES, *ODD])
async def test_where_discord_fails_what_it_said_last_holds_however_long_ago(failure: Any) -> None:
    asked = Asked(ALLOWS, failure)
    integrations = asked.integrations()
    await integrations.of(GUILD, 5, fresh=True)
    asked.time = 86_400

    for _ in range(2):
        assert await integrations.of(GUILD, 5, fresh=True) == (of_member(MEMBER, allowed=True),)
    assert asked.count == 2


async def test_those_who_click_together_wait_for_one_answer() -> None:
    asked = Asked(ALLOWS, [])
    asked.may_answer.clear()
    integrations = asked.integrations()
    asking_now = [asyncio.create_task(integrations.of(GUILD, 5, fresh=True)) for _ in range(50)]
    await asyncio.sleep(0)
    asking_now[0].cancel()
    asked.may_answer.set()

    gone, *answers = await asyncio.gather(*asking_now, return_exceptions=True)

    assert isinstance(gone, asyncio.CancelledError)
    assert set(answers) == {(of_member(MEMBER, allowed=True),)}
    assert asked.count == 1
    assert await integrations.of(GUILD, 5, fresh=True) == ()


async def test_discord_is_asked_for_the_settings_of_one_server_and_command() -> None:
    async with DiscordServer() as server, rest_client() as client:
        server.commands.overrides[GUILD, 5] = ALLOWS
        with redirect(Endpoints(server.api_url)):
            await log_in(client, server.token)
            integrations = Integrations(asking(client))

            assert await integrations.of(GUILD, 5, fresh=True) == (of_member(MEMBER, allowed=True),)
            assert await integrations.of(GUILD, 6, fresh=True) == ()
