"""The tables of a night: exposures and CCDs with their scores, as astropy Tables with units and descriptions."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import MaskedColumn, Table

from gpuanom import ranking
from gpuanom.backend import Backend
from gpuanom.columns import CCD_COLUMNS, EXPOSURE_COLUMNS, Column
from gpuanom.errors import OutputError, ReferenceFileError, printable
from gpuanom.naming import natural_key
from gpuanom.ranking import Dataset, Scores
from gpuanom.records import BACKGROUND, KINDS, SOURCE
from gpuanom.reference import References
from gpuanom.settings import Settings
from gpuanom.significance import direction
from gpuanom.store import Store
from gpuanom.version import __version__

FORMATS = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits", "parquet": "parquet"}
"""The formats tables can be written in, with astropy's names for them."""

DIGITS = 7
"""Significant digits of the tables' numbers: what differs beyond them is rounding, and may differ between backends."""

Row = dict[str, Any]


class Tables(NamedTuple):
    """The ranked tables of a night; the columns are described in `gpuanom.columns`."""

    exposures: Table
    ccds: Table


def build(store: Store, settings: Settings, backend: Backend, references: References | None = None) -> Tables:
    """Score and rank everything in a store.

    Parameters
    ----------
    store : Store
    settings : Settings
    backend : Backend
    references : References, optional
        Saved references; without them each dataset is its own.

    Returns
    -------
    Tables
        Most anomalous exposures first (METHOD.md 5b).
    """
    exposure_rows: list[Row] = []
    ccd_rows: dict[tuple[str, str], list[Row]] = {}
    for dataset in store.datasets(settings.bins):
        saved = None if references is None else references.get(dataset.camera, dataset.band)
        if references is not None and saved is None:
            scores = ranking.no_scores(dataset)
        else:
            scores = ranking.score_dataset(dataset, settings, backend, saved)
        rows, their_ccds = _dataset_rows(store, dataset, scores, references is not None, saved is not None)
        exposure_rows += rows
        ccd_rows.update(their_ccds)
    exposure_rows += [_failure_row(f) for f in store.failures()]
    deviations = np.array(
        [[row.get(f"{kind}_deviation", np.nan) for kind in KINDS] for row in exposure_rows], dtype=np.float64
    ).reshape(len(exposure_rows), len(KINDS))
    ids: list[tuple[Any, ...]] = [
        (natural_key(row["exposure"]), row["camera"], row["band"], row["file"]) for row in exposure_rows
    ]
    order = ranking.table_order(deviations, ids)
    ranked = [exposure_rows[i] for i in order]
    ccds = [ccd for row in ranked for ccd in ccd_rows.get((row["camera"], row["exposure"]), [])]
    return Tables(
        _table(ranked, EXPOSURE_COLUMNS, settings, references), _table(ccds, CCD_COLUMNS, settings, references)
    )


