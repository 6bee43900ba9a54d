"""The tables of a night: exposures and CCDs with their scores, as astropy Tables with units and descriptions."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column as TextColumn
from astropy.table import MaskedColumn, Table

from gpuanom import ranking, rows
from gpuanom.backend import Backend
from gpuanom.columns import CCD_COLUMNS, DIGITS, EXPOSURE_COLUMNS, Column, with_autoencoder
from gpuanom.ecsv import write_ecsv
from gpuanom.errors import OutputError, ReferenceFileError
from gpuanom.naming import natural_key
from gpuanom.records import KINDS
from gpuanom.reference import References
from gpuanom.rows import Columns, Row
from gpuanom.schema import believed
from gpuanom.settings import Settings
from gpuanom.store import Store
from gpuanom.version import __version__

FORMATS = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits", "parquet": "parquet"}
"""The formats tables can be written in, with astropy's names for them."""


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
        Most anomalous exposures first (METHOD.md 5b). With the columns of an autoencoder where the store holds any.
    """
    model = store.model()
    of_exposures, of_ccds = (with_autoencoder(c) if model else c for c in (EXPOSURE_COLUMNS, CCD_COLUMNS))
    exposures: list[Row] = []
    parts: list[Columns] = []
    first: dict[tuple[str, str], range] = {}
    n_ccds = 0
    for dataset in store.datasets(settings.bins):
        saved = None if references is None else references.get(dataset.camera, dataset.band)
        if references is not None and saved is None:
            scores = ranking.no_scores(dataset)
        else:
            scores = ranking.score_dataset(dataset, settings, backend, saved)
        with believed(store.path):
            size = (0, 0) if saved is None else saved.size
            its_rows, its_ccds = rows.of_dataset(
                store, dataset, scores, references is not None, saved is not None, size
            )
        exposures += its_rows
        parts.append(its_ccds)
        ends = (n_ccds + np.searchsorted(dataset.owner, np.arange(len(its_rows) + 1))).tolist()
        for i, row in enumerate(its_rows):
            first[row["camera"], row["exposure"]] = range(ends[i], ends[i + 1])
        n_ccds = ends[-1]
    exposures += [rows.of_failure(f) for f in store.failures()]
    deviations = np.array(
        [[row.get(f"{kind}_deviation", np.nan) for kind in KINDS] for row in exposures], dtype=np.float64
    ).reshape(len(exposures), len(KINDS))
    ids: list[tuple[Any, ...]] = [
        (natural_key(row["exposure"]), row["camera"], row["band"], row["file"]) for row in exposures
    ]
    ranked = [exposures[i] for i in ranking.table_order(deviations, ids)]
    order = [j for row in ranked for j in first.get((row["camera"], row["exposure"]), ())]
    meta = _meta(settings, references, model)
    return Tables(
        _table({c.name: [row.get(c.name) for row in ranked] for c in of_exposures}, of_exposures, meta),
        _table(_ordered(parts, order, of_ccds), of_ccds, meta),
    )


def _ordered(parts: Sequence[Columns], order: Sequence[int], wanted: Sequence[Column]) -> Columns:
    """The CCDs' columns of all datasets, in the order of the exposures' table."""
    columns: Columns = {}
    for column in wanted:
        values = [v for part in parts for v in part[column.name]]
        columns[column.name] = [values[j] for j in order]
    return columns


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
            if suffix == "ecsv":
                write_ecsv(table, partial)
            else:
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


def _meta(settings: Settings, references: References | None, model: str) -> dict[str, Any]:
    """What the tables say of how they were made."""
    return {
        "gpuanom": __version__,
        "method": "arXiv:2310.15481",
        "settings": json.dumps(settings.measurement(), sort_keys=True),
        "robust_rounds": settings.robust_rounds,
        "reference": "saved" if references is not None else "this night",
        **({"autoencoder": model} if model else {}),
    }


def _table(values: Columns, columns: Sequence[Column], meta: dict[str, Any]) -> Table:
    """Columns as a Table: missing numbers masked, numbers rounded to `DIGITS` significant digits."""
    table = Table(masked=False)
    for column in columns:
        about = {"name": column.name, "unit": column.unit or None, "description": column.description}
        if column.kind == "text":
            text = ["" if v is None else str(v) for v in values[column.name]]
            table.add_column(TextColumn(np.array(text, dtype=np.str_), **about))
        else:
            table.add_column(MaskedColumn(_numbers(values[column.name], column.kind), **about))
    table.meta = meta
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
