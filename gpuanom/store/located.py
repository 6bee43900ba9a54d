"""Where the files of a store are, also when they were moved together with the store.

A store names files by absolute paths, so that a night can be opened from every folder. It also notes the folder in
which the store lay when it was written to last. Where the store lies in another folder now and a file is missing, the
file is looked for at the same place relative to the store: a folder with night and images may be moved as a whole.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gpuanom.naming import absolute, as_named_here, exists, path_text
from gpuanom.store.schema import has_table


def locator(db: sqlite3.Connection) -> Callable[[str], str]:
    """Return a function that takes a path as the store names it, and returns where the file is now."""
    recorded, folder = _recorded_folder(db), _folder(db)
    if not recorded or not folder or recorded == folder:
        return as_named_here

    def located(file: str) -> str:
        file = as_named_here(file)
        if exists(Path(file)):
            return file
        moved = os.path.normpath(os.path.join(folder, os.path.relpath(file, recorded)))  # noqa: PTH118 (it may begin with ..)
        return moved if exists(Path(moved)) else file

    return located


def follow_files(db: sqlite3.Connection) -> None:
    """Write down the folder of the store, and where files are if it was moved; the caller holds the transaction."""
    if _recorded_folder(db) == (folder := _folder(db)):
        return
    located = locator(db)
    for camera, exposure, files, masks in db.execute("SELECT camera, exposure, files, masks FROM exposures").fetchall():
        moved = [json.dumps([file and located(file) for file in json.loads(text)]) for text in (files, masks)]
        where = "WHERE camera = ? AND exposure = ?"
        db.execute(f"UPDATE exposures SET files = ?, masks = ? {where}", (*moved, camera, exposure))
    for (file,) in db.execute("SELECT file FROM failures").fetchall():
        db.execute("UPDATE OR REPLACE failures SET file = ? WHERE file = ?", (path_text(located(file)), file))
    db.execute("INSERT OR REPLACE INTO about VALUES ('folder', ?)", (json.dumps(folder),))


def files_json(files: tuple[Path | None, ...]) -> str:
    """Return files as a store keeps them: absolute paths as JSON, which can hold names that are not UTF-8."""
    return json.dumps([None if file is None else str(absolute(file)) for file in files])


def texts_of(text: str) -> tuple[str, ...]:
    """Read a list of texts from JSON."""
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError("not a list of files")
    return tuple(found)


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
