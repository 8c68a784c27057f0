"""History as tables: CSV with what Python has, pandas and Parquet with the extra `twinlock[export]`.

Columns are the members of the rows, amounts in atoms and times in ms, so that nothing is rounded.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from twinlock.client.errors import ClientError


def frame(rows: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> Any:
    """A pandas DataFrame with the members of `kind` as columns. Raises ClientError without pandas."""
    try:
        import pandas as pd  # type: ignore[import-untyped]
    except ImportError as error:
        raise _missing("pandas") from error
    return pd.DataFrame([msgspec.structs.asdict(row) for row in rows], columns=_columns(kind))


def write_csv(path: Path, rows: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> None:
    """With a header, and one line for each row."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_columns(kind))
        writer.writerows(msgspec.structs.astuple(row) for row in rows)


def write_parquet(path: Path, rows: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> None:
    """Raises ClientError without pyarrow."""
    table = frame(rows, kind)
    try:
        table.to_parquet(path, engine="pyarrow", index=False)
    except ImportError as error:
        raise _missing("pyarrow") from error


def _columns(kind: type[msgspec.Struct]) -> list[str]:
    return [member.name for member in msgspec.structs.fields(kind)]


def _missing(name: str) -> ClientError:
    return ClientError(f"{name} is not installed", code="export.missing", fix="pip install 'twinlock[export]'")
