"""Connects to PostgreSQL: finds the server that takes writes, and lets no stopped process block all others.

Of several hosts, asyncpg spends the whole time limit on the first that doesn't answer. So each is asked by itself.
"""

import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import ExceptionContext

from bot.domain.database_url import PostgresUrl
from bot.domain.errors import StoreError
from bot.operations.process_name import APPLICATION, process_name

IDLE_TIMEOUT_S = 20
"""How long a transaction may stand still. Then the server ends it: a process that was stopped in the middle of
one, or whose machine is gone, would keep its locks, among them the one that every order takes."""

READ_ONLY = "25006"
"""PostgreSQL's code for a write to a server that takes none, such as one that is no primary any more."""

COMMAND_TIMEOUT_S = 60
"""How long a statement may take."""

_CONNECT_TIMEOUT_S = 10


def load() -> Any:
    """The module asyncpg, which only a bot on PostgreSQL needs. Raises StoreError."""
    try:
        return importlib.import_module("asyncpg")
    except ImportError:
        raise StoreError(
            "DATABASE_URL names a PostgreSQL database, whose driver, asyncpg, isn't installed. In Zoetrope's "
            "folder run `make install`, or `pip install '.[postgres]'` in another environment."
        ) from None


def failures(asyncpg: Any) -> tuple[type[Exception], ...]:
    """What asyncpg raises. The last: if none of the hosts is what `target_session_attrs` asks for."""
    return asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError


def connector(
    asyncpg: Any,
    url: PostgresUrl,
    *,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    command_timeout_s: float = COMMAND_TIMEOUT_S,
) -> Callable[[], Awaitable[Any]]:
    """A function that connects to the first of the URL's hosts that takes writes.

    If the URL has `target_session_attrs`, that says what kind of server is wanted instead. A single host is taken
    as it is. idle_timeout_s: 0 for no limit. The function raises one of `failures`, or an OSError.
    """
    each = url.of_each_host()
    wanted = None if len(each) == 1 or "target_session_attrs" in dict(url.query) else "read-write"
    # asyncpg reads the rest of an address itself: sslmode, a socket's folder.
    addresses: Sequence[str] = [one.render() for one in each]
    refusals: tuple[type[Exception], ...] = (*failures(asyncpg), OSError)

    async def connect() -> Any:
        for address in addresses[:-1]:
            with suppress(*refusals):
                return await connect_to(address)
        return await connect_to(addresses[-1])

    async def connect_to(address: str) -> Any:
        connection = await asyncpg.connect(
            address,
            timeout=_CONNECT_TIMEOUT_S / len(addresses),
            command_timeout=command_timeout_s,
            target_session_attrs=wanted,
            server_settings={"application_name": f"{APPLICATION}{process_name()}"},
        )
        try:
            # Not among the settings of the connection's start: poolers refuse those that they don't know.
            limit_ms = round(idle_timeout_s * 1000)
            await connection.execute(f"SET idle_in_transaction_session_timeout = {limit_ms}")
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect


def give_up_if_read_only(context: ExceptionContext) -> None:
    """A listener to SQLAlchemy's `handle_error`: connections to a server that takes no writes are opened again.

    After a failover, those to the former primary may live on. Others find the new one.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
