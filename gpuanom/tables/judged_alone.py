"""A few exposures judged by the null that is kept of their dataset: their rows of the tables, without the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gpuanom.backends.protocol import Backend
from gpuanom.errors import OutputError
from gpuanom.records import ExposureKey
from gpuanom.scoring.evidence import null_record, stored_null
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.histograms import ranking
from gpuanom.scoring.judged.ccd_places import located
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES
from gpuanom.store.part import part_of
from gpuanom.store.schema import believed
from gpuanom.store.store import Store
from gpuanom.tables import rows, verdicts
from gpuanom.tables.as_table import printed_columns
from gpuanom.tables.build import columns_of
from gpuanom.tables.rows import Columns


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


class Kept(NamedTuple):
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


def kept_null(store: Store, camera: str, band: str, settings: Settings) -> Kept:
    """Read the null that a store keeps of a dataset.

    Parameters
    ----------
    store : Store
    camera, band : str
    settings : Settings
        With which exposures are to be judged.

    Returns
    -------
    Kept
    """
    record, members = store.null(camera, band), None
    if record is None:
        return Kept(None, "none was kept", None)
    try:
        basis, members = null_record.basis_and_members(record[0])
        if why := stored_null.differing(basis, settings):
            return Kept(None, why, members)
        return Kept(null_record.from_record(*record), "", members)
    except null_record.DAMAGED:
        return Kept(None, "the one that was kept is damaged", members)


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
    with part_of(store, keys) as part, believed(store.path):
        dataset = part.dataset(known.camera, known.band, settings.bins)
        if len(dataset.exposures) != len(set(keys)):
            raise OutputError(f"{store.path}: does not hold all exposures that are to be judged")
        compared = known.comparison(dataset, part.fingerprints(known.camera, known.band))
        scores = known.placed(ranking.scores_by(dataset, compared, settings, backend))
        with_statistics = settings.statistics and part.holds_statistics(NAMES)
        statistics = part.statistics(known.camera, known.band, NAMES) if with_statistics else None
        columns, _ = columns_of(with_statistics, autoencoder=False, verdict=settings.statistics)
        found, ccds = rows.of_dataset(part, dataset, scores, statistics, settings.seed, known.patterns, size=known.size)
        if settings.statistics:
            gathered = located(verdicts.measured(dataset, scores, found, ccds), known.positions)
            verdicts.add_columns(found, ccds, verdicts.judged(dataset, gathered, settings, stored=known)[0])
        # An astropy Table takes ten times as long to make as all that is in it.
        printed = printed_columns(found, columns, len(dataset.exposures))
        listed = [values.tolist() for values in printed.values()]
        return JudgedAlone([dict(zip(printed, row, strict=True)) for row in zip(*listed, strict=True)], ccds)
