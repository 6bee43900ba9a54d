"""What a store forgets: an exposure, in all tables that have rows of it, or everything."""

from __future__ import annotations

import sqlite3

from gpuanom.store import nulls, planned
from gpuanom.store.recorded_settings import write_classifier
from gpuanom.store.set_aside import DERIVED_TABLES, EXPOSURE_TABLES, forget_aside


class Forgetting:
    """Forgets exposures: their rows, what is set aside of them, and their nights.

    Parameters
    ----------
    db : Connection
        See `gpuanom.store.schema.open_database`.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._schema = db, -1
        self._tables: list[str] = []
        self._holds = ""

    def __call__(self, camera: str, exposure: str) -> None:
        """Forget an exposure. The caller holds the transaction.

        Parameters
        ----------
        camera, exposure : str
        """
        db = self._db
        # SQLite raises this number with each new table.
        (schema,) = db.execute("PRAGMA schema_version").fetchone()
        if schema != self._schema:
            self._look()
            self._schema = schema
        # Most exposures are new: one question takes a tenth of the time of a deletion from each table.
        named = {"camera": camera, "exposure": exposure}
        if db.execute(self._holds, named).fetchone()[0]:
            for table in self._tables:
                db.execute(f"DELETE FROM {table} {_OF_EXPOSURE}", named)

    def _look(self) -> None:
        existing = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        named = ("nights", *DERIVED_TABLES, *EXPOSURE_TABLES, *(f"aside_{name}" for name in EXPOSURE_TABLES))
        self._tables = [table for table in named if table in existing]
        self._holds = "SELECT " + " OR ".join(f"EXISTS (SELECT 1 FROM {t} {_OF_EXPOSURE})" for t in self._tables)


_OF_EXPOSURE = "WHERE camera = :camera AND exposure = :exposure"
"""By names, since Python 3.12.1 warns of numbers."""


def forget_everything(db: sqlite3.Connection) -> None:
    """Forget all exposures, failures and nulls, and the classifier. The caller holds the transaction."""
    for table in (*EXPOSURE_TABLES, *DERIVED_TABLES, "settings", "failures", "nights", "night_failures"):
        db.execute(f"DELETE FROM {table}")
    forget_aside(db)
    nulls.forget(db)
    planned.forget(db)
    write_classifier(db, "")
