#!/usr/bin/env bash
# After an INSERT that ON CONFLICT DO NOTHING skipped, SQLAlchemy names the row of an earlier INSERT as the new one.
#
# Versions: SQLAlchemy 2.1.9 with Python's sqlite3 (Python 3.11, SQLite 3.40).
# Guess:    nothing was inserted, so `inserted_primary_key` is None or raises.
# Happens:  it holds the key that was inserted before. "a" is row 1, but the result for the second "a" says row 2.
# Matters:  a bot that accepts each interaction once inserts with DO NOTHING. If it takes the key from the result, it
#           works on another member's row. `rowcount` is 0, so look at that first, or select by the unique column.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    sqlalchemy==2.1.9

cat > "$work/recorded" <<'RECORDED'
a rowcount 1 inserted_primary_key (1,)
b rowcount 1 inserted_primary_key (2,)
a rowcount 0 inserted_primary_key (2,)
[(1, 'a'), (2, 'b')]
RECORDED

cat > "$work/run.py" <<'PYTHON'
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

engine = sa.create_engine("sqlite://")
orders = sa.Table(
    "orders",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, unique=True),
)
with engine.begin() as connection:
    orders.create(connection)
    for name in ("a", "b", "a"):
        result = connection.execute(insert(orders).values(name=name).on_conflict_do_nothing())
        print(name, "rowcount", result.rowcount, "inserted_primary_key", tuple(result.inserted_primary_key))
    print(connection.execute(sa.select(orders).order_by(orders.c.id)).all())
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
