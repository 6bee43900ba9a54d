"""All statistics in one list each for CCDs and for exposures: the order of the values that the store keeps."""

from __future__ import annotations

from gpuanom.records import StatisticNames
from gpuanom.statistics.statistic import Statistic

VERSION = 1
"""Raised when a statistic of the same name is computed in another way: exposures are then measured again."""

CCD_STATISTICS: tuple[Statistic, ...] = ()
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()

NAMES = StatisticNames(VERSION, tuple(s.name for s in EXPOSURE_STATISTICS), tuple(s.name for s in CCD_STATISTICS))
