import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.guilds import BLOCKED_PROMPTS, Ban, Guild, GuildSettings
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings, violations
from tests.store.factories import MINUTE, NOW, SECOND, notified_texts

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GUILD = Guild(10, GuildSettings(violation_limit=3, violation_pause_hours=12, log_channel_id=100))
PAUSED_UNTIL = NOW + 12 * HOUR


async def block_prompt(
    database: Database, now: datetime = NOW, *, guild: Guild = GUILD, user_id: int = 1, prompt: str | None = None
) -> Ban | None:
    async with database.write() as connection:
        return await violations.add(connection, guild, user_id, now, prompt=prompt)


async def left(database: Database, now: datetime = NOW, *, guild: Guild = GUILD, user_id: int = 1) -> int | None:
    async with database.read() as connection:
        return await violations.remaining(connection, guild, user_id, now)


async def ban_of(database: Database, now: datetime = NOW, *, guild_id: int = 10, user_id: int = 1) -> Ban | None:
    async with database.read() as connection:
        return await bans.active_ban(connection, guild_id, user_id, now)


async def put(database: Database, ban: Ban) -> None:
    async with database.write() as connection:
        await bans.put(connection, ban)


async def told(database: Database) -> list[str]:
    return await notified_texts(database)


async def test_the_third_blocked_prompt_within_a_day_pauses_the_member(database: Database) -> None:
    await guilds_row(database)
    assert await left(database) == 3
    assert await block_prompt(database) is None
    assert await left(database) == 2
    assert await block_prompt(database, NOW + SECOND) is None
    assert await left(database, NOW + SECOND) == 1

    ban = await block_prompt(database, NOW + MINUTE)

    assert ban is not None
    assert (ban.actor_id, ban.expires_at) == (None, NOW + MINUTE + 12 * HOUR)
    assert await ban_of(database, NOW + MINUTE) == ban
    assert await ban_of(database, NOW + MINUTE + 12 * HOUR) is None


async def guilds_row(database: Database) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, 10, guild_settings.settings_columns(GUILD.settings))


async def test_after_a_pause_the_count_begins_anew(database: Database) -> None:
    for _ in range(3):
        await block_prompt(database)

    assert await left(database, PAUSED_UNTIL) == 3
    assert await block_prompt(database, PAUSED_UNTIL) is None


async def test_blocked_prompts_are_forgotten_after_a_day(database: Database) -> None:
    await block_prompt(database, NOW)
    await block_prompt(database, NOW + SECOND)

    assert await block_prompt(database, NOW + DAY) is None
    assert await left(database, NOW + DAY) == 1
    assert await block_prompt(database, NOW + DAY + SECOND) is None


@pytest.mark.parametrize(("guild_id", "user_id"), [(10, 2), (11, 1)])
async def test_members_and_servers_are_counted_apart(database: Database, guild_id: int, user_id: int) -> None:
    await block_prompt(database)
    await block_prompt(database)
    other = replace(GUILD, id=guild_id)

    assert await block_prompt(database, guild=other, user_id=user_id) is None
    assert await left(database, guild=other, user_id=user_id) == 2
    assert await block_prompt(database) is not None
    assert await ban_of(database, guild_id=guild_id, user_id=user_id) is None


async def test_zero_strikes_never_pause(database: Database) -> None:
    never = Guild(10, GuildSettings(violation_limit=0))

    for _ in range(5):
        assert await block_prompt(database, guild=never) is None

    assert await left(database, guild=never) is None
    assert await ban_of(database) is None


async def test_one_strike_pauses_at_once(database: Database) -> None:
    at_once = Guild(10, GuildSettings(violation_limit=1, violation_pause_hours=1))

    ban = await block_prompt(database, guild=at_once)

    assert ban is not None
    assert ban.reason == BLOCKED_PROMPTS


@pytest.mark.parametrize("until", [None, PAUSED_UNTIL + SECOND])
async def test_a_longer_ban_is_never_shortened(database: Database, until: datetime | None) -> None:
    await guilds_row(database)
    standing = Ban(10, 1, "by hand", NOW - HOUR, until, actor_id=7)
    await put(database, standing)

    bans = [await block_prompt(database) for _ in range(3)]

    assert bans == [None, None, standing]
    assert await ban_of(database) == standing
    assert await told(database) == []


@pytest.mark.parametrize("until", [NOW + HOUR, NOW - HOUR])
async def test_a_shorter_or_ended_ban_makes_way_for_the_pause(database: Database, until: datetime) -> None:
    await put(database, Ban(10, 1, "by hand", NOW - 2 * HOUR, until, actor_id=7))

    ban = [await block_prompt(database) for _ in range(3)][-1]

    assert ban is not None
    assert ban.expires_at == PAUSED_UNTIL
    assert await ban_of(database) == ban


async def test_blocked_prompts_that_arrive_together_are_all_counted(database: Database) -> None:
    """With three to a pause, nine at once bring one, told once: six were on their way in when it came."""
    await guilds_row(database)
    results = await asyncio.gather(*(block_prompt(database, NOW + number * SECOND) for number in range(9)))

    assert sum(ban is None for ban in results) == 2
    assert len({ban for ban in results if ban is not None}) == 1
    assert await left(database) == 3
    assert len(await told(database)) == 1


async def test_two_at_once_after_one_bring_the_pause(database: Database) -> None:
    await block_prompt(database)

    results = await asyncio.gather(block_prompt(database), block_prompt(database))

    assert sum(ban is not None for ban in results) == 1


async def test_two_processes_count_together(database: Database, database_url: str) -> None:
    async with Database.open(database_url) as other:
        results = await asyncio.gather(*(block_prompt(database if number % 2 else other) for number in range(6)))

    assert sum(ban is None for ban in results) == 2
    assert await left(database) == 3


async def test_moderators_see_who_was_paused_until_when_and_the_prompt_escaped(database: Database) -> None:
    await guilds_row(database)
    for number in range(3):
        await block_prompt(database, prompt=f"**bad** <@9> `{number}`\n" + "x" * 3000)

    (text,) = await told(database)

    assert "<@1>" in text
    assert f"<t:{int(PAUSED_UNTIL.timestamp())}:f>" in text
    assert r"\*\*bad\*\* \<\@9\> \`2\`" in text
    assert len(text) < 2000
