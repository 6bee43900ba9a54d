"""The frozen records that are passed between the steps, from files to tables.

The arrays of a record are on the host (NumPy) or on a device (CuPy): `Array` stands for either.
"""

from __future__ import annotations

from gpuanom.records.exposures import Ccd, CcdFailure, CcdOnDisk, DatasetKey, Exposure, ExposureKey, Load, Turn, Unfit
from gpuanom.records.kinds import (
    BACKGROUND,
    FLAT_BACKGROUND,
    ISOPHOTE,
    KINDS,
    SOURCE,
    Array,
    Doubles,
    FloatImage,
    Integers,
)
from gpuanom.records.measurements import CcdMeasurement, Dataset, Failure, Measurement, Reconstruction
from gpuanom.records.patterns import Patterns
from gpuanom.records.steps import Background, CcdStack, Gradients, OrientationHistograms, Sources

__all__ = [
    "BACKGROUND",
    "FLAT_BACKGROUND",
    "ISOPHOTE",
    "KINDS",
    "SOURCE",
    "Array",
    "Background",
    "Ccd",
    "CcdFailure",
    "CcdMeasurement",
    "CcdOnDisk",
    "CcdStack",
    "Dataset",
    "DatasetKey",
    "Doubles",
    "Exposure",
    "ExposureKey",
    "Failure",
    "FloatImage",
    "Gradients",
    "Integers",
    "Load",
    "Measurement",
    "OrientationHistograms",
    "Patterns",
    "Reconstruction",
    "Sources",
    "Turn",
    "Unfit",
]
