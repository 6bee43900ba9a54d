"""The exposures that a store holds, as they were found on disk, and the rows of an exposure and of a CCD."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuanom.attributes import attributes
from gpuanom.naming import natural_key
from gpuanom.records import CcdMeasurement, Exposure, Version
from gpuanom.settings import Settings
from gpuanom.store.ccd_columns import NO_AXES
from gpuanom.store.file_places import files_json, lists_of, locator, texts_of
from gpuanom.store.schema import has_table

if TYPE_CHECKING:
    from gpuanom.store.prepared_rows import PreparedRows


def measured_exposures(
    db: sqlite3.Connection, located: Callable[[str], str] | None = None
) -> dict[tuple[str, str], Exposure]:
    """Return the measured exposures by camera and id, without their remarks.

    Parameters
    ----------
    db : Connection
        See `gpuanom.store.schema.open_database`.
    located : callable, optional
        Tells where a file is now; by default as `locator` does without moves that a user tells of.
    """
    return {e.key: e for _, e in exposures_of(db, located or locator(db))}


def exposures_of(
    db: sqlite3.Connection, located: Callable[[str], str], *, aside: bool = False
) -> list[tuple[int, Exposure]]:
    """Return the measured exposures, each with the number of the copy (`gpuanom.store.set_aside`).

    Parameters
    ----------
    db : Connection
    located : callable
        Tells where a file is now.
    aside : bool, optional
        Return those that were set aside, not those that are ranked, whose number is 0.
    """
    prefix, copy = ("aside_", "copy") if aside else ("", "0")
    if not has_table(db, f"{prefix}exposures"):
        return []

    def kept(table: str, columns: str) -> dict[tuple[int, str, str], tuple[str, ...]]:
        if not has_table(db, prefix + table):
            return {}
        found = db.execute(f"SELECT {copy}, camera, exposure, {columns} FROM {prefix}{table}")
        return {(number, camera, name): tuple(values) for number, camera, name, *values in found}

    by_file, renamed = kept("named_by_file", "measured_as"), kept("renamed", "measured_as")
    versions = kept("versions", "version, label")
    exposures = []
    for number, camera, name, band, date_obs, exptime, files, masks, fingerprint, rule in db.execute(
        f"SELECT {copy}, camera, exposure, band, date_obs, exptime, files, masks, fingerprint, rule"
        f" FROM {prefix}exposures"
    ):
        key = (number, camera, name)
        version, label = versions.get(key, ("", ""))
        exposure = Exposure(
            exposure=name,
            camera=camera,
            band=band,
            date_obs=date_obs,
            exptime=float("nan") if exptime is None else float(exptime),
            files=tuple(Path(located(f)) for f in json.loads(files)),
            masks=tuple(None if m is None else Path(located(m)) for m in json.loads(masks)),
            fingerprint=fingerprint,
            rule=rule,
            file_named=key in by_file,
            measured_as=(by_file.get(key) or renamed.get(key) or ("",))[0],
            version=_version_of(version) if version else None,
            version_label=label,
        )
        exposures.append((number, exposure))
    return exposures


def settings_row(settings: Settings, version: str) -> tuple[str, str, str]:
    """Return the columns of the table `settings`: what measures with these settings and this version of gpuanom."""
    return settings.fingerprint(), json.dumps(settings.measurement(), sort_keys=True), version


def version_row(exposure: Exposure) -> tuple[str, str, str, str]:
    """Return the columns of the table `versions`."""
    return exposure.camera, exposure.exposure, json.dumps(exposure.version), exposure.version_label


def _version_of(text: str) -> Version | None:
    """Read a version from JSON."""
    found = json.loads(text)
    if found is None:
        return None
    numbers, letters, more, token = found
    return tuple(map(int, numbers)), str(letters), tuple(map(int, more)), str(token)


def exposure_columns(
    db: sqlite3.Connection, camera: str, band: str, located: Callable[[str], str]
) -> dict[str, list[Any]]:
    """Return the exposures of a dataset as columns, in natural order of id.

    Parameters
    ----------
    db : Connection
    camera, band : str
    located : callable
        Tells where a file is now, see `locator`.

    Returns
    -------
    dict of str to list
        ``exposure``, ``camera``, ``band``, ``date_obs``, ``exptime``, which is None where it is not known, and
        ``n_ccd``; ``files`` and ``remarks`` are tuples of texts.
    """
    names = ("exposure", "camera", "band", "date_obs", "exptime", "n_ccd", "files", "remarks")
    query = f"SELECT {', '.join(names)} FROM exposures WHERE camera = ? AND band = ?"
    rows = sorted(db.execute(query, (camera, band)).fetchall(), key=lambda row: natural_key(row[0]))
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {n: [] for n in names}
    columns["files"] = [tuple(map(located, files)) for files in lists_of(columns["files"])]
    remarks = {text: texts_of(text) for text in set(columns["remarks"])}  # most exposures have none
    columns["remarks"] = [remarks[text] for text in columns["remarks"]]
    return columns


def source_counts(db: sqlite3.Connection) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Return the names of the measured CCDs of each exposure and their numbers of sources, by camera and id."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    rows = db.execute(
        "SELECT camera, exposure, name, n_sources FROM ccds WHERE status = 'ok' ORDER BY camera, exposure, position"
    )
    for camera, exposure, name, n_sources in rows:
        found.setdefault((camera, exposure), []).append((name, n_sources))
    return found


def typical_size(ccds: Sequence[CcdMeasurement]) -> tuple[int, int]:
    """Return (ny, nx) of the measured CCD of median area; (0, 0) where no CCD could be measured."""
    sizes = [c.shape for c in ccds if c.shape != (0, 0)]
    if len(set(sizes)) > 1:
        sizes.sort(key=lambda s: (s[0] * s[1], s))
    return sizes[len(sizes) // 2] if sizes else (0, 0)


def remarks_on_ccds(ccds: Sequence[CcdMeasurement]) -> list[str]:
    """Return the remarks on the CCDs of an exposure; a remark that several CCDs share is given once."""
    of_ccds: dict[str, list[str]] = {}
    for c in ccds:
        if c.remark:
            of_ccds.setdefault(c.remark, []).append(c.name)
    lines = [
        f"CCD {names[0]}: {remark}" if len(names) == 1 else f"{len(names)} CCDs ({names[0]} ...): {remark}"
        for remark, names in of_ccds.items()
    ]
    if len(lines) > MOST_REMARKS:
        n_more = sum(len(names) for names in list(of_ccds.values())[MOST_REMARKS:])
        lines = [*lines[:MOST_REMARKS], f"and {n_more} more CCDs of whose sections or axes something is uncertain"]
    return lines


MOST_REMARKS = 2
"""At most so many different remarks on CCDs are given: each amplifier's header may give rise to one."""


