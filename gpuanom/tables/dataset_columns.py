"""The values of the columns of exposures and of CCDs, for one dataset at a time: a survey has a million CCDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.errors import printable
from gpuanom.records import (
    BACKGROUND,
    ISOPHOTE,
    KINDS,
    SOURCE,
    Dataset,
    DatasetStatistics,
    Doubles,
    Failure,
    Flags,
    Integers,
)
from gpuanom.records.texts import Texts
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.divergences import ranks_of
from gpuanom.scoring.histograms.ranking import Scores
from gpuanom.scoring.histograms.significance import deviation, direction
from gpuanom.scoring.judged.static_pattern import StaticPattern, with_static_patterns
from gpuanom.side_by_side import steps_side_by_side
from gpuanom.store.ccd_columns import AXES
from gpuanom.store.reconstructions import Reconstructed
from gpuanom.store.store import Store
from gpuanom.tables import statistic_columns
from gpuanom.tables.missing_ccds import missing_ccds

Columns = dict[str, Any]

SUMS = ("n_sources", "n_without_orientation", "n_isophote", "n_gradients")
"""Columns of CCDs whose sums are columns of exposures."""


def columns_of_dataset(
    store: Store,
    dataset: Dataset,
    scores: Sequence[Scores],
    statistics: DatasetStatistics | None,
    seed: int,
    patterns: Mapping[str, StaticPattern] | None = None,
    *,
    size: tuple[int, int] | None = None,
    no_reference: bool = False,
    many: bool = False,
) -> tuple[Columns, Columns]:
    """Make the columns of a dataset's exposures, and those of their CCDs, both in the dataset's order.

    Parameters
    ----------
    store : Store
    dataset : Dataset
    scores : sequence of 4 Scores
    statistics : DatasetStatistics or None
        None where the settings do not ask for statistics, or the store has none.
    seed : int
        The setting of this name, which decides the exposures behind static patterns.
    patterns : mapping of str to StaticPattern, optional
        Static patterns of each CCD that were made from other exposures; by default they are made from these.
    size : tuple of 2 ints, optional
        (ny, nx) of the CCDs behind the saved reference, (0, 0) where unknown; None without a saved reference.
    no_reference : bool, optional
        Whether saved references are used that do not hold this dataset.
    many : bool, optional
        Whether the store is read by several threads (`gpuanom.side_by_side`).

    Returns
    -------
    exposures : dict
        An array or a list for each column.
    ccds : dict
        An array for each column.
    """
    key = (dataset.camera, dataset.band)
    of_exposures, of_ccds, measured, reconstructed = steps_side_by_side(
        partial(store.exposures, *key),
        partial(store.ccds, *key),
        partial(_measured_columns, dataset, scores),
        partial(store.reconstructed, *key),
        many=many,
    )
    columns: Columns = dict(of_exposures)
    ccds = {**of_ccds, **measured}
    n, owner = len(dataset.exposures), dataset.owner
    columns |= _reconstructed_columns(dataset, reconstructed, ccds)
    if statistics is not None:
        columns |= _statistic_columns(store, statistics, ccds, dataset, seed, patterns)
    for name in SUMS:
        columns[name] = np.bincount(owner, ccds[name], minlength=n).astype(np.int64)
    used = ccds["status"] == "ok"
    columns["n_ccd_used"] = np.bincount(owner, used, minlength=n).astype(np.int64)
    columns |= _score_columns(scores)
    with_wcs = statistic_columns.first_of_each(ccds["cd1_1"], owner, n)
    axes = np.concatenate([np.stack([ccds[name] for name in AXES], axis=1), np.full((1, 4), np.nan)])[with_wcs]
    for kind in ("source", "isophote"):
        columns[f"{kind}_position_angle"] = position_angles(columns[f"{kind}_angle"], axes)
    worst = statistic_columns.largest_of_each(printed_values(ccds["background_z"]), owner, n)[1]
    columns["worst_ccd"] = np.append(ccds["name"], "")[worst]
    columns["file"] = [printable(files[0]) if files else "" for files in columns["files"]]
    reasons = _reasons(ccds["reason"], owner, ~used)
    missing = missing_ccds(ccds["name"], owner, n)
    statuses = _statuses(columns, scores, reasons, missing, comparable.notes(dataset, size), no_reference)
    columns["status"] = [status for status, _ in statuses]
    columns["note"] = [note for _, note in statuses]
    ccds["ccd"] = ccds["name"]
    return columns, ccds


def _score_columns(scores: Sequence[Scores]) -> Columns:
    """The columns of exposures that scores of orientations give."""
    columns: Columns = {}
    for kind, s in zip(KINDS, scores, strict=True):
        for name in ("kl", "floor", "z", "p", "rank", "deviation", "angle", "alignment"):
            columns[f"{kind}_{name}"] = getattr(s, name)
        for name in s.local._fields:
            columns[f"{kind}_local_{name}"] = getattr(s.local, name)
    return columns


def _reasons(reasons: Texts, owner: Integers, chosen: Flags) -> dict[int, list[str]]:
    """The reasons of the chosen CCDs of each exposure that has any, by index of the exposure."""
    found: dict[int, list[str]] = {}
    for i, reason in zip(owner[chosen].tolist(), reasons[chosen].tolist(), strict=True):
        found.setdefault(i, []).append(reason)
    return found


def columns_of_failures(failures: Sequence[Failure]) -> Columns:
    """Make the columns of files and exposures that failed, without scores."""
    columns: Columns = {name: [getattr(f, name) for f in failures] for name in ("exposure", "camera", "band", "status")}
    columns["file"] = [printable(failure.file) for failure in failures]
    columns["note"] = [failure.reason for failure in failures]
    columns["n_ccd"] = columns["n_ccd_used"] = np.zeros(len(failures), dtype=np.int64)
    return columns


def _measured_columns(dataset: Dataset, scores: Sequence[Scores]) -> Columns:
    """The columns of CCDs that follow from their histograms."""
    columns: Columns = {}
    for kind in (BACKGROUND, SOURCE):
        n = dataset.totals[:, kind]
        angle, alignment = direction(dataset.cosine[:, kind], dataset.sine[:, kind], n)
        columns[f"{KINDS[kind]}_angle"], columns[f"{KINDS[kind]}_alignment"] = angle, alignment
    columns["background_kl"], columns["background_z"] = scores[BACKGROUND].ccd_kl, scores[BACKGROUND].ccd_z
    return columns


def _reconstructed_columns(dataset: Dataset, reconstructed: Mapping[str, Reconstructed], ccds: Columns) -> Columns:
    """The columns of exposures that an autoencoder gives; its columns of CCDs are added to `ccds`.

    An exposure without results of the autoencoder has no values; an exposure without stamps has no error.
    """
    n, n_ccd = len(dataset.exposures), dataset.owner.size
    ccds.update(n_stamps=np.full(n_ccd, np.nan), autoencoder_mse=np.full(n_ccd, np.nan))
    n_stamps, mse = np.full(n, np.nan), np.full(n, np.nan)
    ends = np.searchsorted(dataset.owner, np.arange(n + 1))
    for i, exposure in enumerate(dataset.exposures):
        if (result := reconstructed.get(exposure)) is None:
            continue
        part = slice(ends[i], ends[i + 1])
        with np.errstate(invalid="ignore", divide="ignore"):
            ccds["autoencoder_mse"][part] = result.errors / result.n_stamps
        ccds["n_stamps"][part] = result.n_stamps
        n_stamps[i] = result.n_stamps.sum()
        if n_stamps[i]:
            mse[i] = result.errors.sum() / n_stamps[i]
    return {
        "n_stamps": n_stamps,
        "autoencoder_mse": mse,
        "autoencoder_rank": ranks_of(mse),
        "autoencoder_deviation": deviation(mse),
    }


def sky_over_sigma(ccds: Columns) -> Doubles:
    """Return the sky of each CCD over its sigma, (n_ccd,) float64, NaN where it was not measured.

    Parameters
    ----------
    ccds : dict
        The columns of a dataset's CCDs.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        # By printed digits: in their last bits the backends may differ.
        sky = printed_values(ccds["sky"]) / printed_values(ccds["sigma"])
    return np.where(np.isfinite(sky), sky, np.nan)


