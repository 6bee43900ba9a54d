"""A few exposures judged by the null that is kept of their dataset: their rows of the tables, without the others."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpuanom.backends.protocol import Backend
from gpuanom.errors import OutputError
from gpuanom.records import ExposureKey
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.histograms import ranking
from gpuanom.scoring.judged.ccd_places import located
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES
from gpuanom.store.few_exposures import few_exposures
from gpuanom.store.schema import explaining_damage
from gpuanom.store.store import Store
from gpuanom.tables import verdicts
from gpuanom.tables.as_table import printed_columns
from gpuanom.tables.dataset_columns import Columns, columns_of_dataset
from gpuanom.tables.table_columns import columns_of_tables


class JudgedAlone(NamedTuple):
    """A few exposures as they are judged by a null.

    Attributes
    ----------
    exposures : list of dict
        The rows of the table of exposures as plain values, None for what does not exist, in natural order of the ids.
    ccds : dict
        The columns of their CCDs, as arrays.
    """

    exposures: list[dict[str, Any]]
    ccds: Columns


def judged_alone(
    store: Store, keys: list[ExposureKey], known: StoredNull, settings: Settings, backend: Backend
) -> JudgedAlone:
    """Judge exposures of one dataset by a null that was kept.

    Parameters
    ----------
    store : Store
        The store that holds the exposures; of the others nothing is read.
    keys : list of (str, str)
        Camera and id of each exposure, all of the camera and band of the null.
    known : StoredNull
    settings : Settings
        Those of the null.
    backend : Backend

    Returns
    -------
    JudgedAlone

    Raises
    ------
    OutputError
        When the store does not hold all of the exposures, or is damaged.
    """
    with few_exposures(store, keys) as part, explaining_damage(store.path):
        dataset = part.dataset(known.camera, known.band, settings.bins)
        if len(dataset.exposures) != len(set(keys)):
            raise OutputError(f"{store.path}: does not hold all exposures that are to be judged")
        compared = known.comparison(dataset, part.fingerprints(known.camera, known.band))
        scores = known.placed(ranking.scores_by(dataset, compared, settings, backend))
        with_statistics = settings.statistics and part.holds_statistics(NAMES)
        statistics = part.statistics(known.camera, known.band, NAMES) if with_statistics else None
        columns, _ = columns_of_tables(statistics=with_statistics, autoencoder=False, verdict=settings.statistics)
        found, ccds = columns_of_dataset(
            part, dataset, scores, statistics, settings.seed, known.patterns, size=known.size
        )
        if settings.statistics:
            gathered = located(verdicts.measured(dataset, scores, found, ccds), known.positions)
            verdicts.add_columns(found, ccds, verdicts.judged(dataset, gathered, settings, stored=known)[0])
        # An astropy Table takes ten times as long to make as all that is in it.
        printed = printed_columns(found, columns, len(dataset.exposures))
        listed = [values.tolist() for values in printed.values()]
        return JudgedAlone([dict(zip(printed, row, strict=True)) for row in zip(*listed, strict=True)], ccds)
