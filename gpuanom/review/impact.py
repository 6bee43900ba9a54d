"""What an exposure would do to a survey if it were kept, and what would be lost with it if it were dropped.

A verdict says that an exposure is odd. Whether that matters to a measurement of weak lensing is told by the ellipticity
of its stars that is left after the static pattern of each CCD (METHOD.md 9.7, 10): with e = (a^2 - b^2)/(a^2 + b^2), a
PSF of ellipticity e that is ignored looks like a shear of e/2, and a model of the PSF leaves a share of that, the
leakage.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuanom.records import DatasetKey, ExposureKey
from gpuanom.review.opened import Row, Rows, ScoredNight, key_of
from gpuanom.scoring.verdict.levels import ODD

LEAST_FOR_USUAL = 20
"""A CCD that fewer exposures of its dataset have measured has no usual ellipticity (METHOD.md 9.7)."""

LEAKAGE = 0.05
"""The share of the shear of an ignored PSF that is left after a model of the PSF, unless another is given."""


@dataclass(frozen=True)
class Impact:
    """What keeping or dropping an exposure would do.

    Attributes
    ----------
    e1, e2 : float or None
        Mean ellipticity of the stars less the usual one of their CCDs; None where no CCD has a usual ellipticity.
    error : float or None
        Standard deviation of e1 and of e2.
    shear : float or None
        Half the length of (e1, e2): the shear that the exposure adds if its PSF is ignored.
    bias : float or None
        The leakage times the shear: the additive bias that is left after a model of the PSF.
    affected : float or None
        Share of the exposure's sources that lie on CCDs whose verdict is bad or check.
    lost : float or None
        Share of the sources of its camera and band that would be lost by dropping the exposure.
    """

    e1: float | None
    e2: float | None
    error: float | None
    shear: float | None
    bias: float | None
    affected: float | None
    lost: float | None


def usual_ellipticity(exposures: Sequence[Rows]) -> dict[str, list[float]]:
    """Return the static pattern of the stars' ellipticity: the medians of e1 and e2 of each CCD over a dataset.

    Parameters
    ----------
    exposures : sequence of sequence of mapping
        The rows of the CCDs of each exposure of the dataset.

    Returns
    -------
    dict of str to list of 2 floats
        e1 and e2, by name of the CCD; without CCDs that fewer than `LEAST_FOR_USUAL` exposures have measured.
    """
    known: dict[str, list[tuple[float, float]]] = {}
    for rows in exposures:
        for row in rows:
            e1, e2 = row.get("e1"), row.get("e2")
            if e1 is not None and e2 is not None:
                known.setdefault(row["ccd"], []).append((e1, e2))
    return {
        name: [statistics.median(component) for component in zip(*values, strict=True)]
        for name, values in known.items()
        if len(values) >= LEAST_FOR_USUAL
    }


def left_over(rows: Rows, usual: Mapping[str, Sequence[float]]) -> tuple[float, float, float] | None:
    """Return the mean ellipticity of an exposure's stars less the usual one of their CCDs, and its error.

    Parameters
    ----------
    rows : sequence of mapping
        The rows of the exposure's CCDs.
    usual : mapping
        From `usual_ellipticity`. Its own error is neglected: it is a median over many exposures.

    Returns
    -------
    e1, e2, error : float
        Each CCD counts by its number of stars. None where no CCD has both.
    """
    stars, sums, variance = 0, [0.0, 0.0], 0.0
    for row in rows:
        numbers = [row.get(name) for name in ("e1", "e2", "e1_error", "e2_error", "n_stars")]
        if row["ccd"] not in usual or any(number is None for number in numbers):
            continue
        e1, e2, first, second, n = (float(number) for number in numbers if number is not None)
        stars += int(n)
        sums = [sums[0] + n * (e1 - usual[row["ccd"]][0]), sums[1] + n * (e2 - usual[row["ccd"]][1])]
        variance += n * n * (first * first + second * second) / 2.0
    if not stars:
        return None
    return sums[0] / stars, sums[1] / stars, math.sqrt(variance) / stars


def impacts(night: ScoredNight, leakage: float = LEAKAGE) -> dict[ExposureKey, Impact]:
    """Return the impact of each exposure whose verdict is bad or check.

    Parameters
    ----------
    night : ScoredNight
    leakage : float, optional
        Share of the shear of an ignored PSF that is left after a model of the PSF.

    Returns
    -------
    dict of ExposureKey to Impact
    """
    of_ccds = night.ccds()
    members: dict[DatasetKey, list[dict[str, Any]]] = {}
    for row in night.exposures:
        members.setdefault((row["camera"], row["band"]), []).append(row)
    found = {}
    for rows in members.values():
        odd = [row for row in rows if row.get("verdict") in ODD]
        if not odd:
            continue
        usual = usual_ellipticity([of_ccds.get(key_of(row), []) for row in rows])
        sources = sum(row["n_sources"] or 0 for row in rows)
        for row in odd:
            found[key_of(row)] = _impact(row, of_ccds.get(key_of(row), []), usual, sources, leakage)
    return found


def _impact(row: Row, ccds: Rows, usual: Mapping[str, Sequence[float]], sources: int, leakage: float) -> Impact:
    left = left_over(ccds, usual)
    e1, e2, error = (None, None, None) if left is None else left
    shear = None if e1 is None or e2 is None else 0.5 * math.hypot(e1, e2)
    counted = [(ccd["n_sources"] or 0, ccd.get("verdict") in ODD) for ccd in ccds]
    total = sum(n for n, _ in counted)
    return Impact(
        e1,
        e2,
        error,
        shear,
        None if shear is None else leakage * shear,
        sum(n for n, affected in counted if affected) / total if total else None,
        (row["n_sources"] or 0) / sources if sources else None,
    )
