"""The copies of exposures that a survey holds: those that are ranked, and those that are set aside.

Where merged nights hold one exposure in several processing versions, one of them is ranked and the others are set
aside: they come back when the night of the first one is forgotten. The rows of what is set aside lie in tables of the
same form as the others, whose names begin with ``aside_`` and whose first column, ``copy``, is the number of the copy;
they are made when they are needed first. The number of what is ranked is 0.

The table `nights` says from which nights each copy comes: ``night`` is a JSON list of folders, that of the night first,
and then those of the merged nights through which it came; an empty list stands for what was measured into this store.
``position`` gives the order of the nights. A copy without a row was measured into this store.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gpuanom.paths import Relocation, relocated
from gpuanom.records import Exposure
from gpuanom.store.ccd_columns import CCD_COLUMNS_TABLE
from gpuanom.store.exposure_rows import exposures_of
from gpuanom.store.file_places import files_json, texts_of
from gpuanom.store.schema import has_table, insert

NAME_TABLES = ("named_by_file", "renamed")
"""The tables that say under which id an exposure was measured."""

EXPOSURE_TABLES = ("exposures", "ccds", *NAME_TABLES, "versions", "autoencoder", "statistics", CCD_COLUMNS_TABLE)
"""The tables with the rows of an exposure, which go with the exposure wherever it goes."""

DERIVED_TABLES = ("beyond_patterns",)
"""The tables whose rows can be computed again from those of `EXPOSURE_TABLES`: they are not set aside, but dropped."""

HERE = -1
"""The position of what was measured into the store itself, before all nights that were merged."""


class Membership(NamedTuple):
    """A night that an exposure comes from.

    Attributes
    ----------
    position : int
        Its place in the order of the nights.
    night : tuple of str
        The folder of the night, and then those of the merged nights through which the exposure came.
    """

    position: int
    night: tuple[str, ...]


MEASURED_HERE = Membership(HERE, ())


@dataclass(frozen=True, eq=False)
class Copy:
    """One measurement of an exposure in a store.

    Attributes
    ----------
    db : Connection
        The store that holds it.
    number : int
        0 for what is ranked; otherwise the number under which it is set aside.
    exposure : Exposure
        With the paths of its files where they are now.
    nights : tuple of Membership
        The nights that hold it; the copy is forgotten when the last of them is.
    """

    db: sqlite3.Connection
    number: int
    exposure: Exposure
    nights: tuple[Membership, ...]

    def rows(self, table: str) -> list[tuple[object, ...]]:
        """Return the rows of a table, without the columns that name the exposure; none where there is no table."""
        where, values = _where(self)
        name = f"aside_{table}" if self.number else table
        if not has_table(self.db, name):
            return []
        return [row[3 if self.number else 2 :] for row in self.db.execute(f"SELECT * FROM {name} {where}", values)]

    def n_measured(self) -> int:
        """Return the number of CCDs that were measured."""
        return sum(row[2] == "ok" for row in self.rows("ccds"))

    def has(self, table: str) -> bool:
        """Whether the copy has rows in a table."""
        return bool(self.rows(table))

    def content(self, *, only_pixels: bool = False) -> bytes:
        """Return a hash: equal for copies of equal rows whose files are at the same places.

        Parameters
        ----------
        only_pixels : bool, optional
            Only of the histograms and sums, which are equal where the pixels were.
        """
        digest = hashlib.blake2b(digest_size=16)
        if only_pixels:
            _feed(digest, [row[-2:] for row in self.rows("exposures")])
            return digest.digest()
        e = self.exposure
        digest.update(repr((e.points_id, e.file_named, files_json(e.files), files_json(e.masks))).encode())
        ccds = self.rows(CCD_COLUMNS_TABLE)  # the same as the rows of CCDs, but read in a tenth of the time
        for table in EXPOSURE_TABLES:
            if table in NAME_TABLES or (table == "ccds" and ccds):
                continue
            digest.update(table.encode())
            _feed(digest, [row[:3] + row[5:] if table == "exposures" else row for row in self.rows(table)])
        return digest.digest()


def _feed(digest: hashlib.blake2b, rows: Iterable[tuple[object, ...]]) -> None:
    for row in rows:
        small = tuple(len(value) if isinstance(value, bytes) else value for value in row)
        digest.update(repr(small).encode("utf-8", "surrogateescape"))
        for value in row:
            if isinstance(value, bytes):
                digest.update(value)


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a copy belongs: the id of its exposure, and whether it is ranked or set aside."""

    copy: Copy
    exposure: str
    ranked: bool


