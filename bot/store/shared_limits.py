"""Turns that processes take together, so that all of them stay below one limit. For PostgreSQL.

Each turn is as long after the one before as the limit says, by the server's clock; a few may be taken at once
after a pause (the generic cell rate algorithm, ITU-T I.371). One statement takes them.
"""

from sqlalchemy import Double, bindparam, case, cast, func

from bot.store.engine import Database
from bot.store.schema import shared_limits
from bot.store.upserts import insert_of

FARTHEST_S = 600.0
"""A turn that is further ahead was taken by a clock that was set back since; it counts for nothing."""

_NOW_S = cast(func.extract("epoch", func.clock_timestamp()), Double)


class SharedLimits:
    """The limits by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, name: str, turns: int, interval_s: float, *, at_once: int = 1) -> float:
        """Takes the next turns; returns in how many seconds the first one is, at or below 0 for now.

        interval_s: between two turns. at_once: how many may be taken together. Raises: StoreError.
        """
        takes_s = bindparam("takes_s", turns * interval_s, Double)
        earliest_s = _NOW_S - bindparam("early_s", (at_once - 1) * interval_s, Double)
        next_at_s = shared_limits.c.next_at_s
        taken_s = case((next_at_s > _NOW_S + FARTHEST_S, earliest_s), else_=next_at_s)
        async with self._database.write() as connection:
            taking = (
                insert_of(connection, shared_limits)
                .values(name=name, next_at_s=earliest_s + takes_s)
                .on_conflict_do_update(
                    index_elements=[shared_limits.c.name],
                    set_={"next_at_s": func.greatest(taken_s, earliest_s) + takes_s},
                )
                .returning(next_at_s - takes_s - _NOW_S)
            )
            return float((await connection.execute(taking)).scalar_one())
