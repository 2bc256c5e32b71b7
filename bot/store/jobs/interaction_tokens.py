"""With which token the order of a job can still be answered, where the bot isn't a member.

A token is a key to answer in the name of the bot: it is deleted once the job's end is told, or it has expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, func, select, update

from bot.store.engine import Database
from bot.store.schema import interaction_tokens
from bot.store.upserts import insert_of


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """How a job's order can still be answered.

    answer_id: of the private answer. message_id: of the public one that the video replaces, if there is one.
    """

    job_id: str
    token: str = field(repr=False)
    answer_id: int
    expires_at: datetime
    message_id: int | None = None


class InteractionTokenStore:
    """The tokens in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, answers: Sequence[OpenAnswer], now: datetime) -> frozenset[str]:
        """Keeps the answers; returns for which jobs there was none so far. Deletes what has expired."""
        added = set()
        async with self._database.write() as connection:
            await connection.execute(delete(interaction_tokens).where(interaction_tokens.c.expires_at <= now))
            for answer in answers:
                row = {
                    "job_id": answer.job_id,
                    "token": answer.token,
                    "answer_id": answer.answer_id,
                    "message_id": answer.message_id,
                    "expires_at": answer.expires_at,
                }
                insert = insert_of(connection, interaction_tokens).values(row).on_conflict_do_nothing()
                if (await connection.execute(insert)).rowcount == 1:
                    added.add(answer.job_id)
        return frozenset(added)

    async def record_message(self, job_id: str, message_id: int) -> None:
        """Keeps which public message the job's video will replace."""
        change = update(interaction_tokens).where(interaction_tokens.c.job_id == job_id)
        async with self._database.write() as connection:
            await connection.execute(change.values(message_id=message_id))

    async def of(self, job_id: str) -> OpenAnswer | None:
        """The job's answer, perhaps expired; None if there is none any more."""
        query = select(interaction_tokens).where(interaction_tokens.c.job_id == job_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return OpenAnswer(row.job_id, row.token, row.answer_id, row.expires_at, row.message_id)

    async def count_sharing(self, answer_id: int) -> int:
        """How many jobs have this private answer."""
        query = select(func.count()).where(interaction_tokens.c.answer_id == answer_id)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one()

    async def forget(self, job_id: str) -> None:
        """Deletes the job's token."""
        async with self._database.write() as connection:
            await connection.execute(delete(interaction_tokens).where(interaction_tokens.c.job_id == job_id))
