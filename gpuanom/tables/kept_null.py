"""The null of a dataset, kept in the store when the dataset is ranked, and read again to judge a new exposure alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from gpuanom.records import KINDS, Dataset, DatasetStatistics, Integers
from gpuanom.scoring.evidence import null_record, stored_null
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.comparison import Comparison, robust_outliers
from gpuanom.scoring.histograms.ranking import Scores
from gpuanom.scoring.judged import static_pattern
from gpuanom.scoring.judged.ccd_places import UsualCcds, usual_ccds
from gpuanom.scoring.judged.static_pattern import StaticPattern
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.settings import Settings
from gpuanom.store.store import Store
from gpuanom.tables.dataset_columns import sky_over_sigma


class KeptNull(NamedTuple):
    """The null that a store keeps of a dataset.

    Attributes
    ----------
    null : StoredNull or None
        None where there is none that can be used.
    why : str
        Why not; empty where there is one.
    members : mapping of str to str, or None
        The exposures behind the null whose alerts were given, and a hash of the files of each, also where the null
        cannot be used; None where they are not known.
    """

    null: StoredNull | None
    why: str
    members: Mapping[str, str] | None


def read_null(store: Store, camera: str, band: str, settings: Settings) -> KeptNull:
    """Read the null that a store keeps of a dataset.

    Parameters
    ----------
    store : Store
    camera, band : str
    settings : Settings
        With which exposures are to be judged.

    Returns
    -------
    KeptNull
    """
    record, members = store.null(camera, band), None
    if record is None:
        return KeptNull(None, "none was kept", None)
    try:
        basis, members = null_record.basis_and_members(record[0])
        if why := stored_null.differing(basis, settings):
            return KeptNull(None, why, members)
        return KeptNull(null_record.from_record(*record), "", members)
    except null_record.DAMAGED:
        return KeptNull(None, "the one that was kept is damaged", members)


def keep_null(
    store: Store,
    dataset: Dataset,
    settings: Settings,
    *,
    compared: Comparison,
    scores: tuple[Scores, ...],
    measured: Measured | None,
    null: Null | None,
    statistics: DatasetStatistics | None,
    ccds: Mapping[str, Any],
    alerts_pending: Sequence[str] = (),
) -> None:
    """Keep what is normal for a dataset.

    Parameters
    ----------
    store : Store
        A store that may be written to.
    dataset : Dataset
        At least `stored_null.LEAST_EXPOSURES` exposures, compared with each other.
    settings : Settings
    compared : Comparison
    scores : tuple of 4 Scores
    measured, null : Measured and Null, or None
        What the verdicts were made of, and by; None without verdicts.
    statistics : DatasetStatistics or None
        None without statistics.
    ccds : mapping
        The columns of the dataset's CCDs.
    alerts_pending : sequence of str, optional
        See `StoredNull.alerts_pending`.
    """
    usual = compared.groups[0]
    members = (
        store.fingerprints(dataset.camera, dataset.band)
        if statistics is None
        else dict(zip(statistics.exposures, statistics.fingerprints, strict=True))
    )
    pattern, patterns = _patterns(store, statistics, ccds, settings)
    kept = StoredNull(
        camera=dataset.camera,
        band=dataset.band,
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
        basis=stored_null.basis_of(settings),
        members=members,
        size=comparable.usual_size(dataset),
        references=tuple(kind.reference for kind in usual.kinds),
        robust_outliers=robust_outliers(usual) if settings.robust_rounds else (frozenset(),) * len(KINDS),
        positions={} if measured is None else _positions(measured),
        usual_ccds=UsualCcds() if measured is None else usual_ccds(_behind(measured, usual.members)),
        pattern=pattern,
        patterns=patterns,
        null=null,
        alerts_pending=tuple(alerts_pending),
        **stored_null.usual_of(scores, usual.members),
    )
    store.keep_null(dataset.camera, dataset.band, *null_record.to_record(kept))


def _positions(measured: Measured) -> dict[str, tuple[float, float]]:
    """Where each CCD lies in the focal plane."""
    grid = measured.grid
    first = dict(zip(grid.names, np.unique(grid.name, return_index=True)[1].tolist(), strict=True))
    return {name: (float(measured.x[j]), float(measured.y[j])) for name, j in first.items()}


def _behind(measured: Measured, members: Integers) -> Measured:
    """What was measured of the exposures that the null is made from."""
    return measured if members.size == measured.n_exposures else measured.part(members)


def _patterns(
    store: Store, statistics: DatasetStatistics | None, ccds: Mapping[str, Any], settings: Settings
) -> tuple[str, Mapping[str, StaticPattern]]:
    """The fingerprint of the static patterns of a dataset, and these patterns, which take seconds to make."""
    chosen = [] if statistics is None else static_pattern.chosen_exposures(statistics, settings.seed)
    if statistics is None or not chosen:
        return "", {}
    pattern = static_pattern.pattern_fingerprint(statistics, chosen, settings.seed)
    if (record := store.null(statistics.camera, statistics.band)) is not None:
        try:
            before = null_record.from_record(*record)
        except null_record.DAMAGED:
            pass
        else:
            if before.pattern == pattern and before.basis.get("patterns") == static_pattern.VERSION:
                return pattern, before.patterns
    return pattern, static_pattern.static_patterns(statistics, sky_over_sigma(dict(ccds)), chosen)
