"""The steps of the statistics on a stack of CCDs, and what each CCD keeps of them (METHOD.md Part II)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.records import Background, Ccd, CcdStack, CcdStatistics, Integers, Singles, Sources
from gpuanom.settings import Settings
from gpuanom.statistics.listed import CCD_STATISTICS


@dataclass(frozen=True, eq=False)
class StatisticArrays:
    """What the steps of the statistics gave for a stack: small arrays on the device, or on the host."""


def statistic_arrays(
    stack: CcdStack, background: Background, sources: Sources, turns: Integers, settings: Settings, backend: Backend
) -> StatisticArrays | None:
    """Run the steps of the statistics on a stack.

    Parameters
    ----------
    stack : CcdStack
    background : Background
    sources : Sources
    turns : ndarray, (n_ccd,) int64
        `Turn` of each CCD.
    settings : Settings
    backend : Backend

    Returns
    -------
    StatisticArrays or None
        On the device; None where the settings do not ask for statistics.
    """
    if not settings.statistics:
        return None
    return StatisticArrays()


def ccd_statistics(
    i: int, ccd: Ccd, shape: tuple[int, int], arrays: StatisticArrays, background: Background
) -> CcdStatistics:
    """Make the statistics of one CCD of a stack.

    Parameters
    ----------
    i : int
        Index of the CCD in the stack.
    ccd : Ccd
        The CCD; its pixels are not used.
    shape : tuple of int
        (ny, nx) of the CCD.
    arrays : StatisticArrays
        Of the stack, on the host.
    background : Background
        Of the stack, on the host.

    Returns
    -------
    CcdStatistics
    """
    values: list[Singles] = [np.empty(0, dtype=np.float32)]
    joined = np.concatenate(values)
    if joined.shape != (len(CCD_STATISTICS),):
        raise ValueError(f"{joined.size} statistics of a CCD where there should be {len(CCD_STATISTICS)}")
    nothing = np.empty(0, dtype=np.float32)
    return CcdStatistics(joined, np.empty((0, 0), dtype=np.int8), nothing, nothing)


def stack_parts(i: int, ccd: Ccd, shape: tuple[int, int], arrays: StatisticArrays) -> Mapping[str, Any]:
    """Return what one CCD of a stack contributes to the statistics of its exposure.

    Parameters
    ----------
    i : int
        Index of the CCD in the stack.
    ccd : Ccd
        The CCD; its pixels are not used.
    shape : tuple of int
        (ny, nx) of the CCD.
    arrays : StatisticArrays
        Of the stack, on the host.

    Returns
    -------
    mapping
        Values by name of the part; `gpuanom.measuring.exposure_record` takes them. What a step adds up over the whole
        stack is a part of the first CCD.
    """
    return {}
