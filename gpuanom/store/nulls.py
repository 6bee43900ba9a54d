"""The nulls that a survey's store keeps: what is normal for each dataset, so that one exposure can be judged alone.

The table is made when the first null is kept: the stores of nights that keep none stay as they are. What the text and
the numbers of a null mean is the matter of `gpuanom.scoring.evidence.null_record`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gpuanom.store.schema import believed, has_table
from gpuanom.store.transactions import Transactions

_TABLE = """
CREATE TABLE IF NOT EXISTS nulls (
    camera TEXT NOT NULL, band TEXT NOT NULL, about TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (camera, band))
"""


class KeptNulls(Transactions):
    """The part of a store that keeps the nulls of its datasets, and tells which exposures they have by now."""

    def n_exposures(self) -> int:
        """Return the number of measured exposures."""
        with self._explained():
            return int(self._db.execute("SELECT count(*) FROM exposures").fetchone()[0])

    def dataset_sizes(self) -> dict[tuple[str, str], int]:
        """Return the number of measured exposures of each dataset by camera and band, in the order of these."""
        query = "SELECT camera, band, count(*) FROM exposures GROUP BY camera, band ORDER BY camera, band"
        with self._explained():
            return {(camera, band): int(n) for camera, band, n in self._db.execute(query)}

    def null(self, camera: str, band: str) -> tuple[str, bytes] | None:
        """Return the text and the numbers of the null of a dataset; None where none is kept.

        Parameters
        ----------
        camera, band : str
        """
        with believed(self.path):
            if not has_table(self._db, "nulls"):
                return None
            query = "SELECT about, numbers FROM nulls WHERE camera = ? AND band = ?"
            for about, numbers in self._db.execute(query, (camera, band)):
                if not (isinstance(about, str) and isinstance(numbers, bytes)):
                    raise ValueError("a null without its text or numbers")
                return about, numbers
            return None

    def keep_null(self, camera: str, band: str, about: str, numbers: bytes) -> None:
        """Keep the null of a dataset in place of an earlier one.

        Parameters
        ----------
        camera, band, about : str
        numbers : bytes
        """
        with self._transaction() as db:
            db.execute(_TABLE)
            db.execute("INSERT OR REPLACE INTO nulls VALUES (?, ?, ?, ?)", (camera, band, about, numbers))

    def fingerprints(self, camera: str, band: str, names: Sequence[str] | None = None) -> dict[str, str]:
        """Return a hash of the files of each exposure of a dataset, by id.

        Parameters
        ----------
        camera, band : str
        names : sequence of str, optional
            The ids that are asked for; those that the store does not hold are passed over. By default all.
        """
        query, one = "SELECT exposure, fingerprint FROM exposures WHERE camera = ? AND band = ?", " AND exposure = ?"
        with self._explained():
            if names is None:
                return dict(self._db.execute(query, (camera, band)).fetchall())
            found = [self._db.execute(query + one, (camera, band, name)).fetchone() for name in names]
        return dict(row for row in found if row is not None)


def forget_nulls(db: sqlite3.Connection) -> None:
    """Forget all nulls: the exposures behind them are gone. The caller holds the transaction."""
    if has_table(db, "nulls"):
        db.execute("DELETE FROM nulls")
