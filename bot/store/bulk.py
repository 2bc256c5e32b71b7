"""Many values as one parameter of a statement.

For statements about hundreds of jobs at once: of a list of parameters, SQLAlchemy and the driver process each one
on its own, in Python.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    ColumnElement,
    FromClause,
    Text,
    any_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.types import TypeEngine

IDS = "ids"
"""The parameter of `is_among`: a list of ids."""

ROWS: BindParameter[Any] = bindparam("rows", type_=JSON)
"""The parameter of `rows_of`: a list of dicts, with times as `utc_text`."""


def is_among(ids: ColumnElement[str], dialect: str) -> ColumnElement[bool]:
    """Whether a column of ids has one of those in the parameter `IDS`."""
    if dialect == "sqlite":
        return ids.in_(select(func.json_each(bindparam(IDS, type_=JSON)).table_valued("value").c.value))
    return ids == any_(bindparam(IDS, type_=ARRAY(Text)))


def rows_of(dialect: str, columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """The rows in the parameter `ROWS`, as a table with these columns."""
    typed = [column(name, type_) for name, type_ in columns.items()]
    if dialect != "sqlite":
        rows = func.json_to_recordset(ROWS).table_valued(*typed).render_derived("new", with_types=True)
        # The limit tells the planner how many rows to expect: of more, it would read the whole of the other table.
        return select(rows).limit(func.json_array_length(ROWS)).subquery("new")
    row = func.json_each(ROWS).table_valued("value").c.value
    values = (func.json_extract(row, f"$.{one.name}", type_=one.type).label(one.name) for one in typed)
    return select(*values).subquery("new")
