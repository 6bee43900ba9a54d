"""Row and column profiles: jitter from row to row, and steps between amplifiers (METHOD.md 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.records import Doubles, FloatImage, Profiles
from gpuanom.statistics.statistic import Statistic

LEAST_SCALE = 0.7
"""Steps are divided by the exposure's median absolute step, at least by this."""

CCD_STATISTICS = (
    Statistic(
        "row_jitter",
        "",
        "Variance of the rows' means about their running median, over what pixel noise gives: about 1 without jitter.",
    ),
    Statistic("column_jitter", "", "The same of the columns' means."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def ccd_statistics(profiles: Profiles) -> FloatImage:
    """Return the jitter of each CCD of a stack.

    Parameters
    ----------
    profiles : Profiles
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 2) float32
        In the order of `CCD_STATISTICS`.
    """
    return np.stack([profiles.row_jitter, profiles.column_jitter], axis=1).astype(np.float32)


def step_scale(values: Sequence[FloatImage | Doubles]) -> float:
    """Return the median absolute step of an exposure, at least 0.7, what steps are divided by.

    Parameters
    ----------
    values : sequence of ndarray, (n,) float32
        Steps of all rows, or all columns, of the exposure's CCDs, less the static ones where these are known.

    Returns
    -------
    float
        In standard deviations of pixel noise, of which white noise gives 0.67.
    """
    every = np.concatenate([np.zeros(0), *values])
    every = np.abs(every[np.isfinite(every)])
    return max(LEAST_SCALE, float(np.median(every))) if every.size else LEAST_SCALE


def largest_step(values: FloatImage, static: FloatImage | None = None, scale: float | None = None) -> tuple[float, int]:
    """Return the largest step of one profile, and its index.

    Parameters
    ----------
    values : ndarray, (n,) float32
        From `gpuanom.records.Profiles`.
    static : ndarray, (n,) float32, optional
        The static steps of that CCD, which are taken off (METHOD.md 9.7).
    scale : float, optional
        The exposure's `step_scale`; by default that of this profile alone.

    Returns
    -------
    height : float
        The largest |step| over the scale; NaN where no step was measured.
    index : int
        Its index in `values`; -1 without a step.
    """
    left = values.astype(np.float64)
    left = left if static is None else left - static
    present = np.isfinite(left)
    if not present.any():
        return float("nan"), -1
    height = np.where(present, np.abs(left), -1.0)
    index = int(np.argmax(height))
    return float(height[index]) / (step_scale([left]) if scale is None else scale), index
