"""The nulls that a survey's store keeps: what is normal for each dataset, so that one exposure can be judged alone.

The table is made when the first null is kept: the stores of nights that keep none stay as they are. What the text and
the numbers of a null mean is the matter of `gpuanom.scoring.evidence.null_record`.
"""

from __future__ import annotations

import sqlite3

from gpuanom.store.schema import has_table

_TABLE = """
CREATE TABLE IF NOT EXISTS nulls (
    camera TEXT NOT NULL, band TEXT NOT NULL, about TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (camera, band))
"""


def read(db: sqlite3.Connection, camera: str, band: str) -> tuple[str, bytes] | None:
    """Return the text and the numbers of the null of a dataset; None where none is kept.

    Parameters
    ----------
    db : Connection
    camera, band : str

    Raises
    ------
    ValueError
        When the text or the numbers are something else.
    """
    if not has_table(db, "nulls"):
        return None
    query = "SELECT about, numbers FROM nulls WHERE camera = ? AND band = ?"
    for about, numbers in db.execute(query, (camera, band)):
        if not (isinstance(about, str) and isinstance(numbers, bytes)):
            raise ValueError("a null without its text or numbers")
        return about, numbers
    return None


def write(db: sqlite3.Connection, camera: str, band: str, about: str, numbers: bytes) -> None:
    """Keep the null of a dataset in place of an earlier one. The caller holds the transaction.

    Parameters
    ----------
    db : Connection
    camera, band, about : str
    numbers : bytes
    """
    db.execute(_TABLE)
    db.execute("INSERT OR REPLACE INTO nulls VALUES (?, ?, ?, ?)", (camera, band, about, numbers))


def forget(db: sqlite3.Connection) -> None:
    """Forget all nulls: the exposures behind them are gone. The caller holds the transaction."""
    if has_table(db, "nulls"):
        db.execute("DELETE FROM nulls")
