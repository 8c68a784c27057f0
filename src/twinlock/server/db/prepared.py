"""Writes of many rows as the drivers take them: compiled once, then only values pass.

SQLAlchemy looks at every value of every row anew, which costs more than storing it. Our rows hold what the drivers
take as it is (integers, booleans, bytes and text), so the compiled text and the order of its parameters are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from twinlock.server.db.writes import Row


class Prepared:
    """A statement for rows that all have the same names; what they do not name of a new row is its column's constant.

    text: the constants stand in it, so that nobody passes them. names: its parameters, in their order.
    """

    def __init__(self, statement: sa.Executable, names: Sequence[str], dialect: sa.Dialect) -> None:
        constants = {name: value for name, value in _defaults(statement).items() if name not in names}
        if isinstance(statement, sa.Insert):
            statement = statement.values(
                {name: sa.literal_column(_literal(value, dialect.name)) for name, value in constants.items()}
            )
        assert isinstance(statement, sa.ClauseElement)
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        self.text = str(compiled)
        self.names: Sequence[str] = compiled.positiontup or []
        self.columns = (*self.names, *constants)
        """Of the records of an INSERT."""
        self._constants = tuple(constants.values())
        self._pick: Callable[[Row], Any] = itemgetter(*self.names)
        self._single = len(self.names) == 1

    def values(self, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
        """The parameters of the rows, in the order of the text."""
        picked = [self._pick(row) for row in rows]
        return [(value,) for value in picked] if self._single else picked

    def records(self, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
        """The same with the constants, for who takes rows without a text: all values of `columns`."""
        return [(*values, *self._constants) for values in self.values(rows)]


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


def _literal(value: Any, engine: str) -> str:
    """A constant of ours as it is written in a statement; the two engines write bytes differently."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'" if engine == "sqlite" else f"'\\x{value.hex()}'::bytea"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()
