"""Which of a bot's servers a gateway connection gets, and which connections a process has.

Discord splits the servers of a large bot into shards, each with a connection of its own, by the server's id
(source: its documentation, "Sharding"). The number of shards may change from one start to the next.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

DIRECT_MESSAGES = 0
"""The shard that gets what happens in direct messages."""

COUNT_MAX = 99_999
"""The most shards that are accepted; Discord lets so many have 250 million servers."""

_WRITTEN = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?/([0-9]{1,9})", re.ASCII)


def shard_of(guild_id: int, count: int) -> int:
    """The shard that gets a server's events, where there are `count`."""
    return (guild_id >> 22) % count


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shards, numbered from 0."""

    id: int
    count: int

    def holds(self, guild_id: int) -> bool:
        """Whether it gets the server's events."""
        return shard_of(guild_id, self.count) == self.id


@dataclass(frozen=True, slots=True)
class ShardRange:
    """The shards of one process: from `first` to `last`, of `count` in all."""

    first: int
    last: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `0-3/8` or `2/8`. Raises: ValueError, whose text is for the operator."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise ValueError(f"{text!r} is no range of shards. Write 0-3/8 (the first four of eight) or 2/8.")
        first, last, count = (int(part or written[1]) for part in written.groups())
        if not 1 <= count <= COUNT_MAX:
            raise ValueError(
                f"{text!r} has {count} after the slash: the number of shards is from 1 to {COUNT_MAX}."
            )
        if not first <= last < count:
            raise ValueError(
                f"{text!r} is no range of shards: of {count}, they are numbered from 0 to {count - 1}, and the "
                "lower one comes first."
            )
        return cls(first, last, count)

    @property
    def ids(self) -> range:
        """The shards' numbers."""
        return range(self.first, self.last + 1)

    @property
    def is_all(self) -> bool:
        """Whether no shard is left to another process."""
        return len(self.ids) == self.count


def covers(listed: Iterable[Shard], guild_id: int) -> bool:
    """Whether one of these shards gets the server's events."""
    return any(shard.holds(guild_id) for shard in listed)
