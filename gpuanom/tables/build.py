"""The tables of a night: exposures and CCDs with their scores, as astropy Tables with units and descriptions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpuanom import display
from gpuanom.backends.protocol import Backend
from gpuanom.errors import printable
from gpuanom.paths import path_text
from gpuanom.records import Dataset, DatasetKey, Failure
from gpuanom.scoring.evidence import stored_null
from gpuanom.scoring.histograms.comparison import Comparison
from gpuanom.scoring.histograms.flat_reference import FlatReferences
from gpuanom.scoring.histograms.given_references import kept_references
from gpuanom.scoring.histograms.reference import References
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.settings import Settings
from gpuanom.side_by_side import side_by_side
from gpuanom.statistics.listed import NAMES
from gpuanom.store.recorded_settings import ScoringRecord
from gpuanom.store.store import Store
from gpuanom.tables import shown
from gpuanom.tables.as_table import printed_columns
from gpuanom.tables.classified import Classifier
from gpuanom.tables.columns import Column
from gpuanom.tables.dataset_columns import columns_of_failures
from gpuanom.tables.dataset_ranking import DatasetPart, DatasetRanking
from gpuanom.tables.exposure_order import largest_of_ccds, order_of_exposures
from gpuanom.tables.garbage_collection import without_garbage_collection
from gpuanom.tables.import_ahead import import_loops
from gpuanom.tables.joined_columns import joined_columns, rows_of_ccds
from gpuanom.tables.plain import PlainTable
from gpuanom.tables.table_columns import columns_of_tables
from gpuanom.version import __version__

if TYPE_CHECKING:
    from astropy.table import Table


MOST_DATASETS = 2
"""Datasets of a survey that are scored at a time: each needs 2 kB for each of its CCDs."""


class Ranked(NamedTuple):
    """The tables of a night, with the histograms and references that they were made from."""

    tables: Tables
    datasets: dict[DatasetKey, Dataset]
    """The histograms by camera and band."""
    references: dict[DatasetKey, Comparison]
    """What each dataset was compared with; a dataset that the saved reference does not hold is missing."""
    measured: dict[DatasetKey, Measured]
    """What the verdicts were made of; empty where the settings ask for none."""


class Tables(Sequence["Table"]):
    """The ranked tables of a night; docs/tables.md describes the columns.

    Parameters
    ----------
    exposures, ccds : PlainTable
        The columns that both tables are made of when they are first asked for: astropy takes longer to import than a
        night of a few exposures takes to rank.

    Attributes
    ----------
    plain : tuple of 2 PlainTable
        Both tables without astropy; their numbers are those of the astropy Tables.

    Raises
    ------
    TypeError
        When a table is no PlainTable.
    """

    def __init__(self, exposures: PlainTable, ccds: PlainTable) -> None:
        if not isinstance(exposures, PlainTable) or not isinstance(ccds, PlainTable):
            raise TypeError("Tables are made of two PlainTables (gpuanom.open_night and gpuanom.rank return Tables)")
        self.plain = (exposures, ccds)

    @cached_property
    def exposures(self) -> Table:
        """One row an exposure, most anomalous first: an astropy Table."""
        return self.plain[0].as_table()

    @cached_property
    def ccds(self) -> Table:
        """One row a CCD, in the order of their exposures: an astropy Table."""
        return self.plain[1].as_table()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, which: Any) -> Any:
        names = ("exposures", "ccds")[which]  # one table is made without the other
        return getattr(self, names) if isinstance(names, str) else tuple(getattr(self, name) for name in names)

    def __iter__(self) -> Iterator[Table]:
        yield from (self.exposures, self.ccds)

    def __repr__(self) -> str:
        return display.one_line("Tables", shown.facts(*self))

    def _repr_html_(self) -> str:
        names, rows = shown.first_columns(self.exposures), shown.first_rows(self.exposures)
        return display.html_table("Tables", shown.facts(*self), names, rows, len(self.exposures))


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
    return _ranked(store, settings, backend, references, keep=False).tables


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
    if store.n_exposures():
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
    return _ranked(store, settings, backend, references, keep=True)


def ranked_dataset(
    store: Store, settings: Settings, backend: Backend, key: DatasetKey, alerts_pending: Sequence[str] = ()
) -> Tables:
    """Score and rank one of the datasets in a store; its null is kept, where store and dataset are large enough.

    Parameters
    ----------
    store, settings, backend
        As for `build`.
    key : (str, str)
        Camera and band of the dataset.
    alerts_pending : sequence of str, optional
        Ids of exposures whose alerts are still to be given (`gpuanom.scoring.evidence.stored_null.StoredNull`).

    Returns
    -------
    Tables
        Those of `build`, without the other datasets.
    """
    return _ranked(store, settings, backend, None, keep=False, only=key, alerts_pending=alerts_pending).tables


@without_garbage_collection()
def _ranked(
    store: Store,
    settings: Settings,
    backend: Backend,
    references: References | None,
    *,
    keep: bool,
    only: DatasetKey | None = None,
    alerts_pending: Sequence[str] = (),
) -> Ranked:
    """Score and rank everything in a store; what the tables were made from is kept only where it is asked for.

    A survey is scored one dataset at a time: the histograms and statistics of all its CCDs are gigabytes.
    """
    model = store.model()
    with_statistics = settings.statistics and store.holds_statistics(NAMES)
    classifier = _classifier(store, model)
    columns = columns_of_tables(
        statistics=with_statistics,
        autoencoder=bool(model),
        verdict=settings.statistics,
        classifier=classifier is not None,
    )
    is_survey = store.n_exposures() >= stored_null.SURVEY
    # A GPU's scores stay on the thread that has the GPU.
    many = is_survey and not backend.takes_encoded and sqlite3.threadsafety == 3
    keeps_nulls = is_survey and not store.read_only and references is None
    of_exposures, of_ccds = columns
    how = DatasetRanking(
        store=store,
        settings=settings,
        backend=backend,
        references=references,
        classifier=classifier,
        with_statistics=with_statistics,
        exposure_columns=of_exposures,
        ccd_columns=of_ccds,
        keeps_nulls=keeps_nulls,
        many=many,
        keep=keep,
        alerts_pending=alerts_pending,
    )
    sizes = store.dataset_sizes() if only is None else {only: 0}
    parts = _parts(how, sizes)
    tables = _joined(
        list(parts.values()), store.failures() if only is None else [], columns, settings,
        _meta(settings, references, model, classifier),
    )  # fmt: skip
    if not store.read_only:
        store.record_scoring(_record(settings, references))
    return Ranked(
        tables,
        {key: part.dataset for key, part in parts.items() if part.dataset is not None},
        {key: part.compared for key, part in parts.items() if part.compared is not None},
        {key: part.measured for key, part in parts.items() if part.measured is not None},
    )


def _parts(how: DatasetRanking, sizes: Mapping[DatasetKey, int]) -> dict[DatasetKey, DatasetPart]:
    """The columns of each dataset, in the order of the datasets; those of a survey are made side by side."""
    order = sorted(sizes, key=sizes.__getitem__, reverse=True) if how.many else list(sizes)  # the largest first
    # One thread imports what all datasets need, while the other one reads the first of them.
    first = [import_loops] if how.many and len(sizes) > 1 else []
    steps: list[Callable[[], Any]] = [*first, *(partial(how.part, key) for key in order)]
    made = side_by_side(lambda step: step(), steps, many=how.many, most=MOST_DATASETS)[len(first) :]
    parts: dict[DatasetKey, DatasetPart] = dict(zip(order, made, strict=True))
    return {key: parts[key] for key in sizes}


def _joined(
    parts: Sequence[DatasetPart],
    failures: Sequence[Failure],
    columns: tuple[tuple[Column, ...], tuple[Column, ...]],
    settings: Settings,
    meta: dict[str, Any],
) -> Tables:
    """The tables of all datasets and of what failed, in their order."""
    of_exposures, of_ccds = columns
    n_failures = len(failures)
    exposures = [part.exposures for part in parts]
    exposures.append(printed_columns(columns_of_failures(failures), of_exposures, n_failures))
    evidence_of_ccds = [*(largest_of_ccds(part.ccds, part.n_ccds) for part in parts), np.full(n_failures, np.nan)]
    ranks = order_of_exposures(exposures, settings, np.concatenate(evidence_of_ccds))
    n_ccds = np.concatenate([*(part.n_ccds for part in parts), np.zeros(n_failures, dtype=np.int64)])
    order = rows_of_ccds(n_ccds, ranks)
    return Tables(
        PlainTable(joined_columns(exposures, ranks, of_exposures), of_exposures, meta),
        PlainTable(joined_columns([part.ccds for part in parts], order, of_ccds), of_ccds, meta),
    )


def _record(settings: Settings, references: References | None) -> ScoringRecord:
    """How a night is scored, for its store."""
    if references is None:
        return ScoringRecord(settings.scoring())
    return ScoringRecord(settings.scoring(), references.text, references.origin)


def _classifier(store: Store, model: str) -> Classifier | None:
    """The classifier that a night keeps, where the night holds results of the autoencoder that it learnt with."""
    text = store.classifier()
    kept = Classifier.from_text(text, str(store.path)) if text else None
    return kept if kept is not None and kept.model == model else None


def _meta(
    settings: Settings, references: References | None, model: str, classifier: Classifier | None
) -> dict[str, Any]:
    """The meta data of the tables: how they were made."""
    return {
        "gpuanom": __version__,
        "method": "arXiv:2310.15481",
        "settings": json.dumps(settings.measurement(), sort_keys=True),
        "score_settings": json.dumps(settings.effective_scoring(), sort_keys=True),
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
