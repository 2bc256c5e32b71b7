"""Which servers the bot is in, as processes record it that each know some shards only."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from bot.domain.notifications import Welcome
from bot.domain.shards import Shard, shard_of
from bot.store.engine import Database
from bot.store.guilds.membership import Description, MembershipStore
from bot.store.schema import guilds
from tests.store.factories import NOW

FIRST, SECOND = Shard(0, 2), Shard(1, 2)
SERVERS = [(number << 22) + 7 for number in range(1, 9)]
OF_FIRST = [id_ for id_ in SERVERS if FIRST.holds(id_)]
OF_SECOND = [id_ for id_ in SERVERS if SECOND.holds(id_)]
DAY = timedelta(days=1)


@pytest.fixture
def members(database: Database) -> MembershipStore:
    return MembershipStore(database)


async def left(database: Database) -> set[int]:
    """The servers that are recorded as left."""
    async with database.read() as connection:
        return set(await connection.scalars(select(guilds.c.id).where(guilds.c.left_at.is_not(None))))


async def test_a_process_judges_only_the_servers_of_its_own_shard(
    members: MembershipStore, database: Database
) -> None:
    await members.reconcile(FIRST, OF_FIRST, NOW)
    await members.reconcile(SECOND, OF_SECOND, NOW)
    assert await left(database) == set()

    await members.reconcile(FIRST, OF_FIRST[1:], NOW + DAY)
    assert await left(database) == {OF_FIRST[0]}
    await members.reconcile(SECOND, [], NOW + DAY)
    assert await left(database) == {OF_FIRST[0], *OF_SECOND}
    await members.reconcile(SECOND, OF_SECOND, NOW + DAY)
    assert await left(database) == {OF_FIRST[0]}


async def test_at_the_first_start_the_servers_of_every_shard_are_known(members: MembershipStore) -> None:
    """What the first shard recorded doesn't make those of the others new."""
    assert await members.reconcile(FIRST, OF_FIRST, NOW) == frozenset()
    assert await members.reconcile(SECOND, OF_SECOND, NOW) == frozenset()


async def test_a_server_that_joined_while_its_shard_was_offline_is_new(members: MembershipStore) -> None:
    for shard, ids in ((FIRST, OF_FIRST), (SECOND, [])):
        await members.reconcile(shard, ids, NOW)
    assert await members.reconcile(SECOND, OF_SECOND[:1], NOW) == {OF_SECOND[0]}
    assert await members.welcome(OF_SECOND[0], Welcome("A server", allowed=True), NOW, channel_id=5)
    assert await members.reconcile(SECOND, OF_SECOND[:1], NOW) == frozenset()


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 3), (3, 1), (2, 1), (4, 2)])
async def test_another_number_of_shards_makes_nothing_new_and_nothing_left(
    members: MembershipStore, database: Database, before: int, after: int
) -> None:
    for count in (before, after):
        for number in range(count):
            own = [id_ for id_ in SERVERS if shard_of(id_, count) == number]
            assert await members.reconcile(Shard(number, count), own, NOW) == frozenset()
    assert await left(database) == set()
    late = (9 << 22) + 7
    shard = Shard(shard_of(late, after), after)
    own = [id_ for id_ in (*SERVERS, late) if shard.holds(id_)]
    assert await members.reconcile(shard, own, NOW) == {late}


async def test_names_and_system_channels_are_those_of_all_shards(
    members: MembershipStore, database: Database
) -> None:
    known = {id_: Description(f"Server {id_}", id_ + 1) for id_ in SERVERS}
    await members.describe(known)
    await members.describe({SERVERS[0]: Description("Renamed", None)})
    await members.left(SERVERS[1], NOW)
    expected = known | {SERVERS[0]: Description("Renamed", None)}
    del expected[SERVERS[1]]
    assert await members.descriptions() == expected
    async with database.read() as connection:
        welcomed = await connection.scalars(select(guilds.c.id).where(guilds.c.welcomed_at.is_not(None)))
        assert not list(welcomed)
