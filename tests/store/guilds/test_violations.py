import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from bot.domain.guilds import BLOCKED_PROMPTS, Ban, Guild, GuildSettings
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings, violations
from bot.store.schema import notices
from tests.store.factories import MINUTE, NOW, SECOND

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GUILD = Guild(10, GuildSettings(strikes=3, strike_pause_hours=12, log_channel_id=100))
PAUSED_UNTIL = NOW + 12 * HOUR


async def strike(
    database: Database, now: datetime = NOW, *, guild: Guild = GUILD, user_id: int = 1, prompt: str | None = None
) -> Ban | None:
    async with database.write() as connection:
        return await violations.add(connection, guild, user_id, now, prompt=prompt)


async def left(database: Database, now: datetime = NOW, *, guild: Guild = GUILD, user_id: int = 1) -> int | None:
    async with database.read() as connection:
        return await violations.left(connection, guild, user_id, now)


async def ban_of(database: Database, now: datetime = NOW, *, guild_id: int = 10, user_id: int = 1) -> Ban | None:
    async with database.read() as connection:
        return await guild_settings.ban_of(connection, guild_id, user_id, now)


async def put(database: Database, ban: Ban) -> None:
    async with database.write() as connection:
        await bans.put(connection, ban)


async def told(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(notices.c.text))).scalars())


async def test_the_third_blocked_prompt_within_a_day_pauses_the_member(database: Database) -> None:
    await guilds_row(database)
    assert await left(database) == 3
    assert await strike(database) is None
    assert await left(database) == 2
    assert await strike(database, NOW + SECOND) is None
    assert await left(database, NOW + SECOND) == 1

    ban = await strike(database, NOW + MINUTE)

    assert ban is not None
    assert (ban.by, ban.until) == (None, NOW + MINUTE + 12 * HOUR)
    assert await ban_of(database, NOW + MINUTE) == ban
    assert await ban_of(database, NOW + MINUTE + 12 * HOUR) is None


async def guilds_row(database: Database) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, 10, guild_settings.settings_columns(GUILD.settings))


async def test_after_a_pause_the_count_begins_anew(database: Database) -> None:
    for _ in range(3):
        await strike(database)

    assert await left(database, PAUSED_UNTIL) == 3
    assert await strike(database, PAUSED_UNTIL) is None


async def test_blocked_prompts_are_forgotten_after_a_day(database: Database) -> None:
    await strike(database, NOW)
    await strike(database, NOW + SECOND)

    assert await strike(database, NOW + DAY) is None
    assert await left(database, NOW + DAY) == 1
    assert await strike(database, NOW + DAY + SECOND) is None


@pytest.mark.parametrize(("guild_id", "user_id"), [(10, 2), (11, 1)])
async def test_members_and_servers_are_counted_apart(database: Database, guild_id: int, user_id: int) -> None:
    await strike(database)
    await strike(database)
    other = replace(GUILD, id=guild_id)

    assert await strike(database, guild=other, user_id=user_id) is None
    assert await left(database, guild=other, user_id=user_id) == 2
    assert await strike(database) is not None
    assert await ban_of(database, guild_id=guild_id, user_id=user_id) is None


async def test_zero_strikes_never_pause(database: Database) -> None:
    never = Guild(10, GuildSettings(strikes=0))

    for _ in range(5):
        assert await strike(database, guild=never) is None

    assert await left(database, guild=never) is None
    assert await ban_of(database) is None


async def test_one_strike_pauses_at_once(database: Database) -> None:
    at_once = Guild(10, GuildSettings(strikes=1, strike_pause_hours=1))

    ban = await strike(database, guild=at_once)

    assert ban is not None
    assert ban.reason == BLOCKED_PROMPTS


@pytest.mark.parametrize("until", [None, PAUSED_UNTIL + SECOND])
async def test_a_longer_ban_is_never_shortened(database: Database, until: datetime | None) -> None:
    await guilds_row(database)
    standing = Ban(10, 1, "by hand", NOW - HOUR, until, by=7)
    await put(database, standing)

    bans = [await strike(database) for _ in range(3)]

    assert bans == [None, None, standing]
    assert await ban_of(database) == standing
    assert await told(database) == []


@pytest.mark.parametrize("until", [NOW + HOUR, NOW - HOUR])
async def test_a_shorter_or_ended_ban_makes_way_for_the_pause(database: Database, until: datetime) -> None:
    await put(database, Ban(10, 1, "by hand", NOW - 2 * HOUR, until, by=7))

    ban = [await strike(database) for _ in range(3)][-1]

    assert ban is not None
    assert ban.until == PAUSED_UNTIL
    assert await ban_of(database) == ban


async def test_blocked_prompts_that_arrive_together_are_all_counted(database: Database) -> None:
    """With three to a pause, nine at once bring one, told once: six were on their way in when it came."""
    await guilds_row(database)
    results = await asyncio.gather(*(strike(database, NOW + number * SECOND) for number in range(9)))

    assert sum(ban is None for ban in results) == 2
    assert len({ban for ban in results if ban is not None}) == 1
    assert await left(database) == 3
    assert len(await told(database)) == 1


async def test_two_at_once_after_one_bring_the_pause(database: Database) -> None:
    await strike(database)

    results = await asyncio.gather(strike(database), strike(database))

    assert sum(ban is not None for ban in results) == 1


async def test_two_processes_count_together(database: Database, database_url: str) -> None:
    async with Database.open(database_url) as other:
        results = await asyncio.gather(*(strike(database if number % 2 else other) for number in range(6)))

    assert sum(ban is None for ban in results) == 2
    assert await left(database) == 3


async def test_moderators_see_who_was_paused_until_when_and_the_prompt_escaped(database: Database) -> None:
    await guilds_row(database)
    for number in range(3):
        await strike(database, prompt=f"**bad** <@9> `{number}`\n" + "x" * 3000)

    (text,) = await told(database)

    assert "<@1>" in text
    assert f"<t:{int(PAUSED_UNTIL.timestamp())}:f>" in text
    assert r"\*\*bad\*\* \<\@9\> \`2\`" in text
    assert len(text) < 2000
