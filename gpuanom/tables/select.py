"""Rows of a table chosen by a condition in SQL, read in parts: a survey's table need not fit into memory.

Each part of the table passes through a table of SQLite in memory, of the columns that are asked for alone. The
condition can read these columns and nothing else: SQLite asks `_allowed` before it does anything.
"""

from __future__ import annotations

import csv
import difflib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from astropy.table import Table, meta

from gpuanom import installing
from gpuanom.errors import InputError, OutputError, printable
from gpuanom.store.schema import require_version
from gpuanom.store.store import NAME as STORE_NAME
from gpuanom.tables.as_table import as_table
from gpuanom.tables.columns import Column

_ROWS = 65_536
"""Rows that are read at a time."""

_KINDS = {"string": "text", "int64": "int", "float64": "float"}
_TYPES = {"text": "TEXT", "int": "INTEGER", "float": "REAL"}

TABLES = ("exposures", "ccds")
"""The tables of a night."""


@dataclass(frozen=True)
class Selection:
    """Chosen rows of a table.

    Attributes
    ----------
    columns : tuple of Column
    rows : iterator of tuple
        The values of these columns, None where one is missing, in the order of the table. They are read as they are
        asked for.
    """

    columns: tuple[Column, ...]
    rows: Iterator[tuple[Any, ...]]

    def table(self) -> Table:
        """Return the rows as an astropy Table."""
        values = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return as_table(dict(zip([c.name for c in self.columns], values, strict=True)), self.columns, {})


def select(folder: Path, table: str = "exposures", where: str = "", columns: Sequence[str] = ()) -> Selection:
    """Choose rows and columns of a table that `gpuanom score` wrote.

    Parameters
    ----------
    folder : Path
    table : str, optional
        One of `TABLES`. The newest of its files that are Parquet or ECSV is read.
    where : str, optional
        A condition in SQLite's SQL; all rows without one. A missing number is NULL, a missing text is empty.
    columns : sequence of str, optional
        Names of the columns, in the order in which they are wanted; by default all of them.

    Returns
    -------
    Selection

    Raises
    ------
    OutputError
        When the folder has no such table, the file is damaged, or the store beside it is of another version, of which
        every other command refuses to say anything.
    InputError
        When a column does not exist, or the condition cannot be understood.
    """
    path = _newest(folder, table)
    require_version(folder / STORE_NAME)
    known = _columns(path)
    by_name = {column.name: column for column in known}
    for name in columns:
        if name not in by_name:
            raise InputError(f"{path}: has no column {printable(name)} ({_instead_of(name, path, known)})")
    wanted = list(columns) or list(by_name)
    query = f"SELECT {', '.join(map(_quoted, wanted))} FROM rows WHERE ({where.strip() or '1'}\n)"
    used = _columns_used(path, query, known, where)
    read = [column for column in known if column.name in used]
    parts = _parquet_rows(path, read) if path.suffix == ".parquet" else _ecsv_rows(path, known, read)
    return Selection(tuple(by_name[name] for name in wanted), _chosen(path, query, read, parts))


