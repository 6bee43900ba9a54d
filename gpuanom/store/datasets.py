"""The datasets of a store, those of each camera and band: how many exposures each has, and their histograms."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from gpuanom.natural_order import natural_key
from gpuanom.records import KINDS, Dataset, DatasetKey


def n_exposures(db: sqlite3.Connection) -> int:
    """Return the number of measured exposures."""
    return int(db.execute("SELECT count(*) FROM exposures").fetchone()[0])


def sizes(db: sqlite3.Connection) -> dict[DatasetKey, int]:
    """Return the number of measured exposures of each dataset by camera and band, in the order of these."""
    query = "SELECT camera, band, count(*) FROM exposures GROUP BY camera, band ORDER BY camera, band"
    return {(camera, band): int(n) for camera, band, n in db.execute(query)}


def fingerprints(db: sqlite3.Connection, camera: str, band: str, names: Sequence[str] | None = None) -> dict[str, str]:
    """Return a hash of the files of each exposure of a dataset, by id.

    Parameters
    ----------
    db : Connection
    camera, band : str
    names : sequence of str, optional
        The ids that are asked for; those that the store does not hold are passed over. By default all.
    """
    query, one = "SELECT exposure, fingerprint FROM exposures WHERE camera = ? AND band = ?", " AND exposure = ?"
    if names is None:
        return dict(db.execute(query, (camera, band)).fetchall())
    found = [db.execute(query + one, (camera, band, name)).fetchone() for name in names]
    return dict(row for row in found if row is not None)


def read(db: sqlite3.Connection, camera: str, band: str, bins: int) -> Dataset:
    """Read the histograms of all exposures of a dataset, in natural order of their ids.

    Parameters
    ----------
    db : Connection
    camera, band : str
    bins : int
        N, bins of each histogram.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        When the histograms have other than `bins` bins, or hold impossible values.
    """
    of_dataset = "FROM exposures WHERE camera = ? AND band = ?"
    rows = db.execute(f"SELECT exposure, n_ccd, ny, nx {of_dataset}", (camera, band)).fetchall()
    rows.sort(key=lambda row: natural_key(row[0]))
    n_kinds = len(KINDS)
    ends = np.cumsum([0, *(row[1] for row in rows)]).tolist()
    places = {row[0]: slice(*ends[i : i + 2]) for i, row in enumerate(rows)}
    counts = np.empty((ends[-1], n_kinds, bins), dtype="<i4")
    sums = np.empty((ends[-1], n_kinds, 2), dtype="<f8")
    # Each exposure goes to its place at once: the histograms of a survey are too large to be held twice.
    for name, histograms, of_ccds in db.execute(f"SELECT exposure, histograms, sums {of_dataset}", (camera, band)):
        place = places.pop(name)
        n_ccd = place.stop - place.start
        if len(histograms) != 4 * n_kinds * bins * n_ccd:
            raise ValueError(f"histograms of other than {bins} bins")
        counts[place] = np.frombuffer(histograms, "<i4").reshape(n_ccd, n_kinds, bins)
        sums[place] = np.frombuffer(of_ccds, "<f8").reshape(n_ccd, n_kinds, 2)
    if places:
        raise ValueError("exposures that were taken away while they were read")
    if counts.size and (counts.min() < 0 or not np.isfinite(sums).all()):
        raise ValueError("counts below 0, or sums that are not finite")
    return Dataset(
        camera=camera,
        band=band,
        exposures=tuple(row[0] for row in rows),
        owner=np.repeat(np.arange(len(rows)), [row[1] for row in rows]),
        counts=counts,
        cosine=np.ascontiguousarray(sums[:, :, 0]),
        sine=np.ascontiguousarray(sums[:, :, 1]),
        sizes=np.array([row[2:4] for row in rows], dtype=np.int64).reshape(-1, 2),
    )
