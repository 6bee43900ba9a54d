"""The files and exposures that failed, and, where nights were merged, the nights in which they did.

The table `failures` has a row for each file: that of the last night counts. The table `night_failures` keeps the failed
files of each merged night, in the form in which the table `nights` keeps its copies (`gpuanom.store.set_aside`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

from gpuanom.paths import Relocation, as_named_here, exists, path_text
from gpuanom.records import Failure
from gpuanom.store.file_places import absolute_text
from gpuanom.store.schema import has_table
from gpuanom.store.set_aside import MEASURED_HERE, Membership, read_membership

_INSERT = "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)"


class FailedFile(NamedTuple):
    """A file or exposure that failed, and the night in which it did."""

    membership: Membership
    failure: Failure


def read(db: sqlite3.Connection) -> list[Failure]:
    """Return the files and exposures that failed, in order of the files."""
    return [Failure(*row) for row in db.execute("SELECT * FROM failures ORDER BY file").fetchall()]


def write(db: sqlite3.Connection, failure: Failure) -> None:
    """Keep that a file or exposure failed. The caller holds the transaction."""
    _, *others = astuple(failure)
    db.execute(_INSERT, (absolute_text(failure.file), *others))


def forget(db: sqlite3.Connection, files: Iterable[str], is_mended: Callable[[str], bool]) -> None:
    """Forget failures that no longer hold. The caller holds the transaction.

    These are failures of files that are tried again now, of files that are gone, and of folders and lists that can be
    read by now.

    Parameters
    ----------
    db : Connection
    files : iterable of str
        The files that are tried again now.
    is_mended : callable
        Tells whether a folder, or a list of files, can be read.
    """
    dropped = {absolute_text(file) for file in files}
    for failure in read(db):
        is_gone = not exists(Path(as_named_here(failure.file)))
        if is_gone or (not failure.camera and is_mended(failure.file)):
            dropped.add(failure.file)
    db.executemany("DELETE FROM failures WHERE file = ?", [(file,) for file in sorted(dropped)])


def read_of_nights(
    db: sqlite3.Connection, located: Callable[[str], str], moves: Sequence[Relocation] = ()
) -> list[FailedFile]:
    """Return the failed files of all nights, without those that were mended, or failed in another way, since then.

    Parameters
    ----------
    db : Connection
    located : callable
        Tells where a file is now.
    moves : sequence of Relocation, optional
        What the user says of folders that were moved.
    """
    of_nights: dict[str, list[tuple[Membership, tuple[str, ...]]]] = {}
    if has_table(db, "night_failures"):
        for position, night, *row in db.execute("SELECT * FROM night_failures ORDER BY position, night, file"):
            of_nights.setdefault(row[0], []).append((read_membership(position, night, moves), tuple(row)))
    found: list[tuple[Membership, tuple[str, ...]]] = []
    for row in db.execute("SELECT * FROM failures ORDER BY file").fetchall():
        of_file = of_nights.get(row[0], [])
        found += of_file if any(of_night == row for _, of_night in of_file) else [(MEASURED_HERE, row)]
    return [FailedFile(of, Failure(path_text(located(row[0])), *row[1:])) for of, row in found]


def write_of_nights(db: sqlite3.Connection, failed: Iterable[FailedFile]) -> None:
    """Keep the failed files of all nights; the reason of the last night counts. The caller holds the transaction.

    Parameters
    ----------
    db : Connection
    failed : iterable of FailedFile
    """
    db.execute("DELETE FROM failures")
    db.execute("DELETE FROM night_failures")
    for (position, night), f in sorted(failed, key=lambda item: item.membership):
        row = astuple(f)
        db.execute(_INSERT, row)
        values = (position, json.dumps(night), *row)
        db.execute("INSERT OR REPLACE INTO night_failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
