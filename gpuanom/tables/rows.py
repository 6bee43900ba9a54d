"""The rows of the table of exposures and the columns of the table of CCDs, for one dataset at a time.

CCDs are given as columns and not as rows: a survey has a million of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpuanom.digits import printed, printed_values
from gpuanom.errors import printable
from gpuanom.records import BACKGROUND, ISOPHOTE, KINDS, SOURCE, Dataset, DatasetStatistics, Doubles, Failure
from gpuanom.scoring import comparable
from gpuanom.scoring.divergences import ranks_of
from gpuanom.scoring.ranking import Scores
from gpuanom.scoring.significance import deviation, direction
from gpuanom.scoring.static_pattern import with_static_patterns
from gpuanom.store.reconstructions import Reconstructed
from gpuanom.store.store import Store
from gpuanom.tables import statistic_columns

Row = dict[str, Any]
Columns = dict[str, Any]

SUMS = ("n_sources", "n_without_orientation", "n_isophote", "n_gradients")
"""Columns of CCDs whose sums are columns of exposures."""


def of_dataset(
    store: Store,
    dataset: Dataset,
    scores: Sequence[Scores],
    saved: bool,
    found: bool,
    size: tuple[int, int] = (0, 0),
    statistics: DatasetStatistics | None = None,
    seed: int = 1,
) -> tuple[list[Row], Columns]:
    """Make the rows of a dataset's exposures, and the columns of their CCDs, both in the dataset's order.

    Parameters
    ----------
    store : Store
    dataset : Dataset
    scores : sequence of 4 Scores
    saved, found : bool
        Whether saved references are used, and whether they hold this dataset.
    size : tuple of 2 ints, optional
        (ny, nx) of the CCDs behind the saved reference; (0, 0) where unknown.
    statistics : DatasetStatistics, optional
        None where the settings do not ask for statistics, or the store has none.
    seed : int, optional
        The setting of this name, which decides the exposures behind static patterns.

    Returns
    -------
    exposures : list of dict
        A row for each exposure: values by column.
    ccds : dict
        A list or array for each column.
    """
    exposures = store.exposures(dataset.camera, dataset.band)
    ccds = {**store.ccds(dataset.camera, dataset.band), **_measured_columns(dataset, scores)}
    reconstructed = store.reconstructed(dataset.camera, dataset.band)
    errors = _reconstructed_columns(dataset, reconstructed, ccds)
    of_statistics = {} if statistics is None else _statistic_columns(store, statistics, ccds, dataset, seed)
    n = len(exposures)
    sums = {name: np.bincount(dataset.owner, ccds[name], minlength=n).astype(np.int64) for name in SUMS}
    used = np.array([status == "ok" for status in ccds["status"]], dtype=bool)
    n_used = np.bincount(dataset.owner, used, minlength=n).astype(np.int64)
    bounds = np.searchsorted(dataset.owner, np.arange(n + 1)).tolist()
    alone = not any((s.rank > 0).any() for s in scores)
    of_size = comparable.notes(dataset, size if saved else None)
    rows = []
    for i, exposure in enumerate(exposures):
        ccds_of_it = range(bounds[i], bounds[i + 1])
        row: Row = dict(exposure)
        files = json.loads(exposure["files"])
        row["file"] = printable(files[0]) if files else ""
        row["n_ccd_used"] = int(n_used[i])
        for name in SUMS:
            row[name] = int(sums[name][i])
        for kind, s in zip(KINDS, scores, strict=True):
            for name in ("kl", "floor", "z", "p", "rank", "deviation", "angle", "alignment"):
                row[f"{kind}_{name}"] = getattr(s, name)[i]
            for name in s.local._fields:
                row[f"{kind}_local_{name}"] = getattr(s.local, name)[i]
        axes = next((tuple(ccds[k][j] for k in _AXES) for j in ccds_of_it if ccds["cd1_1"][j] is not None), None)
        row["source_position_angle"] = position_angle(row["source_angle"], axes)
        row["isophote_position_angle"] = position_angle(row["isophote_angle"], axes)
        row.update((name, values[i]) for name, values in errors.items())
        row.update((name, values[i]) for name, values in of_statistics.items())
        z = ccds["background_z"][bounds[i] : bounds[i + 1]]
        row["worst_ccd"] = "" if np.isnan(z).all() else ccds["name"][bounds[i] + int(np.nanargmax(printed_values(z)))]
        reasons = _few([ccds["reason"][j] for j in ccds_of_it if not used[j]])
        spread = any(bool(s.spread[i]) for s in scores)
        row["status"], row["note"] = _status(row, reasons, spread, saved and not found, alone, of_size[i])
        rows.append(row)
    ccds["ccd"] = ccds["name"]
    return rows, ccds


_AXES = ("cd1_1", "cd1_2", "cd2_1", "cd2_2")


def of_failure(failure: Failure) -> Row:
    """Make the row of a file or exposure that failed, without scores."""
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


def _measured_columns(dataset: Dataset, scores: Sequence[Scores]) -> Columns:
    """The columns of CCDs that follow from their histograms."""
    columns: Columns = {}
    for kind in (BACKGROUND, SOURCE):
        n = dataset.counts[:, kind].sum(axis=1)
        angle, alignment = direction(dataset.cosine[:, kind], dataset.sine[:, kind], n)
        columns[f"{KINDS[kind]}_angle"], columns[f"{KINDS[kind]}_alignment"] = angle, alignment
    columns["background_kl"], columns["background_z"] = scores[BACKGROUND].ccd_kl, scores[BACKGROUND].ccd_z
    return columns


def _reconstructed_columns(dataset: Dataset, reconstructed: Mapping[str, Reconstructed], ccds: Columns) -> Columns:
    """The columns of exposures that an autoencoder gives; its columns of CCDs are added to `ccds`.

    An exposure without results of the autoencoder has no values; an exposure without stamps has no error.
    """
    n_ccd = np.bincount(dataset.owner, minlength=len(dataset.exposures)).tolist()
    of_ccds: dict[str, list[Any]] = {"n_stamps": [], "autoencoder_mse": []}
    n_stamps: list[int | None] = []
    mse = np.full(len(dataset.exposures), np.nan)
    for i, exposure in enumerate(dataset.exposures):
        result = reconstructed.get(exposure)
        if result is None:
            n_stamps.append(None)
            of_ccds["n_stamps"] += [None] * n_ccd[i]
            of_ccds["autoencoder_mse"] += [None] * n_ccd[i]
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            of_ccds["autoencoder_mse"] += (result.errors / result.n_stamps).tolist()
        of_ccds["n_stamps"] += result.n_stamps.tolist()
        n_stamps.append(int(result.n_stamps.sum()))
        if n_stamps[i]:
            mse[i] = result.errors.sum() / n_stamps[i]
    ccds.update(of_ccds)
    return {
        "n_stamps": n_stamps,
        "autoencoder_mse": mse,
        "autoencoder_rank": ranks_of(mse),
        "autoencoder_deviation": deviation(mse),
    }


def _statistic_columns(
    store: Store, statistics: DatasetStatistics, ccds: Columns, dataset: Dataset, seed: int
) -> Columns:
    """The columns of exposures that statistics give; those of CCDs are added to `ccds`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # By printed digits: in their last bits the backends may differ.
        sky = printed_values(_numbers(ccds["sky"])) / printed_values(_numbers(ccds["sigma"]))
    complete = with_static_patterns(
        statistics,
        np.where(np.isfinite(sky), sky, np.nan),
        seed,
        partial(store.pattern_values, dataset.camera, dataset.band),
        partial(store.keep_pattern_values, dataset.camera),
    )
    sides = statistic_columns.pixel_side(np.stack([_numbers(ccds[name]) for name in _AXES], axis=1))
    found = statistic_columns.shown(complete, sides)
    n = dataset.counts[:, ISOPHOTE].sum(axis=1)
    angle, alignment = direction(dataset.cosine[:, ISOPHOTE], dataset.sine[:, ISOPHOTE], n)
    ccds.update(found.ccds, isophote_angle=angle, isophote_alignment=alignment)
    return dict(found.exposures)