def _statistic_columns(
    store: Store,
    statistics: DatasetStatistics,
    ccds: Columns,
    dataset: Dataset,
    seed: int,
    patterns: Mapping[str, StaticPattern] | None,
) -> Columns:
    """The columns of exposures that statistics give; those of CCDs are added to `ccds`."""
    complete = with_static_patterns(
        statistics,
        sky_over_sigma(ccds),
        seed,
        partial(store.pattern_values, dataset.camera, dataset.band),
        partial(store.keep_pattern_values, dataset.camera),
        patterns,
    )
    sides = statistic_columns.pixel_side(np.stack([ccds[name] for name in AXES], axis=1))
    found = statistic_columns.shown(complete, sides)
    n = dataset.totals[:, ISOPHOTE]
    angle, alignment = direction(dataset.cosine[:, ISOPHOTE], dataset.sine[:, ISOPHOTE], n)
    ccds.update(found.ccds, isophote_angle=angle, isophote_alignment=alignment)
    return dict(found.exposures)


def position_angles(angle: Doubles, sky_axes: Doubles) -> Doubles:
    """Convert angles in the focal plane to position angles on the sky.

    Parameters
    ----------
    angle : ndarray, (n,) float64
        Degrees from the focal plane's x axis toward its y axis.
    sky_axes : ndarray, (n, 4) or (1, 4) float64
        CD1_1, CD1_2, CD2_1, CD2_2 of the focal-plane axes, NaN without a WCS. Those of the first CCD with a WCS are
        used for the whole exposure: the orientation of the axes changes little over a field.

    Returns
    -------
    ndarray, (n,) float64
        Degrees east of north in (-90, 90], NaN without a WCS.
    """
    dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    east = sky_axes[:, 0] * dx + sky_axes[:, 1] * dy
    north = sky_axes[:, 2] * dx + sky_axes[:, 3] * dy
    return np.asarray(90.0 - (90.0 - np.degrees(np.arctan2(east, north))) % 180.0)


