"""Where the files are that a store names: by absolute paths, and beside a store that was moved together with them.

A store names files by absolute paths, so that a night can be opened from every folder. It also notes the folder in
which it lay when it was written to last. Where it lies elsewhere now, and a path that it names leads nowhere, the file
is looked for at the same place relative to the store: a folder that holds night and images may be moved as a whole.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gpuanom.naming import absolute, exists, path_text
from gpuanom.store.schema import has_table


def locator(db: sqlite3.Connection) -> Callable[[str], str]:
    """Return what tells where a file is now that the store names by its path."""
    then, now = _recorded_folder(db), _folder(db)
    if not then or not now or then == now:
        return lambda file: file

    def located(file: str) -> str:
        if exists(Path(file)):
            return file
        moved = os.path.normpath(os.path.join(now, os.path.relpath(file, then)))  # noqa: PTH118 (it may begin with ..)
        return moved if exists(Path(moved)) else file

    return located


def follow_files(db: sqlite3.Connection) -> None:
    """Write down where files are now, if the store was moved, and where it lies; the caller holds the transaction."""
    if _recorded_folder(db) == (now := _folder(db)):
        return
    located = locator(db)
    for camera, exposure, files, masks in db.execute("SELECT camera, exposure, files, masks FROM exposures").fetchall():
        moved = [json.dumps([file and located(file) for file in json.loads(text)]) for text in (files, masks)]
        where = "WHERE camera = ? AND exposure = ?"
        db.execute(f"UPDATE exposures SET files = ?, masks = ? {where}", (*moved, camera, exposure))
    for (file,) in db.execute("SELECT file FROM failures").fetchall():
        db.execute("UPDATE OR REPLACE failures SET file = ? WHERE file = ?", (located(file), file))
    db.execute("INSERT OR REPLACE INTO about VALUES ('folder', ?)", (json.dumps(now),))


def files_json(files: tuple[Path | None, ...]) -> str:
    """Files as a store keeps them: absolute paths, as JSON that can hold names which are no UTF-8."""
    return json.dumps([None if file is None else str(absolute(file)) for file in files])


def texts_of(text: str) -> tuple[str, ...]:
    """A list of texts, as JSON."""
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError("a list of files that is none")
    return tuple(found)


def absolute_text(file: str) -> str:
    """A file as a failure names it, by a path that holds in every folder; nothing stays nothing."""
    return path_text(absolute(file)) if file else ""


def _folder(db: sqlite3.Connection) -> str:
    """The folder in which a store lies, links followed; empty for one in memory."""
    file = next((file for _, name, file in db.execute("PRAGMA database_list") if name == "main"), "")
    return str(Path(file).parent) if file else ""


def _recorded_folder(db: sqlite3.Connection) -> str:
    """The folder in which the store lay when it was written to last; empty where it does not say."""
    if not has_table(db, "about"):
        return ""
    found = db.execute("SELECT value FROM about WHERE name = 'folder'").fetchone()
    return str(json.loads(found[0])) if found else ""