def read_copies(db: sqlite3.Connection, located: Callable[[str], str], moves: Sequence[Relocation] = ()) -> list[Copy]:
    """Return all copies of exposures in a store, those that are ranked first.

    Parameters
    ----------
    db : Connection
    located : callable
        Tells where a file is now (`gpuanom.store.file_places.locator`).
    moves : sequence of Relocation, optional
        What the user says of folders that were moved.
    """
    nights: dict[tuple[int, str, str], list[Membership]] = {}
    if has_table(db, "nights"):
        for number, camera, exposure, position, night in db.execute("SELECT * FROM nights"):
            of_night = read_membership(position, night, moves)
            nights.setdefault((number, camera, exposure), []).append(of_night)
    found = exposures_of(db, located) + exposures_of(db, located, aside=True)
    return [
        Copy(db, number, e, tuple(sorted(nights.get((number, e.camera, e.exposure), [MEASURED_HERE]))))
        for number, e in found
    ]


def read_membership(position: object, night: str, moves: Sequence[Relocation]) -> Membership:
    """A night as a store keeps it, with its folders as they are called now."""
    if not isinstance(position, int):
        raise ValueError("the position of a night is no whole number")
    return Membership(position, tuple(relocated(folder, moves) for folder in texts_of(night)))


def rearrange(db: sqlite3.Connection, placed: Sequence[Placed], located: Callable[[str], str]) -> None:
    """Put all copies where they belong, and drop the copies of this store that are not named.

    Copies of other stores are copied into this one. The caller holds the transaction.

    Parameters
    ----------
    db : Connection
    placed : sequence of Placed
        At most one copy of an exposure is ranked.
    located : callable
        Tells where a file of this store is now.
    """
    kept = {(p.copy.number, p.copy.exposure.camera, p.copy.exposure.exposure) for p in placed if p.copy.db is db}
    before = read_copies(db, located)
    for copy in before:
        if (copy.number, copy.exposure.camera, copy.exposure.exposure) not in kept:
            _drop(copy)
    numbers = iter(range(max((copy.number for copy in before), default=0) + 1, 2**62))
    # What changes its place is set aside first, so that two exposures can exchange their ids.
    new_numbers: dict[int, int] = {}
    for k, p in enumerate(placed):
        if p.copy.db is db:
            is_where_it_belongs = p.copy.number == 0 and p.ranked and p.exposure == p.copy.exposure.exposure
            new_numbers[k] = p.copy.number
            if p.copy.number == 0 and not is_where_it_belongs:
                new_numbers[k] = next(numbers)
                _put_aside(p.copy, new_numbers[k])
    for k, p in enumerate(placed):
        if p.copy.db is not db:
            new_numbers[k] = 0 if p.ranked else next(numbers)
            _copy_rows(db, p, new_numbers[k])
        elif new_numbers[k]:
            _rename_aside(db, new_numbers[k], p)
            if p.ranked:
                _bring_back(db, new_numbers[k])
                new_numbers[k] = 0
    db.execute("DELETE FROM nights")
    db.executemany(
        "INSERT INTO nights VALUES (?, ?, ?, ?, ?)",
        [
            (new_numbers[k], p.copy.exposure.camera, p.exposure, position, json.dumps(night))
            for k, p in enumerate(placed)
            for position, night in p.copy.nights
        ],
    )


