"""What a notebook shows of a table of exposures: the first rows, and the columns that are read first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpuanom.display import MOST_ROWS, counted
from gpuanom.records import KINDS

if TYPE_CHECKING:
    from astropy.table import Table

FIRST_READ = (
    *("exposure", "camera", "band", "n_ccd_used", "n_sources"),
    *(f"{kind}_deviation" for kind in KINDS),
    *("status", "note"),
)
"""The columns of the table of exposures that are shown."""


def first_rows(exposures: Table) -> list[list[object]]:
    """Return the first rows of a table of exposures, in the columns `FIRST_READ`."""
    columns = [exposures[name][:MOST_ROWS].tolist() for name in FIRST_READ]
    return [list(values) for values in zip(*columns, strict=True)]


def facts(exposures: Table, ccds: Table) -> list[str]:
    """Return what to say of a night in one line: how many exposures and CCDs, and the most anomalous exposure."""
    first = ""
    if len(exposures) and not all(np.ma.is_masked(exposures[f"{kind}_rank"][0]) for kind in KINDS):
        first = f"most anomalous: {exposures['exposure'][0]}"
    return [counted(len(exposures), "exposure"), counted(len(ccds), "CCD"), first]
