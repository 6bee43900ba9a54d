"""The verdicts of a night's exposures and CCDs: from a dataset's columns to those that say bad, check or ok."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpuanom.digits import printed
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, KINDS, Dataset, Doubles, Flags, Integers
from gpuanom.records.texts import Texts
from gpuanom.scoring.evidence import exposure_times
from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.flat_reference import NO_VERDICT, FlatReference
from gpuanom.scoring.histograms.ranking import Scores
from gpuanom.scoring.histograms.reference import DatasetReference
from gpuanom.scoring.judged import ccd_places
from gpuanom.scoring.judged.judged_statistics import OF_CCDS, OF_EXPOSURES, SOURCES_PER_STAR, VECTOR_KINDS
from gpuanom.scoring.judged.statistics_table import WITH_ERRORS, Measured
from gpuanom.scoring.verdict.judge import Verdicts, judge, no_verdicts
from gpuanom.settings import Settings
from gpuanom.tables.dataset_columns import Columns

UNMEASURED = "no verdict: none of its CCDs could be measured"
"""Why an exposure without any measured CCD has no verdict."""


def measured(
    dataset: Dataset, scores: Sequence[Scores], columns: Mapping[str, Any], ccds: Mapping[str, Any]
) -> Measured:
    """Gather what a verdict is made of.

    Parameters
    ----------
    dataset : Dataset
    scores : sequence of 4 Scores
    columns : mapping
        The columns of the dataset's exposures, the statistics of METHOD.md Part II among them where they were measured.
    ccds : mapping
        The columns of the dataset's CCDs.

    Returns
    -------
    Measured
    """
    n = len(dataset.exposures)
    used = np.asarray(ccds["status"]) == "ok"
    wanted = {c for j in OF_CCDS for c in j.columns} | {"e1", "e2", "e1_error", "n_stars", "streak", "streak_angle"}
    wanted |= {f"{name}_error" for name in WITH_ERRORS}
    wanted |= {name for name in ccds if name.startswith(("stripe_period_", "stripe_angle_"))}
    of_ccds = {name: ccds[name] for name in sorted(wanted) if name in ccds}
    of_ccds = {name: v if v.dtype == np.float32 else _numbers(v) for name, v in of_ccds.items()}
    if not used.all():
        of_ccds = {name: np.where(used, values, np.nan) for name, values in of_ccds.items()}
    for k in (BACKGROUND, FLAT_BACKGROUND):
        if scores[k].ccd_kl.size == used.size:
            of_ccds[f"{KINDS[k]}_kl"] = scores[k].ccd_kl
    for kind in VECTOR_KINDS:
        k = KINDS.index(kind)
        counts = dataset.totals[:, k].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_ccds[f"{kind}_cos"] = np.where(counts > 0, dataset.cosine[:, k] / counts, np.nan)
            of_ccds[f"{kind}_sin"] = np.where(counts > 0, dataset.sine[:, k] / counts, np.nan)
            of_ccds[f"{kind}_variance"] = np.where(counts > 0, 0.5 / counts, np.nan)
    exposures = {name: _numbers(columns[name]) for name in sorted(_exposure_columns(columns))}
    nowhere = np.zeros(dataset.owner.size)
    names = np.asarray(ccds["name"], dtype=np.str_)
    found = Measured(n, exposures, dataset.owner, names, of_ccds, nowhere, nowhere)
    for name in ("sky", "sigma"):
        exposures[name] = found.grid.medians(of_ccds[name])
    if "e1" in exposures and "e2" in exposures:
        exposures["ellipticity_angle"] = np.degrees(0.5 * np.arctan2(exposures["e2"], exposures["e1"]))
    exposures[exposure_times.COLUMN] = _numbers(columns[exposure_times.COLUMN])
    usable = exposures["n_ccd_used"] > 0
    exposures["n_sources"] = np.where(usable, exposures["n_sources"], np.nan)
    if "n_stars" in columns:
        exposures[SOURCES_PER_STAR] = exposures["n_sources"] / (1.0 + _numbers(columns["n_stars"]))
    return ccd_places.located(found, ccd_places.positions(dataset.camera, found.grid.names))


def null_of(saved: DatasetReference | None, settings: Settings) -> Null | None:
    """Return what a saved reference says is normal, None where the reference does not say enough.

    Parameters
    ----------
    saved : DatasetReference or None
    settings : Settings
    """
    statistics = None if saved is None else saved.statistics
    if saved is None or statistics is None or statistics.n_exposures < settings.verdict_exposures:
        return None
    # Nights that were merged may lack different CCDs, and each night has put its own ones into a grid.
    placed = ccd_places.located(statistics, ccd_places.positions(saved.camera, statistics.grid.names))
    if not (is_measured := _is_measured(placed)).all():
        placed = placed.part(np.flatnonzero(is_measured))
    usual = ccd_places.usual_ccds(placed)
    placed = ccd_places.with_comparable_gradients(placed, saved.camera, usual, saved.size)
    null = fit(placed, settings)[0]
    return null if null.n_exposures >= settings.verdict_exposures else None


def _is_measured(found: Measured) -> Flags:
    """Of which exposures any CCD was measured, (n_exposures,) bool."""
    return np.asarray(found.exposures.get("n_ccd_used", np.ones(found.n_exposures)) > 0)


def judged(
    dataset: Dataset,
    found: Measured,
    settings: Settings,
    saved: DatasetReference | None = None,
    stored: StoredNull | None = None,
) -> tuple[Verdicts, Null | None]:
    """Judge the exposures of a dataset, those of one size of CCD at a time.

    Parameters
    ----------
    dataset : Dataset
    found : Measured
        See `measured`.
    settings : Settings
    saved : DatasetReference, optional
        A saved reference, whose exposures tell what is normal if there are enough of them; by default the exposures
        that are compared with each other do. Flat histograms give no verdict.
    stored : StoredNull, optional
        The null that a survey's store keeps of the dataset, by which a few exposures are judged without the others.

    Returns
    -------
    verdicts : Verdicts
    null : Null or None
        What is normal for exposures of the usual size of CCD; None without verdicts.
    """
    n = len(dataset.exposures)
    if isinstance(saved, FlatReference):
        return no_verdicts(n, found.owner.size, NO_VERDICT), None
    known = null_of(saved, settings) if stored is None else stored.null
    behind = None if saved is None or known is None else saved.statistics
    if behind is not None:
        found = ccd_places.located(found, ccd_places.positions(dataset.camera, behind.grid.names))
    size = (0, 0) if saved is None else saved.size
    if stored is not None:
        size = stored.size
    is_known = saved is not None or stored is not None
    split = comparable.like(dataset, size) if is_known else comparable.split(dataset.sizes, n)

    def judged_group(group: Measured) -> tuple[Verdicts, Null | None]:
        usual = ccd_places.usual_ccds(behind or group) if stored is None else stored.usual_ccds
        typical_size = size if is_known else comparable.usual_size(dataset)
        compared = ccd_places.with_comparable_gradients(group, dataset.camera, usual, typical_size)
        verdicts, null = judge(compared, settings, known)
        if null is None and saved is not None:
            _blame_reference(verdicts, saved, settings)
        return verdicts, null

    # What could not be measured tells nothing of what is normal, and must not count as one of the exposures that do.
    is_measured = _is_measured(found)
    if split.whole and is_measured.all():
        return judged_group(found)
    joined, null_of_usual_size = no_verdicts(n, found.owner.size), None
    for k, alike in enumerate(split.groups):
        members = alike[is_measured[alike]]
        if not members.size:
            continue
        verdicts, null = judged_group(found.part(members))
        null_of_usual_size = null if k == 0 else null_of_usual_size
        joined = _put(joined, verdicts, members, np.flatnonzero(np.isin(found.owner, members)))
    for i in split.apart:
        joined.reason[i] = "no verdict: its CCDs have another size than those of its dataset"
    for i in np.flatnonzero(~is_measured):
        joined.reason[i] = UNMEASURED
    return joined, null_of_usual_size


def _blame_reference(verdicts: Verdicts, saved: DatasetReference, settings: Settings) -> None:
    """Say that there are no verdicts because the saved reference keeps the statistics of too few exposures."""
    n = 0 if saved.statistics is None else int(_is_measured(saved.statistics).sum())
    kept = f"the statistics of {n} exposures" if n else "no statistics"
    reason = f"no verdict: the reference keeps {kept}, and a verdict needs those of {settings.verdict_exposures}"
    verdicts.reason[:] = [reason] * len(verdicts.reason)


def add_columns(columns: Columns, ccds: Columns, verdicts: Verdicts) -> None:
    """Add the columns of the verdicts to those of exposures and of CCDs.

    Parameters
    ----------
    columns, ccds : dict
    verdicts : Verdicts
    """
    score, deviation, z = list(verdicts.score), verdicts.deviation.copy(), np.full(len(verdicts.score), np.nan)
    for i, name in enumerate(score):
        if not name:
            score[i] = name = _most_deviating(columns, i)
            deviation[i] = columns[f"{name.removesuffix('_kl')}_deviation"][i] if name else math.nan
        if name.endswith("_kl") and f"{name.removesuffix('_kl')}_z" in columns:
            z[i] = columns[f"{name.removesuffix('_kl')}_z"][i]
    columns["verdict"], columns["evidence"] = verdicts.verdict, verdicts.evidence
    columns["cause"] = [cause or reason for cause, reason in zip(verdicts.cause, verdicts.reason, strict=True)]
    columns["score"], columns["deviation"], columns["z"] = score, deviation, z
    for i, note in enumerate(verdicts.note):
        if note and columns["n_ccd_used"][i]:
            columns["note"][i] = "; ".join(filter(None, (columns["note"][i], note)))
    ccds["verdict"], ccds["cause"] = verdicts.ccd_verdict, verdicts.ccd_cause
    ccds["evidence"] = verdicts.ccd_evidence


def _most_deviating(columns: Mapping[str, Any], i: int) -> str:
    """The score of the largest deviation of an exposure without a verdict, or else of the largest z; empty without."""
    for what in ("deviation", "z"):
        values = {kind: printed(float(columns[f"{kind}_{what}"][i])) for kind in KINDS}
        known = {kind: value for kind, value in values.items() if value == value}
        if known:
            return f"{max(known, key=lambda kind: known[kind])}_kl"
    return ""


def _exposure_columns(present: Collection[str]) -> set[str]:
    """The columns of exposures that a verdict, or its cause in words, needs."""
    wanted = {c for j in OF_EXPOSURES for c in (*j.columns, *j.errors)} | {
        "n_ccd_used",
        "repeat_separation",
        "repeat_angle",
    }
    wanted |= {f"{kind}_angle" for kind in KINDS}
    wanted |= {name for name in present if name.startswith(("stripe_period_", "stripe_angle_"))}
    return (wanted & set(present)) | {"n_sources", "n_ccd_used"}


def _numbers(values: Sequence[Any] | Doubles) -> Doubles:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _put(joined: Verdicts, found: Verdicts, members: Integers, rows: Integers) -> Verdicts:
    """Put the verdicts of a part where they belong."""
    for k, i in enumerate(members.tolist()):
        for name in ("verdict", "cause", "score", "reason", "note"):
            getattr(joined, name)[i] = getattr(found, name)[k]
        joined.evidence[i], joined.deviation[i] = found.evidence[k], found.deviation[k]
    joined.ccd_evidence[rows] = found.ccd_evidence

    def put(before: Texts, texts: Texts) -> Texts:
        result = before.astype(np.promote_types(before.dtype, texts.dtype))
        result[rows] = texts
        return result

    return replace(
        joined,
        ccd_verdict=put(joined.ccd_verdict, found.ccd_verdict),
        ccd_cause=put(joined.ccd_cause, found.ccd_cause),
    )
