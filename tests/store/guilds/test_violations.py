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


async def remaining(
    database: Database, now: datetime = NOW, *, guild: Guild = GUILD, user_id: int = 1
) -> int | None:
    async with database.read() as connection:
        return await violations.remaining(connection, guild, user_id, now)


async def ban_of(database: Database, now: datetime = NOW, *, guild_id: int = 10, user_id: int = 1) -> Ban | None:
    async with database.read() as connection:
        return await bans.active_ban(connection, guild_id, user_id, now)


async def put_ban(database: Database, ban: Ban) -> None:
    async with database.write() as connection:
        await bans.put(connection, ban)


async def test_the_third_blocked_prompt_within_a_day_pauses_the_member(database: Database) -> None:
    await write_guild_settings(database)
    assert await remaining(database) == 3
    assert await block_prompt(database) is None
    assert await remaining(database) == 2
    assert await block_prompt(database, NOW + SECOND) is None
    assert await remaining(database, NOW + SECOND) == 1

    ban = await block_prompt(database, NOW + MINUTE)

    assert ban is not None
    assert (ban.actor_id, ban.expires_at) == (None, NOW + MINUTE + 12 * HOUR)
    assert await ban_of(database, NOW + MINUTE) == ban
    assert await ban_of(database, NOW + MINUTE + 12 * HOUR) is None


async def write_guild_settings(database: Database) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, 10, guild_settings.settings_columns(GUILD.settings))


async def test_the_count_restarts_after_a_pause(database: Database) -> None:
    for _ in range(3):
        await block_prompt(database)

    assert await remaining(database, PAUSED_UNTIL) == 3
    assert await block_prompt(database, PAUSED_UNTIL) is None


async def test_violations_expire_after_a_day(database: Database) -> None:
    await block_prompt(database, NOW)
    await block_prompt(database, NOW + SECOND)

    assert await block_prompt(database, NOW + DAY) is None
    assert await remaining(database, NOW + DAY) == 1
    assert await block_prompt(database, NOW + DAY + SECOND) is None


@pytest.mark.parametrize(("guild_id", "user_id"), [(10, 2), (11, 1)])
async def test_members_and_servers_are_counted_separately(database: Database, guild_id: int, user_id: int) -> None:
    await block_prompt(database)
    await block_prompt(database)
    other = replace(GUILD, id=guild_id)

    assert await block_prompt(database, guild=other, user_id=user_id) is None
    assert await remaining(database, guild=other, user_id=user_id) == 2
    assert await block_prompt(database) is not None
    assert await ban_of(database, guild_id=guild_id, user_id=user_id) is None


async def test_a_violation_limit_of_zero_never_pauses(database: Database) -> None:
    never = Guild(10, GuildSettings(violation_limit=0))

    for _ in range(5):
        assert await block_prompt(database, guild=never) is None

    assert await remaining(database, guild=never) is None
    assert await ban_of(database) is None


async def test_a_violation_limit_of_one_pauses_at_once(database: Database) -> None:
    at_once = Guild(10, GuildSettings(violation_limit=1, violation_pause_hours=1))

    ban = await block_prompt(database, guild=at_once)

    assert ban is not None
    assert ban.reason == BLOCKED_PROMPTS


@pytest.mark.parametrize("until", [None, PAUSED_UNTIL + SECOND])
async def test_a_longer_ban_is_never_shortened(database: Database, until: datetime | None) -> None:
    await write_guild_settings(database)
    existing = Ban(10, 1, "by hand", NOW - HOUR, until, actor_id=7)
    await put_ban(database, existing)

    bans = [await block_prompt(database) for _ in range(3)]

    assert bans == [None, None, existing]
    assert await ban_of(database) == existing
    assert await notified_texts(database) == []


@pytest.mark.parametrize("until", [NOW + HOUR, NOW - HOUR])
async def test_a_shorter_or_ended_ban_is_replaced_by_the_pause(database: Database, until: datetime) -> None:
    await put_ban(database, Ban(10, 1, "by hand", NOW - 2 * HOUR, until, actor_id=7))

    ban = [await block_prompt(database) for _ in range(3)][-1]

    assert ban is not None
    assert ban.expires_at == PAUSED_UNTIL
    assert await ban_of(database) == ban


async def test_simultaneous_violations_are_all_counted(database: Database) -> None:
    """With a limit of three, nine at once cause one pause and one notification; six were already on their way."""
    await write_guild_settings(database)
    results = await asyncio.gather(*(block_prompt(database, NOW + number * SECOND) for number in range(9)))

    assert sum(ban is None for ban in results) == 2
    assert len({ban for ban in results if ban is not None}) == 1
    assert await remaining(database) == 3
    assert len(await notified_texts(database)) == 1


async def test_two_simultaneous_violations_after_one_cause_one_pause(database: Database) -> None:
    await block_prompt(database)

    results = await asyncio.gather(block_prompt(database), block_prompt(database))

    assert sum(ban is not None for ban in results) == 1


async def test_violations_from_two_processes_are_counted_together(database: Database, database_url: str) -> None:
    async with Database.open(database_url) as other:
        results = await asyncio.gather(*(block_prompt(database if number % 2 else other) for number in range(6)))

    assert sum(ban is None for ban in results) == 2
    assert await remaining(database) == 3


async def test_the_notification_shows_the_member_the_end_of_the_pause_and_the_escaped_prompt(
    database: Database,
) -> None:
    await write_guild_settings(database)
    for number in range(3):
        await block_prompt(database, prompt=f"**bad** <@9> `{number}`\n" + "x" * 3000)

    (text,) = await notified_texts(database)

    assert "<@1>" in text
    assert f"<t:{int(PAUSED_UNTIL.timestamp())}:f>" in text
    assert r"\*\*bad\*\* \<\@9\> \`2\`" in text
    assert len(text) < 2000
