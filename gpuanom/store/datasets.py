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
