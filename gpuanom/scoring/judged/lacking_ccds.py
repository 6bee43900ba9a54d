"""Exposures that lack CCDs: their statistics as they would be with the usual number of CCDs (METHOD.md 13)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpuanom.records import Doubles, Flags
from gpuanom.scoring.judged.ccd_grid import Grid

OF_A_TYPICAL_CCD: tuple[str, ...] = ("sky", "sigma")
"""Statistics of exposures that are those of a typical CCD: the median over the CCDs."""

SPECTRUM = "stripe_power_"
"""The beginning of the names of the statistics of a spectrum, of a CCD and of all CCDs of an exposure."""


def usual_over_own(used: Doubles | None, usual_ccds: float) -> Doubles | float:
    """Return the usual number of measured CCDs over that of each exposure; 1 where either is not known.

    Parameters
    ----------
    used : ndarray, (n_exposures,) float64, or None
        Measured CCDs of each exposure.
    usual_ccds : float
        0 where it is not known.
    """
    if used is None or not usual_ccds > 0.0:
        return 1.0
    known = np.asarray(used, dtype=np.float64) > 0.0
    return np.where(known, usual_ccds / np.where(known, used, 1.0), 1.0)


def of_a_typical_ccd(
    values: Doubles, logarithms: Doubles, normal: Doubles, of_names: Mapping[str, float], grid: Grid
) -> Doubles:
    """The values of exposures, those that lack CCDs as if these were there.

    The sky of CCDs differs by their gain, so that the median of the others is not that of all.

    Parameters
    ----------
    values : ndarray, (n_exposures,) float64
    logarithms : ndarray, (n_ccd,) float64
        Logarithms of the CCDs' values.
    normal : ndarray, (n_names,) float64
        What is normal for the CCD of each name of the grid.
    of_names : mapping of str to float
        The same of all CCDs of the dataset; an exposure may lack some.
    grid : Grid

    Returns
    -------
    ndarray, (n_exposures,) float64
    """
    less = logarithms - normal[grid.name] if grid.names else logarithms
    lacking = (grid.counted(less) < len(of_names)) & (grid.counted(less) == grid.counted(logarithms))
    if not lacking.any():
        return values
    typical = float(np.median(np.exp(list(of_names.values()))))
    return np.where(lacking & (grid.counted(less) > 0), typical * grid.medians(np.exp(less)), values)


def compare_spectra(
    ccds: Mapping[str, Doubles], crossed: Flags, grid: Grid, usual_ccds: float, exposures: dict[str, Doubles]
) -> None:
    """Make the spectra of exposures comparable whose spectrum is that of fewer CCDs than usual, which is noisier.

    The spectra of the CCDs are added. By chance, the largest of many powers exceeds their level by an amount that falls
    with the root of the number of CCDs: it is scaled to the usual number. An exposure of whose CCDs trails leave out
    more than half, but not all, has no spectrum to compare.

    Parameters
    ----------
    ccds : mapping of str to ndarray, (n_ccd,) float64
        Statistics of CCDs.
    crossed : ndarray, (n_ccd,) bool
        Which CCDs a trail crosses: these take no part in the spectra of exposures, unless all are crossed.
    grid : Grid
    usual_ccds : float
        How many CCDs of an exposure can usually be measured; 0 where that is not known.
    exposures : dict of str to ndarray, (n_exposures,) float64
        In and out.
    """
    # Small CCDs have no statistics of the longest periods.
    of_ccds = [np.isfinite(values) for name, values in ccds.items() if name.startswith(SPECTRUM)]
    known = np.logical_or.reduce(of_ccds) if of_ccds else np.zeros(crossed.size, dtype=bool)
    left, n = (np.bincount(grid.owner, of_some, minlength=grid.shape[0]) for of_some in (known & ~crossed, known))
    few = (left > 0) & (2 * left < n)
    of_how_many = np.where(left > 0, left, n)
    fewer = (of_how_many > 0) & (of_how_many < usual_ccds)
    if not (few | fewer).any():
        return
    share = np.sqrt(np.where(fewer, of_how_many / max(usual_ccds, 1.0), 1.0))
    for column in [name for name in exposures if name.startswith(SPECTRUM)]:
        values = np.asarray(exposures[column], dtype=np.float64)
        values = np.where(fewer, 1.0 + (values - 1.0) * share, values)
        exposures[column] = np.where(few, np.nan, values)
