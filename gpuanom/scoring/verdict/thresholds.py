"""The lowest evidence of each verdict, by the size of the dataset (METHOD.md 13).

The numbers themselves are settings: `bad_evidence`, `check_evidence` and `bad_ccd_evidence` of `gpuanom.settings`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpuanom.digits import printed
from gpuanom.settings import Settings

THRESHOLD_EXPOSURES: tuple[int, ...] = (20, 30, 50, 150, 1000)
"""Sizes of datasets for which thresholds are set; between them they follow ln n, beyond them they stay."""


class Thresholds(NamedTuple):
    """The lowest evidence of a bad exposure, of one to check, and of a bad CCD, for one size of dataset.

    `profiling/verdict_thresholds.py` finds those of the default settings.
    """

    bad: float
    check: float
    bad_ccd: float

    @classmethod
    def of(cls, settings: Settings, n_exposures: int) -> Thresholds:
        """Return the thresholds for a null that was made from so many exposures, with the tables' digits."""
        of_sizes = (settings.bad_evidence, settings.check_evidence, settings.bad_ccd_evidence)
        return cls(*(printed(threshold(values, n_exposures)) for values in of_sizes))


def threshold(values: Sequence[float], n_exposures: int) -> float:
    """Return the threshold for a dataset of n exposures, between those of `THRESHOLD_EXPOSURES`.

    Parameters
    ----------
    values : sequence of 5 floats
    n_exposures : int
        Exposures that the null was made from.
    """
    at = [math.log(n) for n in THRESHOLD_EXPOSURES]
    return float(np.interp(math.log(max(n_exposures, 1)), at, list(values)))
