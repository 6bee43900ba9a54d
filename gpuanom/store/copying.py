"""Copying of the exposures of one store into another, to merge nights."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpuanom.errors import OutputError
from gpuanom.naming import path_text
from gpuanom.records import Exposure
from gpuanom.store.ccd_columns import CCD_COLUMNS_TABLE
from gpuanom.store.exposure_rows import held_exposures
from gpuanom.store.located import files_json, locator
from gpuanom.store.schema import believed, explained, has_table


def copy_night(
    db: sqlite3.Connection, other: sqlite3.Connection, path: Path | None, names: Mapping[tuple[str, str], str]
) -> int:
    """Copy all exposures and failures of one store into another; the caller holds the transaction.

    Parameters
    ----------
    db, other : Connection
        The database to copy into, and the database to copy from.
    path : Path or None
        The file of `other`, for messages.
    names : mapping of (camera, exposure) to str
        New ids of exposures that get other ids; their measurements stay as they are.

    Returns
    -------
    int
        Number of exposures added; exposures that are held already, measured from the same files, are left out.

    Raises
    ------
    OutputError
        When an exposure is held already but was measured from other files.
    """

    def read(query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        with explained(path):
            return other.execute(query, values).fetchall()

    for row in read("SELECT * FROM settings"):
        db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", row)
    later = ("autoencoder", "statistics", CCD_COLUMNS_TABLE)
    tables = ["exposures", "ccds", *(table for table in later if has_table(other, table))]
    known = {(c, e): print_ for c, e, print_ in db.execute("SELECT camera, exposure, fingerprint FROM exposures")}
    added = 0
    with believed(path):
        exposures, located = held_exposures(other), locator(other)
    for (camera, name), exposure in sorted(exposures.items()):
        new = names.get((camera, name), name)
        held = known.get((camera, new))
        if held is not None and held != exposure.fingerprint:
            raise OutputError(
                f"{path}: exposure {name} of {camera} is in an earlier input, of other files"
                " (leave one of the inputs out, or measure all files in one run)"
            )
        if held is None:
            for table in tables:
                query = f"SELECT * FROM {table} WHERE camera = ? AND exposure = ?"
                for _, _, *values in read(query, (camera, name)):
                    db.execute(f"INSERT INTO {table} VALUES (?, ?{', ?' * len(values)})", (camera, new, *values))
            _copy_names(db, exposure, new)
            added += 1
    for file, *values in read("SELECT * FROM failures"):
        db.execute(
            f"INSERT OR REPLACE INTO failures VALUES (?{', ?' * len(values)})", (path_text(located(file)), *values)
        )
    return added


def _copy_names(db: sqlite3.Connection, exposure: Exposure, new: str) -> None:
    """Note where the files of a copied exposure are, and its id when it was measured."""
    key = (exposure.camera, new)
    db.execute(
        "UPDATE exposures SET files = ?, masks = ? WHERE camera = ? AND exposure = ?",
        (files_json(exposure.files), files_json(exposure.masks), *key),
    )
    if exposure.file_named:
        measured_as = "" if exposure.points_id == new else exposure.points_id
        db.execute("INSERT OR REPLACE INTO named_by_file VALUES (?, ?, ?)", (*key, measured_as))
