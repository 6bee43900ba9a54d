"""The table of the sources of one CCD."""

from __future__ import annotations

import json

import numpy as np
from astropy.table import Table

from gpuanom.measuring.source_list import SourceList
from gpuanom.records import CcdMeasurement, Doubles
from gpuanom.settings import Settings
from gpuanom.tables.as_table import as_table
from gpuanom.tables.columns import SOURCE_COLUMNS
from gpuanom.version import __version__


def of_ccd(exposure: str, measured: CcdMeasurement, listed: SourceList, settings: Settings) -> Table:
    """Make the table of the sources of one CCD.

    Parameters
    ----------
    exposure : str
        Id of the exposure.
    measured : CcdMeasurement
        Status, sky and noise of the CCD.
    listed : SourceList
        The sources, which are left out where the CCD could not be measured.
    settings : Settings
        What the CCD was measured with.

    Returns
    -------
    Table
        One row a source, in (y, x) order, see `gpuanom.sources`.
    """
    meta = {
        "gpuanom": __version__,
        "method": "arXiv:2310.15481",
        "settings": json.dumps(settings.measurement(), sort_keys=True),
        "exposure": exposure,
        "ccd": measured.name,
        "status": measured.status,
        "reason": measured.reason,
        "sky": measured.sky,
        "sigma": measured.sigma,
    }
    found = listed.sources
    if measured.status != "ok" or found is None:
        return as_table({column.name: [] for column in SOURCE_COLUMNS}, SOURCE_COLUMNS, meta)
    values = {
        "x": found.x.tolist(),
        "y": found.y.tolist(),
        "value": found.value.tolist(),
        "snr": (found.value / measured.sigma).tolist(),
        "n_above": found.n_above.tolist(),
        "orientation": _degrees(listed.orientation),
        "isophote_orientation": _degrees(listed.isophote_orientation),
        "n_isophote": found.n_isophote.tolist(),
    }
    return as_table(values, SOURCE_COLUMNS, meta)


def _degrees(radians: Doubles) -> list[float]:
    return [float(value) for value in np.degrees(radians)]
