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

from gpuanom import display, installing
from gpuanom.backends.protocol import Backend
from gpuanom.digits import printed_values
from gpuanom.errors import OutputError, printable
from gpuanom.files import whole_file
from gpuanom.naming import natural_key, path_text
from gpuanom.records import KINDS, Dataset, DatasetKey, DatasetStatistics
from gpuanom.scoring import ranking
from gpuanom.scoring.comparison import Comparison, compared_with
from gpuanom.scoring.flat import FlatReferences
from gpuanom.scoring.reference import References
from gpuanom.scoring.saved import kept_references, reference_of
from gpuanom.scoring.statistics_table import Measured
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES
from gpuanom.store.recorded_settings import ScoringRecord
from gpuanom.store.schema import believed
from gpuanom.store.store import Store
from gpuanom.tables import classified, rows, shown, verdicts
from gpuanom.tables.classified import Classifier
from gpuanom.tables.columns import (
    CCD_COLUMNS,
    CLASSIFIER_COLUMNS,
    EXPOSURE_COLUMNS,
    Column,
    with_autoencoder,
    with_more,
    with_verdict,
)
from gpuanom.tables.ecsv import write_ecsv
from gpuanom.tables.rows import Columns, Row
from gpuanom.tables.statistic_columns import CCD_STATISTIC_COLUMNS, EXPOSURE_STATISTIC_COLUMNS
from gpuanom.version import __version__

FORMATS = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits", "parquet": "parquet"}
"""The formats in which tables can be written, with astropy's names for them."""


class Ranked(NamedTuple):
    """The tables of a night, with the histograms and references that they were made from."""

    tables: Tables
    datasets: dict[DatasetKey, Dataset]
    """The histograms by camera and band."""
    references: dict[DatasetKey, Comparison]
    """What each dataset was compared with; a dataset that the saved reference does not hold is missing."""
    measured: dict[DatasetKey, Measured]
    """What the verdicts were made of; empty where the settings ask for none."""


class Tables(NamedTuple):
    """The ranked tables of a night; docs/tables.md describes the columns.

    Attributes
    ----------
    exposures : astropy.table.Table
        One row an exposure, most anomalous first.
    ccds : astropy.table.Table
        One row a CCD, in the order of their exposures.
    """

    exposures: Table
    ccds: Table

    def __repr__(self) -> str:
        return display.one_line("Tables", shown.facts(*self))

    def _repr_html_(self) -> str:
        rows = shown.first_rows(self.exposures)
        return display.html_table("Tables", shown.facts(*self), shown.FIRST_READ, rows, len(self.exposures))


def build(store: Store, settings: Settings, backend: Backend, references: References | None = None) -> Tables:
    """Score and rank everything in a store.

    Parameters
    ----------
    store : Store
        A store that may be written to keeps how it was scored; see `as_scored_last`.
    settings : Settings
    backend : Backend
    references : References, optional
        Saved references; without them each dataset is compared with itself.

    Returns
    -------
    Tables
        The most anomalous exposures first (METHOD.md 5b). With the columns of an autoencoder where the store holds its
        results.
    """
    return ranked(store, settings, backend, references).tables


def as_scored_last(store: Store) -> tuple[Settings, References | None]:
    """Return the settings and the saved references, if any, that a night was scored with last.

    Raises
    ------
    OutputError
        When the store was made by an older version, or its exposures were measured with several settings.
    ReferenceFileError
        When the reference that the store keeps is damaged.
    """
    record = store.scoring_record()
    settings = Settings().with_scoring(record.settings)
    if store.known():
        settings = settings.with_measurement(store.recorded_settings()[0])
    if not record.reference:
        return settings, None
    return settings, kept_references(record.reference, record.reference_file or f"the reference in {store.path}")