def forget_aside(db: sqlite3.Connection) -> None:
    """Forget all that is set aside. The caller holds the transaction.

    Parameters
    ----------
    db : Connection
    """
    for table in EXPOSURE_TABLES:
        if has_table(db, f"aside_{table}"):
            db.execute(f"DELETE FROM aside_{table}")


def _where(copy: Copy) -> tuple[str, tuple[object, ...]]:
    if copy.number:
        return "WHERE copy = ?", (copy.number,)
    return "WHERE camera = ? AND exposure = ?", (copy.exposure.camera, copy.exposure.exposure)


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]


def _aside(db: sqlite3.Connection, table: str) -> str:
    """The name of the table for what is set aside, which is made if it is missing."""
    db.execute(f"CREATE TABLE IF NOT EXISTS aside_{table} AS SELECT 0 AS copy, * FROM {table} WHERE 0")
    db.execute(f"CREATE INDEX IF NOT EXISTS copy_in_aside_{table} ON aside_{table} (copy)")
    return f"aside_{table}"


def _drop(copy: Copy) -> None:
    where, values = _where(copy)
    for table in EXPOSURE_TABLES:
        name = _aside(copy.db, table) if copy.number else table
        copy.db.execute(f"DELETE FROM {name} {where}", values)
    if not copy.number:
        for table in DERIVED_TABLES:
            copy.db.execute(f"DELETE FROM {table} {where}", values)


def _put_aside(copy: Copy, number: int) -> None:
    where, values = _where(copy)
    for table in EXPOSURE_TABLES:
        name = _aside(copy.db, table)
        copy.db.execute(f"INSERT INTO {name} SELECT ?, * FROM {table} {where}", (number, *values))
    _drop(copy)


def _rename_aside(db: sqlite3.Connection, number: int, placed: Placed) -> None:
    for table in EXPOSURE_TABLES:
        db.execute(f"UPDATE {_aside(db, table)} SET exposure = ? WHERE copy = ?", (placed.exposure, number))
    _write_names(db, placed, number)


def _bring_back(db: sqlite3.Connection, number: int) -> None:
    for table in EXPOSURE_TABLES:
        columns = ", ".join(_columns(db, table))
        name = _aside(db, table)
        db.execute(f"INSERT INTO {table} SELECT {columns} FROM {name} WHERE copy = ?", (number,))
        db.execute(f"DELETE FROM {name} WHERE copy = ?", (number,))


def _copy_rows(db: sqlite3.Connection, placed: Placed, number: int) -> None:
    """Copy an exposure of another store into this one."""
    copy, camera = placed.copy, placed.copy.exposure.camera
    start = ((number,) if number else ()) + (camera, placed.exposure)
    for table in EXPOSURE_TABLES:
        if table in NAME_TABLES:
            continue
        name = _aside(db, table) if number else table
        insert(db, name, [(*start, *row) for row in copy.rows(table)])
    _write_names(db, placed, number)


def _write_names(db: sqlite3.Connection, placed: Placed, number: int) -> None:
    """Note where the files of an exposure are, and under which id it was measured."""
    e, new = placed.copy.exposure, placed.exposure
    key = (number, e.camera, new) if number else (e.camera, new)
    prefix = "aside_" if number else ""
    where = f"WHERE {'copy = ? AND ' if number else ''}camera = ? AND exposure = ?"
    files = (files_json(e.files), files_json(e.masks))
    db.execute(f"UPDATE {prefix}exposures SET files = ?, masks = ? {where}", (*files, *key))
    measured_as = "" if e.points_id == new else e.points_id
    for table in NAME_TABLES:
        name = _aside(db, table) if number else table
        db.execute(f"DELETE FROM {name} {where}", key)
    if e.file_named or measured_as:
        name = f"{prefix}{'named_by_file' if e.file_named else 'renamed'}"
        insert(db, name, [(*key, measured_as)])