def write(tables: Tables, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write both tables in each format, each file complete or not at all.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    written = []
    for table, name in zip(tables, ("exposures", "ccds"), strict=True):
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            _write_one(table, path, suffix)
            written.append(path)
    return written


def _write_one(table: Table, path: Path, suffix: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        if suffix == "fits":
            table = _for_fits(table)
        elif suffix == "csv":
            table = Table(table, copy=False)
            table.meta = {}
        try:
            table.write(partial, format=FORMATS[suffix], overwrite=True)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error} (what was measured is kept in the store; "
            "make room and repeat the command)"
        ) from None


def _for_fits(table: Table) -> Table:
    """A copy that FITS can hold: text in ASCII, and the settings not in 80-character cards."""
    table = table.copy()
    table.meta = {"CREATOR": f"gpuanom {__version__}"}
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            text = [str(v).encode("ascii", "replace").decode() for v in table[name]]
            table.replace_column(name, MaskedColumn(text, name=name, description=table[name].description))
    return table


def _dataset_rows(
    store: Store, dataset: Dataset, scores: Sequence[Scores], saved: bool, found: bool
) -> tuple[list[Row], dict[tuple[str, str], list[Row]]]:
    """The rows of a dataset's exposures and of their CCDs."""
    exposures = store.exposures(dataset.camera, dataset.band)
    ccds = store.ccds(dataset.camera, dataset.band)
    bounds = np.searchsorted(dataset.owner, np.arange(len(exposures) + 1))
    of_ccds = _ccd_columns(dataset, scores)
    rows, their_ccds = [], {}
    alone = not any((s.rank > 0).any() for s in scores)
    for i, exposure in enumerate(exposures):
        span = range(int(bounds[i]), int(bounds[i + 1]))
        mine = [{**ccds[j], **{name: values[j] for name, values in of_ccds.items()}} for j in span]
        for ccd in mine:
            ccd["ccd"] = ccd["name"]
        their_ccds[exposure["camera"], exposure["exposure"]] = mine
        row: Row = dict(exposure)
        files = json.loads(exposure["files"])
        row["file"] = printable(files[0]) if files else ""
        for name in ("n_sources", "n_without_orientation", "n_isophote", "n_gradients"):
            row[name] = sum(ccd[name] for ccd in mine)
        row["n_ccd_used"] = sum(ccd["status"] == "ok" for ccd in mine)
        for kind, s in zip(KINDS, scores, strict=True):
            for name in ("kl", "floor", "z", "p", "rank", "deviation", "angle", "alignment"):
                row[f"{kind}_{name}"] = getattr(s, name)[i]
        row["source_position_angle"] = position_angle(row["source_angle"], mine)
        row["isophote_position_angle"] = position_angle(row["isophote_angle"], mine)
        known = [ccd for ccd in mine if not np.isnan(ccd["background_z"])]
        row["worst_ccd"] = max(known, key=lambda c: c["background_z"])["name"] if known else ""
        row["status"], row["note"] = _status(row, mine, any(bool(s.spread[i]) for s in scores), saved, found, alone)
        rows.append(row)
    return rows, their_ccds


def _ccd_columns(dataset: Dataset, scores: Sequence[Scores]) -> dict[str, Any]:
    """The columns of all CCDs of a dataset that follow from their histograms."""
    columns: dict[str, Any] = {}
    for kind in (BACKGROUND, SOURCE):
        n = dataset.counts[:, kind].sum(axis=1)
        angle, alignment = direction(dataset.cosine[:, kind], dataset.sine[:, kind], n)
        columns[f"{KINDS[kind]}_angle"], columns[f"{KINDS[kind]}_alignment"] = angle, alignment
    columns["background_kl"], columns["background_z"] = scores[BACKGROUND].ccd_kl, scores[BACKGROUND].ccd_z
    return columns


def position_angle(angle: float, ccds: Sequence[Row]) -> float:
    """An angle of the focal plane as a position angle on the sky.

    Parameters
    ----------
    angle : float
        Degrees from the focal plane's x axis toward its y axis.
    ccds : sequence of mappings
        The exposure's CCDs with their cd1_1 ... cd2_2; the first one with a WCS counts for all, for the orientation
        of the axes changes little over a field.

    Returns
    -------
    float
        Degrees east of north in (-90, 90], NaN without a WCS.
    """
    for ccd in ccds:
        if ccd["cd1_1"] is None or np.isnan(angle):
            continue
        dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        east, north = ccd["cd1_1"] * dx + ccd["cd1_2"] * dy, ccd["cd2_1"] * dx + ccd["cd2_2"] * dy
        degrees = float(np.degrees(np.arctan2(east, north)))
        return 90.0 - (90.0 - degrees) % 180.0
    return float("nan")


def _status(row: Row, ccds: Sequence[Row], spread: bool, saved: bool, found: bool, alone: bool) -> tuple[str, str]:
    """One word on an exposure, the gravest that holds, and all that should be known in words."""
    notes = [ccd["reason"] for ccd in ccds if ccd["status"] != "ok"]
    words = []
    if not row["n_ccd_used"]:
        words.append("unusable")
        notes.append("no CCD could be measured")
    elif saved and not found:
        words.append("no_reference")
        notes.append(f"the reference holds nothing of {row['camera']} {row['band']}".rstrip())
    elif alone:
        words.append("alone")
        notes.append("alone in its dataset: nothing to compare with (score more exposures, or give --reference)")
    elif not row["background_rank"]:
        words.append("no_gradients")
        notes.append("too few usable gradient points in the dataset: no background score")
    elif not row["source_rank"]:
        words.append("no_sources")
        notes.append("too few exposures with sources: no source score" if row["n_sources"] else "no sources found")
    elif len(notes):
        words.append("partial")
    if spread:
        notes.append("a reference bin was empty: half a count was spread over the bins")
    return (words or ["ok"])[0], "; ".join([*notes, *json.loads(row["remarks"])])


def _failure_row(failure: Any) -> Row:
    """The row of something that failed: what is known of it, and no numbers."""
    return {
        "exposure": failure.exposure,
        "camera": failure.camera,
        "band": failure.band,
        "date_obs": "",
        "file": printable(failure.file),
        "worst_ccd": "",
        "status": failure.status,
        "note": failure.reason,
        "n_ccd": 0,
        "n_ccd_used": 0,
    }


def _table(rows: Sequence[Row], columns: Sequence[Column], settings: Settings, references: References | None) -> Table:
    """Rows as a Table: missing numbers masked, numbers rounded to `DIGITS` significant digits."""
    table = Table(masked=False)
    for column in columns:
        values = [row.get(column.name) for row in rows]
        if column.kind == "text":
            data: Any = np.array(["" if v is None else str(v) for v in values], dtype=np.str_)
        else:
            data = _numbers(values, column.kind)
        table.add_column(MaskedColumn(data, name=column.name, unit=column.unit or None, description=column.description))
        if column.kind == "text":
            table[column.name] = table[column.name].filled("")
    table.meta = {
        "gpuanom": __version__,
        "method": "arXiv:2310.15481",
        "settings": json.dumps(settings.measurement(), sort_keys=True),
        "robust_rounds": settings.robust_rounds,
        "reference": "saved" if references is not None else "this night",
    }
    return table


def _numbers(values: Sequence[Any], kind: str) -> Any:
    """A masked array of whole numbers (0 as a rank means none) or of rounded floats."""
    if kind == "float":
        rounded = [np.nan if v is None else float(f"{float(v):.{DIGITS}g}") for v in values]
        data = np.array(rounded, dtype=np.float64)
        return np.ma.masked_array(data, mask=np.isnan(data))
    missing = [v is None or (kind == "rank" and v == 0) for v in values]
    whole = np.array([0 if m else int(v) for v, m in zip(values, missing, strict=True)], dtype=np.int64)
    return np.ma.masked_array(whole, mask=missing)


def require_formats(formats: Sequence[str]) -> None:
    """Check that tables can be written in these formats, before anything is measured for them.

    Raises
    ------
    OutputError
        When a format is unknown, or what it needs is not installed.
    """
    for name in formats:
        if name not in FORMATS:
            raise OutputError(f"unknown format '{name}' (one of {', '.join(FORMATS)})")
    if "parquet" in formats and importlib.util.find_spec("pyarrow") is None:
        raise OutputError("the format parquet needs pyarrow (pip install 'gpuanom[parquet]')")


def require_reference(references: References, settings: Settings, origin: str) -> None:
    """Check that a saved reference fits these settings.

    Raises
    ------
    ReferenceFileError
        When a setting differs, named in the message.
    """
    references.require(settings.measurement(), origin)
    if not references.datasets:
        raise ReferenceFileError(f"{origin}: holds no dataset")
