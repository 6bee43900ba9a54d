"""The night's course: its last exposure, and the limits of the reference for what is drawn against time."""

from __future__ import annotations

import numpy as np

from gpuanom.natural_order import natural_key
from gpuanom.records import Doubles
from gpuanom.report.blocks import short
from gpuanom.review.opened import ScoredNight, key_of

COURSE = ("fwhm", "ellipticity", "sky", "n_sources")
"""The numbers of exposures that are drawn against time."""

USUAL = (2.5, 50.0, 97.5)
"""The limits of the reference are these percentiles: 95% of its exposures lie between them, and half below the middle.
"""

LEAST = 10
"""A reference of fewer exposures has no limits."""


def latest(night: ScoredNight) -> int | None:
    """Return the place of the last exposure in the night's table: the one that began last; None without any.

    Parameters
    ----------
    night : ScoredNight
        Exposures without a time count as earlier than all others; of equal times the last id counts.
    """
    rows = [(row["date_obs"] or "", natural_key(row["exposure"]), i) for i, row in enumerate(night.exposures)
            if key_of(row) in night.found]  # fmt: skip
    return max(rows)[2] if rows else None


def limits(night: ScoredNight) -> list[dict[str, list[float]]]:
    """Return what is usual in the saved reference that a night was compared with.

    Parameters
    ----------
    night : ScoredNight

    Returns
    -------
    list of dict of str to list of 3 floats
        For each of the night's datasets, the percentiles `USUAL` of each of `COURSE`; empty where the night was
        compared with itself, or the reference keeps too few statistics.
    """
    found: list[dict[str, list[float]]] = []
    for camera, band in night.datasets:
        saved = None if night.saved is None else night.saved.get(camera, band)
        measured = None if saved is None else saved.statistics
        found.append({} if measured is None else _usual(dict(measured.exposures)))
    return found


def _usual(values: dict[str, Doubles]) -> dict[str, list[float]]:
    """The percentiles of each number of which enough exposures have a value."""
    if "e1" in values and "e2" in values:
        values["ellipticity"] = np.hypot(values["e1"], values["e2"])
    usual = {}
    for name in COURSE:
        known = np.asarray(values.get(name, np.zeros(0)), dtype=np.float64)
        known = known[np.isfinite(known)]
        if known.size >= LEAST:
            usual[name] = [short(float(v)) for v in np.percentile(known, USUAL)]
    return usual