def _numbers(values: Sequence[Any]) -> Doubles:
    """Numbers of the store, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def position_angle(angle: float, sky_axes: Sequence[float] | None) -> float:
    """Convert an angle in the focal plane to a position angle on the sky.

    Parameters
    ----------
    angle : float
        Degrees from the focal plane's x axis toward its y axis.
    sky_axes : sequence of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 of the focal-plane axes. Those of the first CCD with a WCS are used for the whole
        exposure: the orientation of the axes changes little over a field.

    Returns
    -------
    float
        Degrees east of north in (-90, 90], NaN without a WCS.
    """
    if sky_axes is None or np.isnan(angle):
        return float("nan")
    dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    east, north = sky_axes[0] * dx + sky_axes[1] * dy, sky_axes[2] * dx + sky_axes[3] * dy
    degrees = float(np.degrees(np.arctan2(east, north)))
    return 90.0 - (90.0 - degrees) % 180.0


def _within_noise(row: Mapping[str, Any]) -> bool:
    """Whether counting noise alone explains the score whose deviation ranks an exposure."""
    deviations = {kind: printed(row[f"{kind}_deviation"]) for kind in KINDS if not np.isnan(row[f"{kind}_deviation"])}
    if not deviations:
        return False
    largest = max(deviations, key=lambda kind: deviations[kind])
    return bool(deviations[largest] > 2 and printed(row[f"{largest}_z"]) < 1)


def _few(reasons: Sequence[str], most: int = 3) -> list[str]:
    """The first of many reasons, and how many more CCDs there are: 61 CCDs of an exposure may share one reason."""
    different = list(dict.fromkeys(reasons))
    more = len(reasons) - min(most, len(different))
    return different[:most] + ([f"and {more} more CCDs (see the table of CCDs)"] if more else [])


def _status(
    row: Mapping[str, Any],
    reasons: Sequence[str],
    spread: bool,
    no_reference: bool,
    alone: bool,
    of_size: tuple[str, str],
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
    if word in ("ok", "partial") and _within_noise(row):
        notes.append("its largest deviation is within counting noise (z below 1): too few counts to tell")
    if of_size[1] and row["n_ccd_used"]:
        notes.append(of_size[1])
    if spread:
        notes.append("a reference bin was empty: half a count was spread over the bins")
    return word, "; ".join([*notes, *json.loads(row["remarks"])])
