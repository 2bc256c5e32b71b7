#!/usr/bin/env bash
# Alembic's batch mode on SQLite, asked to change one column, loses properties of others without a warning.
#
# Versions: Alembic 1.20.1, SQLAlchemy 2.1.9; Python 3.11, SQLite 3.40.
# Guess:    the table is copied as it was; at most what SQLAlchemy warns of is lost.
# Happens:  making `count` NOT NULL also drops COLLATE NOCASE from `name`, DESC from the index and AUTOINCREMENT from
#           the key, without a warning. ON DELETE CASCADE, the named CHECK and the index's WHERE survive.
#           Autogenerate compares none of the three lost ones, so it finds no difference afterwards.
# Matters:  after such a migration "Waves" and "waves" are two names, and the highest id is given out again once its
#           row is deleted: a ledger or log that still names it then speaks of somebody else's row.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    alembic==1.20.1 sqlalchemy==2.1.9

cat > "$work/recorded" <<'RECORDED'
before
  CREATE TABLE rule ( id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, guild_id INTEGER, name VARCHAR(20) COLLATE "NOCASE", count INTEGER, CONSTRAINT positive CHECK (count >= 0), FOREIGN KEY(guild_id) REFERENCES guild (id) ON DELETE CASCADE )
  CREATE INDEX ix_rule ON rule (count DESC) WHERE count > 5
after
  CREATE TABLE "rule" ( id INTEGER NOT NULL, guild_id INTEGER, name VARCHAR(20), count INTEGER NOT NULL, PRIMARY KEY (id), CONSTRAINT positive CHECK (count >= 0), FOREIGN KEY(guild_id) REFERENCES guild (id) ON DELETE CASCADE )
  CREATE INDEX ix_rule ON rule (count) WHERE count > 5
differences found: []
warnings: []
RECORDED

cat > "$work/run.py" <<'PYTHON'
import warnings

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

metadata = sa.MetaData()
sa.Table("guild", metadata, sa.Column("id", sa.Integer, primary_key=True))
rule = sa.Table(
    "rule",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("guild_id", sa.ForeignKey("guild.id", ondelete="CASCADE")),
    sa.Column("name", sa.String(20, collation="NOCASE")),
    sa.Column("count", sa.Integer),
    sa.CheckConstraint("count >= 0", name="positive"),
    sqlite_autoincrement=True,
)
sa.Index("ix_rule", rule.c.count.desc(), sqlite_where=sa.text("count > 5"))


def show(connection):
    query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'rule' ORDER BY type DESC"
    for (sql,) in connection.exec_driver_sql(query):
        print("  " + " ".join(sql.split()))


with warnings.catch_warnings(record=True) as told, sa.create_engine("sqlite://").begin() as connection:
    warnings.simplefilter("always")
    metadata.create_all(connection)
    print("before")
    show(connection)
    context = MigrationContext.configure(connection)
    with Operations(context).batch_alter_table("rule") as batch:
        batch.alter_column("count", existing_type=sa.Integer(), nullable=False)
    print("after")
    show(connection)
    rule.c.count.nullable = False
    print("differences found:", compare_metadata(context, metadata))
print("warnings:", [str(warning.message) for warning in told])
PYTHON
(cd "$work" && venv/bin/python run.py) | tee "$work/seen"

if ! diff -u "$work/recorded" "$work/seen"; then
    echo "This is no longer what happens." >&2
    exit 1
fi
echo "As recorded."
