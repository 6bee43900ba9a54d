"""Satellites' trails are left out of the patterns of the background (METHOD.md 9.6)."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.measuring.ccd_statistics import StatisticArrays
from gpuanom.records import Array, Background, CcdStack, Doubles, Patterns, Profiles, Unfit
from gpuanom.records.patterns import STEP
from gpuanom.settings import Settings
from gpuanom.statistics import lines

_SUMS_AND_COUNTS = (("map_sum", "map_count"), ("crosstalk_sum", "crosstalk_count"))
"""Sums of the residual, and the numbers of pixels behind each of them. Jitter and steps of profiles do not depend on
the level of the background."""


def without_streaks(
    arrays: StatisticArrays, stack: CcdStack, background: Background, settings: Settings, backend: Backend
) -> StatisticArrays:
    """Find the straight lines of a stack, and measure the patterns of CCDs with a trail again without its pixels.

    Parameters
    ----------
    arrays : StatisticArrays
        From `gpuanom.measuring.ccd_statistics.statistic_arrays`, on the host.
    stack, background : CcdStack, Background
        On the device.
    settings : Settings
    backend : Backend

    Returns
    -------
    StatisticArrays
        With the lines. On a CCD whose own line is strong enough to be a trail, the pixels that the trail may cover are
        masked in the map, the profiles and the spectra; trails that are accepted only because of one on another CCD
        are faint, and stay.
    """
    _, ny, nx = stack.shape
    found = lines.find(arrays.line_ends, int(ny), int(nx))
    crossed = np.flatnonzero(lines.streaks(found))
    if not crossed.size:
        return replace(arrays, lines=found)
    patterns, profiles = _arrays(arrays.patterns), _arrays(arrays.profiles)
    for i in crossed:
        n = int(patterns["map_count"][i].sum())
        level = round(int(patterns["map_sum"][i].sum()) / n) if n else 0
        masked = _masked(stack, int(i), found[i], backend)
        raised = _raised(background, int(i), level, backend)
        without_trail, sums, _ = backend.patterns(masked, raised, settings)
        without_trail, of_profiles = backend.to_host((without_trail, backend.profiles(sums)))
        for name, values in _arrays(without_trail).items():
            patterns[name][i] = values[0]
        for name, values in _arrays(of_profiles).items():
            profiles[name][i] = values[0]
        for sums_of_cells, counts in _SUMS_AND_COUNTS:
            patterns[sums_of_cells][i] += level * patterns[counts][i]
    with_patterns = replace(arrays, patterns=replace(arrays.patterns, **patterns))
    return replace(with_patterns, profiles=replace(arrays.profiles, **profiles), lines=found)


def _arrays(record: Patterns | Profiles) -> dict[str, Array]:
    """Copies of a record's arrays by name: those of a stack cannot be written to."""
    return {name: np.array(value) for name, value in vars(record).items() if isinstance(value, np.ndarray)}


def _masked(stack: CcdStack, i: int, line: Doubles, backend: Backend) -> CcdStack:
    """A stack of the i-th CCD alone, without the pixels that a trail may cover."""
    _, ny, nx = stack.shape
    covered = lines.covered(line, ny, nx)[np.newaxis] * np.uint8(Unfit.BACKGROUND)
    one = slice(i, i + 1)
    with backend.working():
        bad = backend.to_device(covered)
        if stack.bad is not None:
            bad = bad | stack.bad[one]
        return CcdStack(stack.images[one], bad, stack.saturation[one])


def _raised(background: Background, i: int, level: int, backend: Backend) -> Background:
    """The background of the i-th CCD alone, raised by so many steps of 2^-12 sigma.

    Masked pixels count as the background in the spectra. Faint sources lift the mean of the residual, below which a
    masked band would be a dark stripe, unless the background is raised to that mean.
    """
    one = slice(i, i + 1)
    with backend.working():
        of_ccd = {f.name: getattr(background, f.name)[one].copy() for f in fields(Background)}
        # The unit of the steps as both backends round it.
        of_ccd["coefficients"][:, 0] += level * STEP * of_ccd["sigma"].astype(np.float32).astype(np.float64)
        return Background(**of_ccd)
