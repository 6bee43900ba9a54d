"""Where the files of a store are, also when they were moved together with the store.

A store names files by absolute paths, so that a night can be opened from every folder. It also notes the folder in
which the store lay when it was written to last. Where the store lies in another folder now and a file is missing, the
file is looked for at the same place relative to the store: a folder with night and images may be moved as a whole.
Of files that were moved in another way, a user says where they are now (`gpuanom.paths.Relocation`).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from gpuanom.paths import Relocation, absolute, as_named_here, exists, is_within, path_text, relocated
from gpuanom.records import Exposure
from gpuanom.store.schema import has_table


def locator(db: sqlite3.Connection, moves: Sequence[Relocation] = ()) -> Callable[[str], str]:
    """Return a function that takes a path as the store names it, and returns where the file is now.

    Parameters
    ----------
    db : Connection
    moves : sequence of Relocation, optional
        What the user says of files that were moved; this goes before all else.
    """
    recorded, folder = _recorded_folder(db), _folder(db)
    is_moved = bool(recorded and folder and recorded != folder)
    if not is_moved and not moves:
        return as_named_here

    def located(file: str) -> str:
        file = as_named_here(file)
        if (moved_by_user := relocated(file, moves)) != file or not is_moved or exists(Path(file)):
            return moved_by_user
        moved = os.path.normpath(os.path.join(folder, os.path.relpath(file, recorded)))  # noqa: PTH118 (it may begin with ..)
        return moved if exists(Path(moved)) else file

    return located


def idle_moves(db: sqlite3.Connection, moves: Sequence[Relocation]) -> set[Relocation]:
    """Return the moves that concern no file and no night of a store.

    Parameters
    ----------
    db : Connection
    moves : sequence of Relocation
    """
    idle = set(moves)
    for table, columns in (("exposures", "files, masks"), ("aside_exposures", "files, masks"), ("nights", "night")):
        if not idle or not has_table(db, table):
            continue
        for texts in db.execute(f"SELECT DISTINCT {columns} FROM {table}"):
            places = [as_named_here(place) for text in texts for place in json.loads(text) if place]
            idle -= {move for move in idle if any(is_within(place, move.old) for place in places)}
    if idle:
        files = [file for (file,) in db.execute("SELECT file FROM failures")]
        idle -= {move for move in idle if any(is_within(file, path_text(move.old)) for file in files)}
    return idle


def follow_files(db: sqlite3.Connection, moves: Sequence[Relocation] = ()) -> None:
    """Write down the folder of the store, and where files are if they were moved; the caller holds the transaction.

    Parameters
    ----------
    db : Connection
    moves : sequence of Relocation, optional
        What the user says of files that were moved.
    """
    if _recorded_folder(db) == (folder := _folder(db)) and not moves:
        return
    located = locator(db, moves)
    for table in ("exposures", *(name for name in ("aside_exposures",) if has_table(db, name))):
        for row, files, masks in db.execute(f"SELECT rowid, files, masks FROM {table}").fetchall():
            moved = [json.dumps([file and located(file) for file in json.loads(text)]) for text in (files, masks)]
            if moved != [files, masks]:
                db.execute(f"UPDATE {table} SET files = ?, masks = ? WHERE rowid = ?", (*moved, row))
    for table in ("failures", "night_failures"):
        for (file,) in db.execute(f"SELECT DISTINCT file FROM {table}").fetchall():
            if (now := path_text(located(file))) != file:
                db.execute(f"UPDATE OR REPLACE {table} SET file = ? WHERE file = ?", (now, file))
    for table in ("nights", "night_failures"):
        for (night,) in db.execute(f"SELECT DISTINCT night FROM {table}").fetchall():
            now = json.dumps([relocated(place, moves) for place in texts_of(night)])
            if now != night:
                db.execute(f"UPDATE OR REPLACE {table} SET night = ? WHERE night = ?", (now, night))
    db.execute("INSERT OR REPLACE INTO about VALUES ('folder', ?)", (json.dumps(folder),))


def place_files(db: sqlite3.Connection, exposures: Sequence[Exposure]) -> None:
    """Write down where the files of measured exposures were found; the caller holds the transaction.

    Parameters
    ----------
    db : Connection
    exposures : sequence of Exposure
        As they were found, with the fingerprints of those that the store holds.
    """
    rows = [(files_json(e.files), files_json(e.masks), e.camera, e.exposure) for e in exposures]
    db.executemany("UPDATE exposures SET files = ?, masks = ? WHERE camera = ? AND exposure = ?", rows)


def files_json(files: tuple[Path | None, ...]) -> str:
    """Return files as a store keeps them: absolute paths as JSON, which can hold names that are not UTF-8."""
    return json.dumps([None if file is None else str(absolute(file)) for file in files])


def texts_of(text: str) -> tuple[str, ...]:
    """Read a list of texts from JSON."""
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError("not a list of files")
    return tuple(found)


def lists_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Read many lists of texts from JSON; in one go, which takes a fifth of the time.

    Parameters
    ----------
    texts : sequence of str
        What `texts_of` reads.
    """
    found = json.loads(f"[{','.join(texts)}]")
    if len(found) != len(texts):  # a damaged text may hold more than one list
        raise ValueError("not a list of files for each exposure")
    for item in found:
        if not isinstance(item, list) or not all(isinstance(text, str) for text in item):
            raise ValueError("not a list of files")
    return [tuple(item) for item in found]


def absolute_text(file: str) -> str:
    """Return the absolute path of a failed file; an empty path stays empty."""
    return path_text(absolute(file)) if file else ""


def _folder(db: sqlite3.Connection) -> str:
    """The folder in which a store lies, links followed; empty for one in memory."""
    file = next((file for _, name, file in db.execute("PRAGMA database_list") if name == "main"), "")
    return str(Path(file).parent) if file else ""


def _recorded_folder(db: sqlite3.Connection) -> str:
    """The folder in which the store lay when it was written to last; empty where it is not recorded."""
    if not has_table(db, "about"):
        return ""
    found = db.execute("SELECT value FROM about WHERE name = 'folder'").fetchone()
    return str(json.loads(found[0])) if found else ""
