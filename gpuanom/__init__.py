"""Score whole nights of wide-field CCD exposures for anomalies, on CPU or GPU.

The Entropy Method of Alonso, Zhang & Li, arXiv:2310.15481, and beyond it. `score` does a night from FITS files to
ranked tables, and `open_night` opens the result again. `measure` takes the CCDs of an exposure in memory, `rank`
compares measured exposures, and `sources` lists the sources of one CCD. `plots` draws on the axes of matplotlib.

Every public name is imported when it is asked for first, so that ``import gpuanom`` itself takes no time.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from gpuanom.version import __version__

if TYPE_CHECKING:
    from gpuanom.api import measure, rank, sources
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
    from gpuanom.nights.forget import forget_nights
    from gpuanom.nights.merge import make_references, merge_nights
    from gpuanom.nights.score import score
    from gpuanom.records import KINDS, Ccd, CcdMeasurement, Exposure, Measurement, Turn, Unfit
    from gpuanom.review import plots
    from gpuanom.review.opened import ScoredNight, open_night
    from gpuanom.scoring.histograms.reference import References
    from gpuanom.settings import Settings
    from gpuanom.tables.build import Tables

_ERRORS = (
    *("ClusterError", "DeviceError", "GpuanomError", "InputError", "OutputError", "ReferenceFileError"),
    "SettingsError",
)
_RECORDS = ("KINDS", "Ccd", "CcdMeasurement", "Exposure", "Measurement", "Turn", "Unfit")

_HOMES: dict[str, str] = {
    **dict.fromkeys(("measure", "rank", "sources"), "gpuanom.api"),
    **dict.fromkeys(_ERRORS, "gpuanom.errors"),
    **dict.fromkeys(("Events", "Night"), "gpuanom.nights.events"),
    **dict.fromkeys(("make_references", "merge_nights"), "gpuanom.nights.merge"),
    "forget_nights": "gpuanom.nights.forget",
    "score": "gpuanom.nights.score",
    **dict.fromkeys(_RECORDS, "gpuanom.records"),
    "plots": "gpuanom.review",
    **dict.fromkeys(("ScoredNight", "open_night"), "gpuanom.review.opened"),
    "References": "gpuanom.scoring.histograms.reference",
    "Settings": "gpuanom.settings",
    "Tables": "gpuanom.tables.build",
}
"""The module that each public name is imported from, for `__getattr__`; type checkers read the imports above."""

__all__ = [
    "KINDS",
    "Ccd",
    "CcdMeasurement",
    "ClusterError",
    "DeviceError",
    "Events",
    "Exposure",
    "GpuanomError",
    "InputError",
    "Measurement",
    "Night",
    "OutputError",
    "ReferenceFileError",
    "References",
    "ScoredNight",
    "Settings",
    "SettingsError",
    "Tables",
    "Turn",
    "Unfit",
    "__version__",
    "forget_nights",
    "make_references",
    "measure",
    "merge_nights",
    "open_night",
    "plots",
    "rank",
    "score",
    "sources",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for first (PEP 562).

    The modules inside the package can be reached in the same way, as scripts may do already
    (``gpuanom.records.KINDS``); `dir` does not list them.
    """
    if name == "plots":
        found: Any = importlib.import_module("gpuanom.review.plots")
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    elif not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, and the attributes that every module has."""
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__"])