def ranked(store: Store, settings: Settings, backend: Backend, references: References | None = None) -> Ranked:
    """Score and rank everything in a store, and keep what each dataset was compared with.

    Parameters
    ----------
    store, settings, backend, references
        As for `build`.

    Returns
    -------
    Ranked
    """
    model = store.model()
    found: dict[DatasetKey, Dataset] = {}
    compared: dict[DatasetKey, Comparison] = {}
    measured: dict[DatasetKey, Measured] = {}
    datasets = store.datasets(settings.bins)
    statistics = _statistics(store, datasets, settings)
    classifier = _classifier(store, model)
    of_exposures, of_ccds = columns_of(bool(statistics), bool(model), settings.statistics, classifier is not None)
    exposures: list[Row] = []
    parts: list[Columns] = []
    first: dict[tuple[str, str], range] = {}
    n_ccds = 0
    for dataset in datasets:
        saved = reference_of(references, dataset)
        if references is not None and saved is None:
            scores = ranking.no_scores(dataset)
        else:
            kinds = compared[dataset.camera, dataset.band] = compared_with(dataset, settings, backend, saved)
            scores = ranking.scores_by(dataset, kinds, settings, backend)
        found[dataset.camera, dataset.band] = dataset
        with believed(store.path):
            size = (0, 0) if saved is None else saved.size
            of_dataset = statistics.get((dataset.camera, dataset.band))
            dataset_rows, dataset_ccds = rows.of_dataset(
                store, dataset, scores, references is not None, saved is not None, size, of_dataset, settings.seed
            )
            if classifier is not None:
                classified.add(dataset_rows, store.reconstructed(dataset.camera, dataset.band), classifier)
            if settings.statistics and dataset_rows:
                gathered = verdicts.measured(dataset, scores, dataset_rows, dataset_ccds)
                judged = verdicts.judged(dataset, gathered, settings, saved)
                measured[dataset.camera, dataset.band] = gathered
                verdicts.add_columns(dataset_rows, dataset_ccds, judged)
        exposures += dataset_rows
        parts.append(dataset_ccds)
        ends = (n_ccds + np.searchsorted(dataset.owner, np.arange(len(dataset_rows) + 1))).tolist()
        for i, row in enumerate(dataset_rows):
            first[row["camera"], row["exposure"]] = range(ends[i], ends[i + 1])
        n_ccds = ends[-1]
    exposures += [rows.of_failure(f) for f in store.failures()]
    deviations = np.array(
        [[row.get(f"{kind}_deviation", np.nan) for kind in KINDS] for row in exposures], dtype=np.float64
    ).reshape(len(exposures), len(KINDS))
    ids: list[tuple[Any, ...]] = [
        (natural_key(row["exposure"]), row["camera"], row["band"], row["file"]) for row in exposures
    ]
    ranks = verdicts.order_of(exposures, ids) if settings.statistics else ranking.table_order(deviations, ids)
    order_of_rows = [exposures[i] for i in ranks]
    order = [j for row in order_of_rows for j in first.get((row["camera"], row["exposure"]), ())]
    meta = _meta(settings, references, model, classifier)
    if not store.read_only:
        store.record_scoring(_record(settings, references))
    built = Tables(
        as_table({c.name: [row.get(c.name) for row in order_of_rows] for c in of_exposures}, of_exposures, meta),
        as_table(_ordered(parts, order, of_ccds), of_ccds, meta),
    )
    return Ranked(built, found, compared, measured)


def _statistics(store: Store, datasets: Sequence[Dataset], settings: Settings) -> dict[DatasetKey, DatasetStatistics]:
    """The statistics of all datasets; none where the settings do not ask for them, or the store has none."""
    if not settings.statistics:
        return {}
    found = {(d.camera, d.band): store.statistics(d.camera, d.band, NAMES) for d in datasets}
    return found if any(statistics.measured.any() for statistics in found.values()) else {}


