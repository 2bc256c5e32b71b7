#!/usr/bin/env bash
# SQLite uses a partial index for `state = ?`, but not for `state IN (?)`.
#
# Versions: apsw 3.54.1.0, which carries SQLite 3.54.1; Python 3.11.
# Guess:    a bound parameter never gets a partial index, since its value is unknown while the query is planned;
#           with literals, the order in an IN list doesn't matter.
# Happens:  a parameter after `=` does get it, if its value is the index's. A parameter in an IN list does not, not even
#           a single one. Literals in an IN list do only in the order in which the index has them.
# Matters:  a bot that looks for due jobs every second wants a small index of the open ones. SQLAlchemy binds what
#           `column.in_([...])` holds, so its query reads the whole table, and its result is right all the same.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    apsw==3.54.1.0

cat > "$work/recorded" <<'RECORDED'
state = 'queued' () -> SEARCH job USING COVERING INDEX ix_queued (due<?)
state = ? ('queued',) -> SEARCH job USING COVERING INDEX ix_queued (due<?)
state = ? ('failed',) -> SCAN job
state IN (?) ('queued',) -> SCAN job
state IN ('running', 'delivering') () -> SEARCH job USING INDEX ix_open (due<?)
state IN ('delivering', 'running') () -> SCAN job
state IN (?, ?) ('running', 'delivering') -> SCAN job
RECORDED

cat > "$work/run.py" <<'PYTHON'
import apsw

db = apsw.Connection(":memory:")
db.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, due INTEGER)")
db.execute("CREATE INDEX ix_queued ON job (due) WHERE state = 'queued'")
db.execute("CREATE INDEX ix_open ON job (due) WHERE state IN ('running', 'delivering')")
for condition, values in (
    ("state = 'queued'", ()),
    ("state = ?", ("queued",)),
    ("state = ?", ("failed",)),
    ("state IN (?)", ("queued",)),
    ("state IN ('running', 'delivering')", ()),
    ("state IN ('delivering', 'running')", ()),
    ("state IN (?, ?)", ("running", "delivering")),
):
    query = f"EXPLAIN QUERY PLAN SELECT state FROM job WHERE due < 5 AND {condition}"
    plan = [row[3] for row in db.execute(query, values)]
    print(condition, values, "->", *plan)
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
