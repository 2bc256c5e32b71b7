import pytest

from bot.domain.shards import Shard, ShardRange, covers, shard_of

SERVER = 197_038_439_483_310_086
"""Its shard of two is 0 and of three 1: (id >> 22) is 46 977 624 770."""


def test_a_servers_shard_follows_from_its_id() -> None:
    assert shard_of(SERVER, 2) == (SERVER >> 22) % 2
    assert [shard_of(SERVER, count) for count in (1, 2, 3, 8)] == [0, (SERVER >> 22) % 2, (SERVER >> 22) % 3, 2]


def test_exactly_one_shard_holds_a_server() -> None:
    for count in (1, 2, 5, 16):
        assert sum(Shard(number, count).holds(SERVER) for number in range(count)) == 1


@pytest.mark.parametrize(
    ("text", "ids", "is_all"),
    [("0-3/8", range(4), False), ("2/8", range(2, 3), False), ("0-7/8", range(8), True), ("0/1", range(1), True)],
)
def test_a_range_is_written_as_numbers_and_their_count(text: str, ids: range, *, is_all: bool) -> None:
    parsed = ShardRange.parse(text)
    assert (parsed.ids, parsed.is_all) == (ids, is_all)


@pytest.mark.parametrize("text", ["", "2", "3-1/4", "4/4", "0-4/4", "-1/2", "a/b", "1-2-3/4", "0 - 1/2", "٣/٤"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no range of shards"):
        ShardRange.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0-3/100000", "'0-3/100000' has 100000 after the slash: the number of shards is from 1 to 99999."),
        ("0/0", "'0/0' has 0 after the slash: the number of shards is from 1 to 99999."),
        (
            "2-8/8",
            "'2-8/8' is no range of shards: of 8, they are numbered from 0 to 7, and the lower one comes first.",
        ),
    ],
)
def test_a_number_that_is_too_large_or_small_is_told_with_the_range(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="shards") as refused:
        ShardRange.parse(text)
    assert str(refused.value) == said


def test_what_was_recorded_of_one_number_of_shards_holds_for_another() -> None:
    of_two = Shard(shard_of(SERVER, 2), 2)
    assert covers([of_two], SERVER)
    assert not covers([Shard(1 - of_two.id, 2)], SERVER)
    assert covers([Shard(0, 1)], SERVER)
    assert not covers([], SERVER)