def columns_of(
    statistics: bool, autoencoder: bool, verdict: bool = False, classifier: bool = False
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Return the columns of the tables of exposures and of CCDs.

    Parameters
    ----------
    statistics, autoencoder, verdict, classifier : bool
        Whether the tables have the columns of statistics, of an autoencoder, of verdicts, and of a classifier.

    Returns
    -------
    exposures, ccds : tuple of Column
    """
    of_exposures, of_ccds = EXPOSURE_COLUMNS, CCD_COLUMNS
    if verdict:
        of_exposures, of_ccds = with_verdict(of_exposures), with_verdict(of_ccds)
    if statistics:
        of_exposures = with_more(of_exposures, EXPOSURE_STATISTIC_COLUMNS)
        of_ccds = with_more(of_ccds, CCD_STATISTIC_COLUMNS)
    if autoencoder:
        of_exposures, of_ccds = with_autoencoder(of_exposures), with_autoencoder(of_ccds)
    return with_more(of_exposures, CLASSIFIER_COLUMNS) if classifier else of_exposures, of_ccds


def _record(settings: Settings, references: References | None) -> ScoringRecord:
    """How a night is scored, for its store."""
    if references is None:
        return ScoringRecord(settings.scoring())
    return ScoringRecord(settings.scoring(), references.text, references.origin)


def _ordered(parts: Sequence[Columns], order: Sequence[int], wanted: Sequence[Column]) -> Columns:
    """The CCDs' columns of all datasets, in the order of the exposures' table."""
    columns: Columns = {}
    for column in wanted:
        values = [v for part in parts for v in part[column.name]]
        columns[column.name] = [values[j] for j in order]
    return columns


def write(tables: Tables, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write both tables in each format, each file whole or not at all.

    Parameters
    ----------
    tables : Tables
    folder : Path
        Must exist.
    formats : sequence of str
        Of `FORMATS`.

    Returns
    -------
    list of Path
        The files, `exposures` before `ccds`.

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
    if suffix == "fits":
        table = _for_fits(table)
    elif suffix == "csv":
        table = Table(table, copy=False)
        table.meta = {}
    with whole_file(path, remedy="what was measured is kept in the store", fits=suffix == "fits") as partial:
        if suffix == "ecsv":
            write_ecsv(table, partial)
        else:
            table.write(partial, format=FORMATS[suffix], overwrite=True)


_FITS_KEYWORDS = {
    "SETTINGS": "settings",
    "SCORESET": "score_settings",
    "REFERENC": "reference",
    "REFFILE": "reference_file",
    "REFHASH": "reference_hash",
    "AUTOENC": "autoencoder",
    "CLASSIF": "classifier",
}
"""The FITS keywords of the tables' meta data, with the names that the meta data have elsewhere."""


def _for_fits(table: Table) -> Table:
    """A copy that FITS can hold: texts in ASCII, and meta data under keywords of 8 letters."""
    table = table.copy()
    # Astropy continues long texts over several cards.
    meta = {"CREATOR": f"gpuanom {__version__}"}
    for keyword, name in _FITS_KEYWORDS.items():
        if name in table.meta:
            meta[keyword] = str(table.meta[name]).encode("ascii", "replace").decode()
    table.meta = meta
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            text = [str(v).encode("ascii", "replace").decode() for v in table[name]]
            table.replace_column(name, MaskedColumn(text, name=name, description=table[name].description))
    return table


def _classifier(store: Store, model: str) -> Classifier | None:
    """The classifier that a night keeps, where the night holds results of the autoencoder that it learnt with."""
    text = store.classifier()
    kept = Classifier.from_text(text, str(store.path)) if text else None
    return kept if kept is not None and kept.model == model else None


def _meta(
    settings: Settings, references: References | None, model: str, classifier: Classifier | None = None
) -> dict[str, Any]:
    """The meta data of the tables: how they were made."""
    return {
        "gpuanom": __version__,
        "method": "arXiv:2310.15481",
        "settings": json.dumps(settings.measurement(), sort_keys=True),
        "score_settings": json.dumps(settings.told(), sort_keys=True),
        "robust_rounds": settings.robust_rounds,
        **_reference_meta(references),
        **({"autoencoder": model} if model else {}),
        **({"classifier": classifier.fingerprint} if classifier is not None else {}),
    }


def _reference_meta(references: References | None) -> dict[str, str]:
    """The meta data about the reference: the night itself, flat histograms, or a saved one by its name and hash."""
    if references is None or isinstance(references, FlatReferences):
        return {"reference": "this night" if references is None else "flat"}
    name = printable(path_text(Path(references.origin).name)) if references.origin else ""
    return {"reference": "saved", "reference_file": name, "reference_hash": references.fingerprint}


def as_table(values: Columns, columns: Sequence[Column], meta: dict[str, Any]) -> Table:
    """Make a Table of columns: missing numbers masked, numbers rounded to `DIGITS` significant digits.

    Parameters
    ----------
    values : mapping of str to list
        The values of each column, None or NaN where a number is missing.
    columns : sequence of Column
        Names, kinds, units and descriptions, in the order of the table.
    meta : dict
        What the table says of how it was made.
    """
    table = Table(masked=False)
    for column in columns:
        options = {"name": column.name, "unit": column.unit or None, "description": column.description}
        if column.kind == "text":
            text = ["" if v is None else str(v) for v in values[column.name]]
            table.add_column(TextColumn(np.array(text, dtype=np.str_), **options))
        else:
            table.add_column(MaskedColumn(_numbers(values[column.name], column.kind), **options))
    table.meta = meta
    return table


def _numbers(values: Sequence[Any], kind: str) -> Any:
    """A masked array of whole numbers (the rank 0 means none) or of rounded floats."""
    if kind == "float":
        data = printed_values([np.nan if v is None else float(v) for v in values])
        return np.ma.masked_array(data, mask=np.isnan(data))
    missing = [v is None or v != v or (kind == "rank" and v == 0) for v in values]
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
        raise OutputError(f"the format parquet needs pyarrow ({installing.install('parquet')})")
