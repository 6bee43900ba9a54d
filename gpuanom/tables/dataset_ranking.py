"""One dataset of a store, scored and judged: from its stored measurements to the columns of both tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.records import Dataset, DatasetKey, DatasetStatistics, Integers
from gpuanom.scoring.evidence import stored_null
from gpuanom.scoring.histograms import ranking
from gpuanom.scoring.histograms.comparison import Comparison, compared_with
from gpuanom.scoring.histograms.given_references import reference_of
from gpuanom.scoring.histograms.reference import DatasetReference, References
from gpuanom.scoring.judged import static_pattern
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.settings import Settings
from gpuanom.side_by_side import steps_side_by_side
from gpuanom.statistics.listed import NAMES
from gpuanom.store.schema import explaining_damage
from gpuanom.store.store import Store
from gpuanom.tables import classified, verdicts
from gpuanom.tables.as_table import plain_columns, printed_columns
from gpuanom.tables.classified import Classifier
from gpuanom.tables.columns import Column
from gpuanom.tables.dataset_columns import Columns, columns_of_dataset
from gpuanom.tables.kept_null import keep_null


class DatasetPart(NamedTuple):
    """The columns of one dataset, those of exposures printed; the CCDs of each exposure; what `Ranked` keeps."""

    exposures: Columns
    ccds: Columns
    n_ccds: Integers
    dataset: Dataset | None = None
    compared: Comparison | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class DatasetRanking:
    """How the datasets of a store are scored and judged, each by itself.

    Attributes
    ----------
    store : Store
    settings : Settings
    backend : Backend
    references : References or None
    classifier : Classifier or None
    with_statistics : bool
        Whether statistics are read: the settings ask for them, and the store has some.
    exposure_columns, ccd_columns : tuple of Column
    keeps_nulls : bool
        Whether the nulls of large datasets are kept in the store.
    many : bool
        Whether the steps of a dataset are worked on by several threads (`gpuanom.side_by_side`).
    keep : bool
        Whether a part keeps what it was made from.
    alerts_pending : sequence of str
        See `ranked_dataset`.
    """

    store: Store
    settings: Settings
    backend: Backend
    references: References | None
    classifier: Classifier | None
    with_statistics: bool
    exposure_columns: tuple[Column, ...]
    ccd_columns: tuple[Column, ...]
    keeps_nulls: bool
    many: bool
    keep: bool
    alerts_pending: Sequence[str]

    def part(self, key: DatasetKey) -> DatasetPart:
        """Return the columns of one dataset, by its camera and band."""
        store, settings = self.store, self.settings
        dataset = store.dataset(*key, settings.bins)
        saved = reference_of(self.references, dataset)
        (compared, scores), statistics = steps_side_by_side(
            partial(self._scores, dataset, saved), partial(self._statistics, key), many=self.many
        )
        measured, null = None, None
        with explaining_damage(store.path):
            size = None if self.references is None else (0, 0) if saved is None else saved.size
            exposures, ccds = columns_of_dataset(
                store, dataset, scores, statistics, settings.seed, size=size, many=self.many,
                no_reference=self.references is not None and saved is None,
            )  # fmt: skip
            if self.classifier is not None:
                classified.add(exposures, store.reconstructed(*key), self.classifier)
            if settings.statistics and dataset.exposures:
                measured = verdicts.measured(dataset, scores, exposures, ccds)
                judged, null = verdicts.judged(dataset, measured, settings, saved)
                verdicts.add_columns(exposures, ccds, judged)
            if self.keeps_nulls and compared is not None and len(dataset.exposures) >= stored_null.LEAST_EXPOSURES:
                keep_null(
                    store, dataset, settings, compared=compared, scores=scores, measured=measured, null=null,
                    statistics=statistics, ccds=ccds, alerts_pending=self.alerts_pending,
                )  # fmt: skip
        n = len(dataset.exposures)
        return DatasetPart(
            printed_columns(exposures, self.exposure_columns, n),
            plain_columns(ccds, self.ccd_columns, dataset.owner.size),
            np.bincount(dataset.owner, minlength=n),
            *((dataset, compared, measured) if self.keep else ()),
        )

    def _scores(
        self, dataset: Dataset, saved: DatasetReference | None
    ) -> tuple[Comparison | None, tuple[ranking.Scores, ...]]:
        """What a dataset is compared with, and its scores: none where the saved references lack the dataset."""
        if self.references is not None and saved is None:
            return None, ranking.no_scores(dataset)
        compared = compared_with(dataset, self.settings, self.backend, saved)
        return compared, ranking.scores_by(dataset, compared, self.settings, self.backend)

    def _statistics(self, key: DatasetKey) -> DatasetStatistics | None:
        if not self.with_statistics:
            return None
        return self.store.statistics(*key, NAMES, len(static_pattern.NAMES))
