"""All statistics in one list each for CCDs and for exposures: the order of the values that the store keeps."""

from __future__ import annotations

from gpuanom.records import StatisticNames
from gpuanom.statistics import background_map, crosstalk, lines, profiles, repeats, shapes, spectrum
from gpuanom.statistics.statistic import Statistic

VERSION = 5
"""Raised when a statistic of the same name is computed in another way: exposures are then measured again."""

CCD_MODULES = (spectrum, profiles, background_map, crosstalk, lines, shapes)
EXPOSURE_MODULES = (spectrum, crosstalk, shapes, repeats)
"""The modules of the wing in the order of their statistics."""

CCD_STATISTICS: tuple[Statistic, ...] = tuple(s for module in CCD_MODULES for s in module.CCD_STATISTICS)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = tuple(s for module in EXPOSURE_MODULES for s in module.EXPOSURE_STATISTICS)

NAMES = StatisticNames(VERSION, tuple(s.name for s in EXPOSURE_STATISTICS), tuple(s.name for s in CCD_STATISTICS))
