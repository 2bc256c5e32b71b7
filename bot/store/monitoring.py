"""What monitoring reads of the database: every few seconds, so each query reads a bounded number of rows."""

from sqlalchemy import literal, select

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ProviderName
from bot.operations.clock import Clock
from bot.store.engine import Database
from bot.store.jobs import submissions
from bot.store.jobs.submission_gate import Gate


class MonitoringStore:
    """Reads for health checks and metrics."""

    def __init__(self, database: Database, defaults: OperatorDefaults, clock: Clock) -> None:
        self._database = database
        self._defaults = defaults
        self._clock = clock

    async def ping(self) -> None:
        """Returns if the database answers. Raises: StoreError."""
        async with self._database.read() as connection:
            await connection.scalar(select(literal(1)))

    async def gates(self) -> dict[ProviderName, Gate]:
        """Whether jobs are submitted to each provider that is asked, in their order. Raises: StoreError."""
        async with self._database.read() as connection:
            return await submissions.gates(connection, self._defaults, self._clock())
