"""Score whole nights of wide-field CCD exposures for anomalies, on CPU or GPU.

The Entropy Method of Alonso, Zhang & Li, arXiv:2310.15481, and beyond it. `measure` takes CCDs in memory, `rank`
compares what it measured, `score` does a night from FITS files to ranked tables.
"""

from __future__ import annotations

from gpuanom.api import measure, rank
from gpuanom.errors import (
    ClusterError,
    DeviceError,
    GpuanomError,
    InputError,
    OutputError,
    ReferenceFileError,
    SettingsError,
)
from gpuanom.nights.events import Events, Night
from gpuanom.nights.merge import make_references, merge_nights
from gpuanom.nights.score import score
from gpuanom.records import Ccd, CcdMeasurement, Measurement, Turn, Unfit
from gpuanom.scoring.reference import References
from gpuanom.settings import Settings
from gpuanom.tables.build import Tables
from gpuanom.version import __version__

__all__ = [
    "Ccd",
    "CcdMeasurement",
    "ClusterError",
    "DeviceError",
    "Events",
    "GpuanomError",
    "InputError",
    "Measurement",
    "Night",
    "OutputError",
    "ReferenceFileError",
    "References",
    "Settings",
    "SettingsError",
    "Tables",
    "Turn",
    "Unfit",
    "__version__",
    "make_references",
    "measure",
    "merge_nights",
    "rank",
    "score",
]