def _within_noise(deviations: Doubles, z: Doubles) -> Flags:
    """Whether counting noise alone explains the score whose deviation ranks each exposure.

    Both are (n_kinds, n), and the result is (n,); of equal deviations the first one counts.
    """
    deviations, z = printed_values(deviations), printed_values(z)
    known = np.where(np.isnan(deviations), -np.inf, deviations)
    largest = np.argmax(known, axis=0)[None, :]
    with np.errstate(invalid="ignore"):
        return np.asarray((known.max(axis=0) > 2) & (np.take_along_axis(z, largest, axis=0)[0] < 1))


def _few(reasons: Sequence[str]) -> list[str]:
    """The first of many reasons, and how many more CCDs there are: 61 CCDs of an exposure may share one reason."""
    different = list(dict.fromkeys(reasons))
    more = len(reasons) - len(different[:3])
    return different[:3] + ([f"and {more} more CCDs (see the table of CCDs)"] if more else [])


def _statuses(
    columns: Columns,
    scores: Sequence[Scores],
    reasons: Mapping[int, Sequence[str]],
    missing: Mapping[int, str],
    of_size: Sequence[tuple[str, str]],
    no_reference: bool,
) -> list[tuple[str, str]]:
    """The status and the note of each exposure.

    By index of the exposure, `reasons` says why CCDs were not measured, and `missing` which CCDs there are none of.
    """
    spread = np.any([s.spread for s in scores], axis=0).tolist()
    within_noise = _within_noise(np.stack([s.deviation for s in scores]), np.stack([s.z for s in scores])).tolist()
    alone = not any((s.rank > 0).any() for s in scores)
    needed = ("camera", "band", "n_ccd_used", "n_sources", "background_rank", "source_rank", "remarks")
    return [
        _status(
            dict(zip(needed, values, strict=True)),
            _few(reasons.get(i, ())),
            missing.get(i, ""),
            of_size[i],
            spread=spread[i],
            within_noise=within_noise[i],
            no_reference=no_reference,
            alone=alone,
        )
        for i, values in enumerate(zip(*(list(columns[name]) for name in needed), strict=True))
    ]


def _status(
    row: Mapping[str, Any],
    reasons: Sequence[str],
    missing: str,
    of_size: tuple[str, str],
    *,
    spread: bool,
    within_noise: bool,
    no_reference: bool,
    alone: bool,
) -> tuple[str, str]:
    """The status of an exposure, the gravest that applies, and the note with everything that a user should know."""
    notes = list(reasons)
    word = "partial" if notes else "ok"
    if not row["n_ccd_used"]:
        word = "unusable"
        notes.append("no CCD could be measured")
    elif of_size[0]:
        word = of_size[0]
    elif no_reference:
        word = "no_reference"
        notes.append(f"the reference holds nothing of {row['camera']} {row['band']}".rstrip())
    elif alone:
        word = "alone"
        notes.append("alone in its dataset: nothing to compare with (score more exposures, or give --reference)")
    elif not row["background_rank"]:
        word = "no_gradients"
        notes.append("too few usable gradient points in the dataset: no background score")
    elif not row["source_rank"]:
        word = "no_sources"
        notes.append("too few exposures with sources: no source score" if row["n_sources"] else "no sources found")
    if word in ("ok", "partial") and within_noise:
        notes.append("its largest deviation is within counting noise (z below 1): too few counts to tell")
    if of_size[1] and row["n_ccd_used"]:
        notes.append(of_size[1])
    if missing:
        notes.append(missing)
    if spread:
        notes.append("a reference bin was empty: half a count was spread over the bins")
    return word, "; ".join([*notes, *row["remarks"]])
