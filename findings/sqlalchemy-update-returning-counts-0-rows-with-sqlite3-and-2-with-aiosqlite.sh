#!/usr/bin/env bash
# The rowcount of one and the same UPDATE ... RETURNING is 0 with SQLAlchemy on sqlite3 and 2 on aiosqlite.
#
# Versions: SQLAlchemy 2.1.9, aiosqlite 0.22.1, greenlet 3.5.6; Python 3.11, SQLite 3.40.
# Guess:    `rowcount` is the number of updated rows with both, since aiosqlite is the same sqlite3 in a thread.
# Happens:  on sqlite3 it is 0 and stays 0 when the rows have been read; on aiosqlite it is 2 from the start. Without
#           RETURNING both say 2.
# Matters:  `rowcount == 1` is the usual question after claiming a job. It works in a bot on aiosqlite and says "not
#           claimed" in a synchronous tool or migration that runs the same statement on the same file.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    sqlalchemy==2.1.9 aiosqlite==0.22.1 greenlet==3.5.6

cat > "$work/recorded" <<'RECORDED'
sqlite3
  with RETURNING: 0 rows; fetched 2 and then 0
  without RETURNING: 2 rows
aiosqlite
  with RETURNING: 2 rows; fetched 2 and then 2
  without RETURNING: 2 rows
RECORDED

cat > "$work/run.py" <<'PYTHON'
import asyncio

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

job = sa.Table(
    "job", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("state", sa.String)
)
claim = sa.update(job).values(state="claimed")


def run(connection):
    job.create(connection)
    connection.execute(sa.insert(job), [{"state": "queued"}, {"state": "queued"}])
    result = connection.execute(claim.returning(job.c.id))
    before = result.rowcount
    print("  with RETURNING:", before, "rows; fetched", len(result.all()), "and then", result.rowcount)
    print("  without RETURNING:", connection.execute(claim).rowcount, "rows")


async def through_aiosqlite():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


print("sqlite3")
with sa.create_engine("sqlite://").begin() as connection:
    run(connection)
print("aiosqlite")
asyncio.run(through_aiosqlite())
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