def _newest(folder: Path, table: str) -> Path:
    found = [p for p in (folder / f"{table}.{suffix}" for suffix in ("ecsv", "parquet")) if p.is_file()]
    if not found:
        raise OutputError(
            f"{folder}: holds neither {table}.parquet nor {table}.ecsv (gpuanom score -o {folder} writes them)"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def _columns(path: Path) -> tuple[Column, ...]:
    return _parquet_columns(path) if path.suffix == ".parquet" else _ecsv_columns(path)


def _instead_of(name: str, path: Path, known: Sequence[Column]) -> str:
    """A hint for somebody who asks for a column that a table does not have."""
    other = TABLES[1 - TABLES.index(path.stem)]
    with suppress(OutputError):
        if name in {column.name for column in _columns(_newest(path.parent, other))}:
            return f"--table {other} has it"
    if near := difflib.get_close_matches(name, [column.name for column in known], 1):
        return f"do you mean {near[0]}?"
    if described := [column.name for column in known if name and name.lower() in column.description.lower()]:
        return f"these tell of it: {', '.join(described[:4])}"
    return "docs/tables.md has all columns"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _database(columns: Sequence[Column]) -> sqlite3.Connection:
    """An empty table of these columns."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(f"CREATE TABLE rows ({', '.join(f'{_quoted(c.name)} {_TYPES[c.kind]}' for c in columns)})")
    return db


def _columns_used(path: Path, query: str, known: Sequence[Column], where: str) -> set[str]:
    """The columns that a query reads; refuses a query that does anything else."""
    used: set[str] = set()

    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ and first == "rows":
            used.add(second or "")
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").lower() == "load_extension" else sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY

    db = _database(known)
    try:
        db.set_authorizer(allowed)
        db.execute(query).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        text = str(error)
        if text.startswith('near ")"') or text == "incomplete input":
            text = _alone(db, where)
        missing = re.match(r"no such column: (.*)", text)
        hint = "a condition is SQL, as in band = 'r' and source_z > 5"
        if missing:
            hint = _instead_of(missing[1], path, known)
        if missing and re.search(rf"[=<>]\s*{re.escape(missing[1])}\b", query):  # a text that lacks its quotes
            hint = f"a text has single quotes: '{printable(missing[1])}'"
        raise InputError(f"{path}: the condition cannot be used: {printable(text)} ({hint})") from None
    finally:
        db.close()
    return used & {column.name for column in known}


def _alone(db: sqlite3.Connection, where: str) -> str:
    """What SQLite says of a condition without the parentheses around it, which the user did not type."""
    try:
        db.execute(f"SELECT 1 FROM rows WHERE {where}\n")
    except (sqlite3.Error, sqlite3.Warning) as error:
        return str(error).replace("incomplete input", "it ends too early")
    return "its parentheses do not pair"


def _chosen(
    path: Path, query: str, read: Sequence[Column], parts: Iterator[Iterable[Sequence[Any]]]
) -> Iterator[tuple[Any, ...]]:
    """The chosen rows of each part."""
    db = _database(read or [Column("rowid_", "int", "", "")])
    insert = f"INSERT INTO rows VALUES ({', '.join('?' * max(1, len(read)))})"
    try:
        for part in parts:
            db.execute("BEGIN")
            db.executemany(insert, part)
            yield from db.execute(query)
            db.execute("ROLLBACK")
    except (sqlite3.Error, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None
    finally:
        db.close()


def _unreadable(path: Path, error: Exception) -> OutputError:
    why = printable(str(error))[:160]
    return OutputError(f"{path}: cannot be read: {why} (gpuanom score -o {path.parent} writes it again)")


def _ecsv_header(path: Path) -> tuple[list[str], int]:
    """The lines of the header without their mark, and how many there are."""
    lines = []
    with path.open(encoding="utf-8", newline="") as file:
        for line in file:
            if not line.startswith("# "):
                break
            lines.append(line[2:].rstrip("\r\n"))
    return lines, len(lines)


def _described(datatype: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    return tuple(
        Column(c["name"], _KINDS[c["datatype"]], str(c.get("unit", "")), c.get("description", "")) for c in datatype
    )


def _ecsv_columns(path: Path) -> tuple[Column, ...]:
    try:
        lines, _ = _ecsv_header(path)
        if not lines or not lines[0].startswith("%ECSV"):
            raise ValueError("no ECSV, which begins with a line # %ECSV")
        return _described(
            meta.get_header_from_yaml([line for line in lines if not line.startswith("%ECSV")])["datatype"]
        )
    except (OSError, ValueError, KeyError, TypeError, meta.YamlParseError) as error:
        raise _unreadable(path, error) from None


def _ecsv_rows(path: Path, known: Sequence[Column], read: Sequence[Column]) -> Iterator[Iterable[Sequence[Any]]]:
    place = {column.name: k for k, column in enumerate(known)}
    wanted = [(place[column.name], column.kind == "text") for column in read]
    n_lines = _ecsv_header(path)[1]
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(islice(file, n_lines + 1, None), delimiter=" ", strict=True)
        while part := list(islice(rows, _ROWS)):
            if any(len(row) != len(known) for row in part):
                raise ValueError("a row has another number of values than there are columns")
            # SQLite turns the text of a number into the number, as its column has the type of one.
            yield [[row[k] if text else row[k] or None for k, text in wanted] or [0] for row in part]


def _parquet_file(path: Path) -> Any:
    if lacking := installing.lacks("pyarrow.parquet", "pyarrow", installing.install("parquet")):
        raise OutputError(f"{path}: to be read, the file needs {lacking}")
    from pyarrow import ArrowException, parquet

    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _parquet_columns(path: Path) -> tuple[Column, ...]:
    with _parquet_file(path) as file:
        about = file.schema_arrow.metadata or {}
    try:
        return _described(meta.get_header_from_yaml(about[b"table_meta_yaml"].decode().split("\n"))["datatype"])
    except (ValueError, KeyError, TypeError, meta.YamlParseError) as error:
        raise OutputError(
            f"{path}: no table of gpuanom: {printable(str(error))[:160]}"
            f" (gpuanom score -o {path.parent} writes it again)"
        ) from None


def _parquet_rows(path: Path, read: Sequence[Column]) -> Iterator[Iterable[Sequence[Any]]]:
    with _parquet_file(path) as file:
        for batch in file.iter_batches(_ROWS, columns=[column.name for column in read]):
            if read:
                yield zip(*(column.to_pylist() for column in batch.columns), strict=True)
            else:
                yield ((0,) for _ in range(batch.num_rows))
