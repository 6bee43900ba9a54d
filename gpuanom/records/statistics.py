"""The statistics of patterns, shapes and repeated stars, of CCDs, exposures and datasets (METHOD.md Part II).

All values are float32, since what is stored is float32: everything after the measurement is then a function of what
is stored, and both backends give the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom.records.kinds import Integers
from gpuanom.set_at_once import set_at_once

Singles: TypeAlias = npt.NDArray[np.float32]
Cells: TypeAlias = npt.NDArray[np.int8]

MAP_STEP = 0.02
"""What one step of a stored map stands for, in units of a CCD's sigma (METHOD.md 9.7)."""
NO_CELL = -128
"""The stored value of a cell of a map without a usable pixel."""


@dataclass(frozen=True)
class StatisticNames:
    """The names of all statistics, in the order of their values.

    Attributes
    ----------
    version : int
        Raised when a statistic of the same name is computed in another way.
    exposures, ccds : tuple of str
        Names of the statistics of an exposure, and of a CCD.
    """

    version: int
    exposures: tuple[str, ...]
    ccds: tuple[str, ...]

    @property
    def text(self) -> str:
        """The names as JSON: statistics of equal texts can be compared."""
        return _text(self)


@lru_cache(maxsize=4)
def _text(names: StatisticNames) -> str:
    return json.dumps([names.version, names.exposures, names.ccds])


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdStatistics:
    """What is kept of one CCD.

    Attributes
    ----------
    values : ndarray, (n,) float32
        In the order of `StatisticNames.ccds`; NaN where a statistic was not measured.
    map : ndarray, (ny, nx) int8
        Mean of the normalised residual over each cell, in steps of `MAP_STEP` sigma (METHOD.md 9.4); `NO_CELL` where a
        cell has no usable pixel. (0, 0) where there is no map.
    row_steps, column_steps : ndarray, (n_rows,) and (n_columns,) float32
        Step filter of the profiles of rows and of columns at every 16th place, in standard deviations of pixel noise
        (METHOD.md 9.3); NaN where it cannot be taken. The store keeps them as float16.
    """

    values: Singles
    map: Cells
    row_steps: Singles
    column_steps: Singles


@dataclass(frozen=True, eq=False)
class ExposureStatistics:
    """What is kept of one exposure beside the statistics of its CCDs.

    Attributes
    ----------
    names : StatisticNames
        What the values of the exposure and of its CCDs are.
    values : ndarray, (n,) float32
        In the order of `StatisticNames.exposures`; NaN where a statistic was not measured.
    """

    names: StatisticNames
    values: Singles


@dataclass(frozen=True, eq=False)
class CcdPatterns:
    """The map and the steps of one CCD as they are stored, see `CcdStatistics`."""

    map: Cells
    row_steps: Singles
    column_steps: Singles


@dataclass(frozen=True, eq=False)
class DatasetStatistics:
    """The stored statistics of the exposures of one camera and band.

    Attributes
    ----------
    camera, band : str
    exposures : tuple of str
        Ids of the exposures, in the order of `Dataset.exposures`.
    owner : ndarray, (n_ccd,) int64
        Index of the exposure of each CCD, ascending, as in `Dataset.owner`.
    ccds : tuple of str
        Name of each CCD.
    exposure_names, ccd_names : tuple of str
        Names of the columns of `exposure_values` and `ccd_values`.
    exposure_values : ndarray, (n_exposures, n) float32
        NaN where a statistic was not measured; an exposure without statistics has a row of NaN.
    ccd_values : ndarray, (n_ccd, m) float32
        The same for the CCDs.
    measured : ndarray, (n_exposures,) bool
        Whether the store holds statistics of the exposure.
    fingerprints : tuple of str
        Hash of the files of each exposure: a static pattern is told by the exposures behind it.
    patterns : callable
        Takes the index of an exposure and reads the maps and steps of its CCDs from the store, a `CcdPatterns` each in
        the order of `owner`; an empty list where the exposure has no statistics. Only to be called while the store is
        open.
    with_room : ndarray, (n_ccd, more than m) float32, optional
        `ccd_values` with room for more columns behind them: those of a survey take long to be copied.
    """

    camera: str
    band: str
    exposures: tuple[str, ...]
    owner: Integers
    ccds: tuple[str, ...]
    exposure_names: tuple[str, ...]
    ccd_names: tuple[str, ...]
    exposure_values: Singles
    ccd_values: Singles
    measured: npt.NDArray[np.bool_]
    fingerprints: tuple[str, ...]
    patterns: Callable[[int], list[CcdPatterns]]
    with_room: Singles | None = None

    def of_exposures(self, name: str) -> Singles:
        """Return the values of a statistic of the exposures, (n_exposures,) float32.

        Parameters
        ----------
        name : str
            One of `exposure_names`.
        """
        values: Singles = self.exposure_values[:, self.exposure_names.index(name)]
        return values

    def of_ccds(self, name: str) -> Singles:
        """Return the values of a statistic of the CCDs, (n_ccd,) float32.

        Parameters
        ----------
        name : str
            One of `ccd_names`.
        """
        values: Singles = self.ccd_values[:, self.ccd_names.index(name)]
        return values