def exposure_row(e: Exposure, rows: PreparedRows, settings: str, version: str) -> tuple[Any, ...]:
    """Return the columns of the table `exposures` (see `gpuanom.store.schema`).

    Parameters
    ----------
    e : Exposure
    rows : PreparedRows
        What was measured of its CCDs.
    settings : str
        Fingerprint of the settings that the exposure was measured with.
    version : str
        Version of gpuanom.
    """
    return (
        e.camera,
        e.exposure,
        e.band,
        e.date_obs,
        e.exptime,
        files_json(e.files),
        files_json(e.masks),
        e.rule,
        json.dumps([*e.remarks, *rows.remarks]),
        e.fingerprint,
        settings,
        version,
        *rows.size,
        len(rows.ccds),
        rows.histograms,
        rows.sums,
    )


def insert_ccds(db: sqlite3.Connection, e: Exposure, ccds: Sequence[tuple[Any, ...]]) -> None:
    """Keep the CCDs of an exposure, many by one statement: SQLite gives the interpreter's lock back for each statement.

    Parameters
    ----------
    db : Connection
        The caller holds the transaction.
    e : Exposure
    ccds : sequence of tuple
        What `ccd_rows` returned.
    """
    rows = [(e.camera, e.exposure, i, *ccd) for i, ccd in enumerate(ccds)]
    for first in range(0, len(rows), CCDS_OF_A_STATEMENT):
        chosen = rows[first : first + CCDS_OF_A_STATEMENT]
        values = f"({', '.join('?' * len(chosen[0]))})"
        db.execute(f"INSERT INTO ccds VALUES {', '.join([values] * len(chosen))}", list(chain.from_iterable(chosen)))


CCDS_OF_A_STATEMENT = 38
"""Every SQLite takes 999 values in a statement; a CCD has 26."""


def ccd_rows(ccds: Sequence[CcdMeasurement]) -> list[tuple[Any, ...]]:
    """Return the columns of the table `ccds` from `name` on, for each CCD (see `gpuanom.store.schema`)."""
    coefficients, sky_axes = attributes(ccds, "coefficients", "sky_axes")
    return list(
        zip(
            *attributes(ccds, "name", "status", "reason"),
            *np.array(coefficients, dtype=np.float64).reshape(-1, 6).T.tolist(),
            *as_floats(attributes(ccds, "sky", "sigma")),
            *attributes(ccds, "n_points", "n_sigma_points", "n_sources"),
            *attributes(ccds, "n_without_orientation", "n_isophote", "n_gradients"),
            *as_floats(attributes(ccds, "masked_fraction", "saturated_fraction")),
            *zip(*[NO_AXES if axes is None else map(float, axes) for axes in sky_axes], strict=True),
            strict=True,
        )
    )


def as_floats(columns: Sequence[tuple[Any, ...]]) -> list[tuple[float, ...]]:
    """Return columns of numbers as Python's floats."""
    return [tuple(map(float, column)) for column in columns]
