"""What a notebook shows of a table of exposures: the first rows, and the columns that are read first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpuanom.display import MOST_ROWS, counted
from gpuanom.records import KINDS
from gpuanom.scoring.verdict.levels import VERDICTS

if TYPE_CHECKING:
    from astropy.table import Table

FIRST_READ = (
    *("exposure", "camera", "band", "verdict", "cause", "evidence", "n_ccd_used", "n_sources"),
    *(f"{kind}_deviation" for kind in KINDS),
    *("status", "note"),
)
"""The columns of the table of exposures that are shown, as far as the table has them."""


def first_columns(exposures: Table) -> list[str]:
    """Return those of the columns `FIRST_READ` that a table of exposures has: ``paper`` gives no verdicts."""
    return [name for name in FIRST_READ if name in exposures.colnames]


def first_rows(exposures: Table) -> list[list[object]]:
    """Return the first rows of a table of exposures, in the columns `first_columns`."""
    columns = [exposures[name][:MOST_ROWS].tolist() for name in first_columns(exposures)]
    return [list(values) for values in zip(*columns, strict=True)]


def facts(exposures: Table, ccds: Table) -> list[str]:
    """Return what to say of a night in one line: exposures, verdicts, CCDs, and the most anomalous exposure."""
    first = ""
    if len(exposures) and not all(np.ma.is_masked(exposures[f"{kind}_rank"][0]) for kind in KINDS):
        first = f"most anomalous: {exposures['exposure'][0]}"
    verdicts = [str(verdict) for verdict in exposures["verdict"]] if "verdict" in exposures.colnames else []
    judged = any(verdict in VERDICTS for verdict in verdicts)
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS) if judged else ""
    n_without = [str(status) for status in exposures["status"]].count("no_reference")
    return [
        counted(len(exposures), "exposure") + (f" ({counts})" if counts else ""),
        counted(len(ccds), "CCD"),
        f"{n_without} without a reference" if n_without else "",
        first,
    ]
