"""The exposures that a store holds, as they were found on disk; and a CCD as a row of it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from gpuanom.located import locator
from gpuanom.records import CcdMeasurement, Exposure
from gpuanom.schema import has_table


def held_exposures(db: sqlite3.Connection) -> dict[tuple[str, str], Exposure]:
    """Where each measured exposure's files are, by camera and id; without what is remarked on them.

    Files are where the store says, or where they lie beside a store that was moved (see `locator`).

    Parameters
    ----------
    db : Connection
        See `gpuanom.schema.open_database`.
    """
    rows = db.execute(
        "SELECT camera, exposure, band, date_obs, exptime, files, masks, fingerprint, rule FROM exposures"
    ).fetchall()
    located = locator(db)
    named = "SELECT camera, exposure, measured_as FROM named_by_file"
    by_file = {(c, e): as_ for c, e, as_ in db.execute(named)} if has_table(db, "named_by_file") else {}
    return {
        (camera, name): Exposure(
            exposure=name,
            camera=camera,
            band=band,
            date_obs=date_obs,
            exptime=float("nan") if exptime is None else float(exptime),
            files=tuple(Path(located(f)) for f in json.loads(files)),
            masks=tuple(None if m is None else Path(located(m)) for m in json.loads(masks)),
            fingerprint=fingerprint,
            rule=rule,
            file_named=(camera, name) in by_file,
            measured_as=by_file.get((camera, name), ""),
        )
        for camera, name, band, date_obs, exptime, files, masks, fingerprint, rule in rows
    }


def held_sources(db: sqlite3.Connection) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Names of the measured CCDs of each exposure and how many sources each has, by camera and id."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    rows = db.execute(
        "SELECT camera, exposure, name, n_sources FROM ccds WHERE status = 'ok' ORDER BY camera, exposure, position"
    )
    for camera, exposure, name, n_sources in rows:
        found.setdefault((camera, exposure), []).append((name, n_sources))
    return found


def ccd_row(c: CcdMeasurement) -> tuple[Any, ...]:
    """The columns of the table `ccds` from `name` on (see `gpuanom.schema`)."""
    axes = (None,) * 4 if c.sky_axes is None else tuple(float(v) for v in c.sky_axes)
    return (
        c.name,
        c.status,
        c.reason,
        *(float(v) for v in c.coefficients),
        c.sky,
        c.sigma,
        c.n_points,
        c.n_sigma_points,
        c.n_sources,
        c.n_without_orientation,
        c.n_isophote,
        c.n_gradients,
        c.masked_fraction,
        c.saturated_fraction,
        *axes,
    )
