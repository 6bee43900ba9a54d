"""The columns of patterns, shapes and repeated stars: which statistics the tables show, and under which names.

The store keeps more numbers than the tables show: a table that nobody can read through helps nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gpuanom.records import DatasetStatistics, Doubles, Integers, Singles
from gpuanom.records.texts import MANY
from gpuanom.side_by_side import side_by_side
from gpuanom.statistics import spectrum
from gpuanom.tables.columns import Column

STRIPES = ("stripe_power", "stripe_period", "stripe_angle")

_OF_CCDS = (
    ("row_jitter", "", "variance of the rows' means about their running median, over that of noise: about 1"),
    ("column_jitter", "", "variance of the columns' means about their running median, over that of noise: about 1"),
    ("row_step", "", "largest step between rows beyond the CCD's usual steps, over the exposure's typical step"),
    ("column_step", "", "largest step between columns beyond the CCD's usual steps, over the exposure's typical step"),
    ("map_rms", "", "rms of the map of the residual sky, in sigma of a pixel"),
    ("glow", "", "brightest place of the smoothed map beyond the CCD's usual map, in sigma of a pixel"),
    ("edge", "", "height of the edges of that map, as rings and ghosts have them, in sigma of a pixel"),
    ("masked_share", "", "share of the usable pixels that belong to sources, trails, rings or glows"),
    ("masked_patch", "", "share of the CCD in the largest patch that is mostly masked"),
    ("crosstalk", "", "mean residual at the places mirrored from bright pixels, in sigma of a pixel"),
    ("crosstalk_masked", "", "-ln of the probability that chance masks so many of these places"),
    ("streak", "", "height of a straight line, such as a satellite's trail, in standard deviations; 0 without one"),
    ("streak_angle", "deg", "direction of that line, from the focal plane's +x toward +y"),
)
_STARS = (
    ("fwhm", "pixel", "full width at half maximum of the stars"),
    ("fwhm_error", "pixel", "error of fwhm"),
    ("e1", "", "ellipticity of the stars along the focal plane's x (above 0) or y (below 0)"),
    ("e1_error", "", "error of e1"),
    ("e2", "", "ellipticity of the stars along the focal plane's diagonals, 45 (above 0) or -45 deg (below 0)"),
    ("e2_error", "", "error of e2"),
    ("kurtosis", "", "kurtosis of the stars: 2 for a Gaussian, less for donuts, more for wide wings"),
    ("kurtosis_error", "", "error of kurtosis"),
    ("n_stars", "", "number of stars behind these"),
)
_FIELD = (
    ("e1_constant", "", "e1 at the centre of the focal plane, of a plane fitted to the stars' e1"),
    ("e2_constant", "", "e2 at the centre of the focal plane, of a plane fitted to the stars' e2"),
    ("e_constant_error", "", "error of e1_constant and e2_constant"),
    ("e1_gradient_x", "", "change of e1 along x, over half the longer side of the focal plane"),
    ("e1_gradient_y", "", "change of e1 along y, over half the longer side of the focal plane"),
    ("e2_gradient_x", "", "change of e2 along x, over half the longer side of the focal plane"),
    ("e2_gradient_y", "", "change of e2 along y, over half the longer side of the focal plane"),
    ("e_gradient_error", "", "error of each of the four gradients"),
)
_REPEATS = (
    ("repeat_separation", "pixel", "separation at which most stars repeat"),
    ("repeat_angle", "deg", "direction from a star to its repetition, from the focal plane's +x toward +y"),
    ("repeat_share", "", "share of the stars that repeat at that separation"),
    ("repeat_evidence", "", "-ln of the probability that chance repeats so many stars at one separation"),
)
_STRIPE_COLUMNS = (
    ("stripe_power", "", "strongest stripes or waves: their power over the level around it"),
    ("stripe_period", "pixel", "period of these stripes"),
    ("stripe_angle", "deg", "direction along these stripes, from the focal plane's +x toward +y"),
)
_ARCSEC = ("fwhm_arcsec", "arcsec", "fwhm on the sky; empty without a WCS")

LARGEST = tuple(name for name, _, _ in _OF_CCDS if name not in ("crosstalk", "crosstalk_masked", "streak_angle"))
"""Columns of exposures whose value is the largest of the exposure's CCDs."""


def _columns(*lists: tuple[tuple[str, str, str], ...]) -> tuple[Column, ...]:
    return tuple(
        Column(name, "int" if name == "n_stars" else "float", unit, text) for rows in lists for name, unit, text in rows
    )


def _of_exposure(row: tuple[str, str, str]) -> tuple[str, str, str]:
    name, unit, text = row
    return name, unit, f"{text} (the largest of its CCDs)" if name in LARGEST else text


EXPOSURE_STATISTIC_COLUMNS: tuple[Column, ...] = _columns(
    _STRIPE_COLUMNS, tuple(map(_of_exposure, _OF_CCDS)), _STARS[:1], (_ARCSEC,), _STARS[1:], _FIELD, _REPEATS
)
"""Columns of exposures, before `worst_ccd`, where a night has statistics."""

