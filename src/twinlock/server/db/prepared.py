"""Writes of many rows as the drivers take them: compiled once, then only values pass.

SQLAlchemy looks at every value of every row anew, which costs more than storing it. Our rows hold what the drivers
take as it is (integers, booleans, bytes and text), so the compiled text and the order of its parameters are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from twinlock.server.db.writes import Row


class Prepared:
    """A statement for rows that all have the same names. `names`: of the parameters, in the order of the text."""

    def __init__(self, statement: sa.Executable, names: Sequence[str], dialect: sa.Dialect) -> None:
        assert isinstance(statement, sa.ClauseElement)
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        self.text = str(compiled)
        self.names: Sequence[str] = compiled.positiontup or []
        self._given = {name: value for name, value in _defaults(statement).items() if name not in names}
        self._pick: Callable[[Row], Any] = itemgetter(*self.names)
        self._single = len(self.names) == 1

    def values(self, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """The parameters of the rows, in the order of the text."""
        whole = [{**self._given, **row} for row in rows] if self._given else rows
        picked = [self._pick(row) for row in whole]
        return [(value,) for value in picked] if self._single else picked


class Statements:
    """What was prepared so far, by statement; a statement that is made anew for each write does not belong here."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._known: dict[tuple[sa.Executable, tuple[str, ...]], Prepared] = {}

    def prepare(self, statement: sa.Executable, row: Row) -> Prepared:
        """The prepared form for rows like this one."""
        key = statement, tuple(row)
        prepared = self._known.get(key)
        if prepared is None:
            prepared = self._known[key] = Prepared(statement, tuple(row), self._dialect)
        return prepared


def _defaults(statement: sa.Executable) -> dict[str, Any]:
    """The constants that a new row has where it names no value."""
    if not isinstance(statement, sa.Insert) or not isinstance(statement.table, sa.Table):
        return {}
    return {
        column.name: column.default.arg
        for column in statement.table.columns
        if isinstance(column.default, sa.ColumnDefault) and column.default.is_scalar
    }
