"""The histograms of a dataset, read from a store."""

from __future__ import annotations

import sqlite3

import numpy as np

from gpuanom.naming import natural_key
from gpuanom.records import KINDS, Dataset


def read_dataset(db: sqlite3.Connection, camera: str, band: str, bins: int) -> Dataset:
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
    rows = db.execute(
        "SELECT exposure, n_ccd, histograms, sums, ny, nx FROM exposures WHERE camera = ? AND band = ?",
        (camera, band),
    ).fetchall()
    rows.sort(key=lambda row: natural_key(row[0]))
    n_kinds = len(KINDS)
    if any(len(row[2]) != 4 * n_kinds * bins * row[1] for row in rows):
        raise ValueError(f"histograms of other than {bins} bins")
    counts = np.frombuffer(b"".join(row[2] for row in rows), dtype="<i4").reshape(-1, n_kinds, bins)
    sums = np.frombuffer(b"".join(row[3] for row in rows), dtype="<f8").reshape(-1, n_kinds, 2)
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
        sizes=np.array([row[4:6] for row in rows], dtype=np.int64).reshape(-1, 2),
    )
