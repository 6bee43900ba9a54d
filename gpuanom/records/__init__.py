"""The frozen records that are passed between the steps, from files to tables.

The arrays of a record are on the host (NumPy) or on a device (CuPy): `Array` stands for either.
"""

from __future__ import annotations

from gpuanom.records.exposures import (
    NO_PIXELS,
    Ccd,
    CcdFailure,
    CcdOnDisk,
    CcdsTogether,
    DatasetKey,
    Exposure,
    ExposureKey,
    Load,
    Turn,
    Unfit,
    Version,
)
from gpuanom.records.kinds import (
    BACKGROUND,
    FLAT_BACKGROUND,
    ISOPHOTE,
    KINDS,
    SOURCE,
    Array,
    Doubles,
    Flags,
    FloatImage,
    Integers,
)
from gpuanom.records.measurements import CcdMeasurement, Dataset, Failure, Measurement, Reconstruction
from gpuanom.records.patterns import LineBins, Patterns, Profiles, ProfileSums
from gpuanom.records.statistics import (
    MAP_STEP,
    NO_CELL,
    CcdPatterns,
    CcdStatistics,
    Cells,
    DatasetStatistics,
    ExposureStatistics,
    Singles,
    StatisticNames,
)
from gpuanom.records.steps import Background, CcdStack, Gradients, OrientationHistograms, Repeats, Shapes, Sources

__all__ = [
    "BACKGROUND",
    "FLAT_BACKGROUND",
    "ISOPHOTE",
    "KINDS",
    "MAP_STEP",
    "NO_CELL",
    "NO_PIXELS",
    "SOURCE",
    "Array",
    "Background",
    "Ccd",
    "CcdFailure",
    "CcdMeasurement",
    "CcdOnDisk",
    "CcdPatterns",
    "CcdStack",
    "CcdStatistics",
    "CcdsTogether",
    "Cells",
    "Dataset",
    "DatasetKey",
    "DatasetStatistics",
    "Doubles",
    "Exposure",
    "ExposureKey",
    "ExposureStatistics",
    "Failure",
    "Flags",
    "FloatImage",
    "Gradients",
    "Integers",
    "LineBins",
    "Load",
    "Measurement",
    "OrientationHistograms",
    "Patterns",
    "ProfileSums",
    "Profiles",
    "Reconstruction",
    "Repeats",
    "Shapes",
    "Singles",
    "Sources",
    "StatisticNames",
    "Turn",
    "Unfit",
    "Version",
]