CCD_STATISTIC_COLUMNS: tuple[Column, ...] = (
    Column("isophote_angle", "float", "deg", "isophotal orientations: preferred direction"),
    Column("isophote_alignment", "float", "", "isophotal orientations: alignment, 0 (isotropic) to 1 (all parallel)"),
    *_columns(_STRIPE_COLUMNS, _OF_CCDS, _STARS[:1], (_ARCSEC,), _STARS[1:]),
)
"""Columns of CCDs, before `reason`, where a night has statistics."""


class Shown(NamedTuple):
    """The values of these columns for one dataset.

    Attributes
    ----------
    exposures : dict of str to ndarray, (n_exposures,) float64
    ccds : dict of str to ndarray, (n_ccd,) float32 or float64
    """

    exposures: dict[str, Doubles]
    ccds: Mapping[str, Singles | Doubles]


def shown(statistics: DatasetStatistics, arcsec: Doubles) -> Shown:
    """Return the columns that the statistics of a dataset give.

    Parameters
    ----------
    statistics : DatasetStatistics
        With those that need static patterns (`gpuanom.scoring.judged.static_pattern`).
    arcsec : ndarray, (n_ccd,) float64
        Side of a pixel of each CCD on the sky, in arcsec; NaN without a WCS.
    """
    many = statistics.owner.size >= MANY
    # As they are kept: as float64 those of a million CCDs are 400 MB.
    ccds: dict[str, Any] = {name: statistics.of_ccds(name) for name in statistics.ccd_names}
    exposures: dict[str, Any] = {
        name: statistics.of_exposures(name).astype(np.float64) for name in statistics.exposure_names
    }
    for values in (ccds, exposures):
        values.update(_strongest(values))
    n = len(statistics.exposures)
    largest = side_by_side(lambda name: largest_of_each(ccds[name], statistics.owner, n)[0], LARGEST, many=many)
    exposures.update(zip(LARGEST, largest, strict=True))
    which = largest_of_each(ccds["streak"], statistics.owner, n)[1]
    with_nan = np.append(ccds["streak_angle"], np.nan)
    exposures["streak_angle"] = with_nan[which]
    ccds["fwhm_arcsec"] = ccds["fwhm"] * arcsec
    first = np.append(arcsec, np.nan)[first_of_each(arcsec, statistics.owner, n)]
    exposures["fwhm_arcsec"] = exposures["fwhm"] * first
    return Shown(exposures, ccds)


def pixel_side(axes: Doubles) -> Doubles:
    """Return the side of a pixel on the sky in arcsec: the root of the area that a pixel covers.

    Parameters
    ----------
    axes : ndarray, (n, 4) float64
        CD1_1, CD1_2, CD2_1 and CD2_2 in degrees a pixel; NaN without a WCS.

    Returns
    -------
    ndarray, (n,) float64
        NaN without a WCS.
    """
    side = 3600.0 * np.sqrt(np.abs(axes[:, 0] * axes[:, 3] - axes[:, 1] * axes[:, 2]))
    return np.where(side > 0.0, side, np.nan)


def _strongest(values: dict[str, Any]) -> dict[str, Doubles]:
    """Power, period and direction of the stripes in the band in which they are strongest."""
    best = np.asarray(values["stripe_power_0"])
    found = {name: values[f"{name}_0"].copy() for name in STRIPES}
    for band in range(1, spectrum.BANDS):
        power = values[f"stripe_power_{band}"]
        with np.errstate(invalid="ignore"):
            larger = (power > best) | (np.isnan(best) & ~np.isnan(power))
        best = np.where(larger, power, best)
        for name in STRIPES:
            np.copyto(found[name], values[f"{name}_{band}"], where=larger)
    none = np.isnan(best)
    return {name: np.where(none, np.nan, of_band) for name, of_band in found.items()}


def largest_of_each(values: Doubles, owner: Integers, n: int) -> tuple[Doubles, Integers]:
    """Return the largest value of each exposure's CCDs and the CCD that has it; NaN and -1 without a value."""
    if not owner.size:
        return np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    starts = np.searchsorted(owner, np.arange(n))
    width = owner.size // n
    if owner.size == n * width and (starts == width * np.arange(n)).all():
        full = np.where(np.isfinite(values), values, -np.inf).reshape(n, width)  # every exposure has as many CCDs
    else:
        place = np.arange(owner.size) - starts[owner]
        full = np.full((n, int(place.max()) + 1), -np.inf)
        full[owner, place] = np.where(np.isfinite(values), values, -np.inf)
    at = np.argmax(full, axis=1)  # of equal ones the first CCD
    largest = full[np.arange(n), at].astype(np.float64)
    known = np.isfinite(largest)
    return np.where(known, largest, np.nan), np.where(known, starts + at, -1)


def first_of_each(values: Doubles, owner: Integers, n: int) -> Integers:
    """Return the first CCD of each exposure that has a value; -1 without one."""
    which = np.full(n, -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(values))
    exposures, first = np.unique(owner[known], return_index=True)
    which[exposures] = known[first]
    return which
