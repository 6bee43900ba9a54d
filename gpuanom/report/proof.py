"""What made a verdict, drawn: the stored maps of the residual sky and the stored steps, less their static patterns.

The store keeps of each CCD a map of what is left of the sky, and the steps of its profiles (METHOD.md 9.3, 9.4). An
exposure that is not ok is shown with them, and with what was found in them: the brightest place of a glow, the cells of
the edges of a ring or ghost, the largest step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuanom.backends.pattern_layout import map_side, step_places
from gpuanom.records import DatasetKey, DatasetStatistics, Doubles, Flags, FloatImage, Turn
from gpuanom.report.ccds import outline_value
from gpuanom.report.pictures import Pictures, data_url, encoded_picture
from gpuanom.review.mosaic import mosaic
from gpuanom.review.opened import Row, Rows, RowsOfCcds, ScoredNight, key_of
from gpuanom.review.quicklook import turned_image
from gpuanom.scoring.judged.static_pattern import StaticPattern, chosen_exposures, static_patterns
from gpuanom.statistics import background_map, profiles
from gpuanom.statistics.listed import NAMES
from gpuanom.store.store import NAME, Store

MAP_BYTES = 25_000
"""Most bytes of the picture of an exposure's maps."""

LEAST_SPAN = 0.1
"""The colours of a map extend to at least so many sigma: white noise of a cell of 32 x 32 pixels has 0.03."""


@dataclass(frozen=True, eq=False)
class Residual:
    """What one CCD shows beyond its static pattern.

    Attributes
    ----------
    map : ndarray, (my, mx) float64
        Map of the residual sky in sigma, in the CCD's own axes; NaN where there is no value.
    row_steps, column_steps : ndarray, (n,) float64
        Steps of the profiles of rows and columns, in standard deviations of pixel noise.
    """

    map: Doubles
    row_steps: Doubles
    column_steps: Doubles


class Residuals:
    """Maps and steps of a night's exposures less their static patterns, read from the store a dataset at a time.

    Parameters
    ----------
    night : ScoredNight
    """

    def __init__(self, night: ScoredNight) -> None:
        self._night = night
        self._datasets: dict[DatasetKey, tuple[DatasetStatistics, dict[str, StaticPattern], Doubles]] = {}

    def of(self, row: Row, rows: RowsOfCcds) -> dict[str, Residual]:
        """Return what the CCDs of an exposure show beyond their static patterns.

        Parameters
        ----------
        row : mapping
            The row of the exposure.
        rows : mapping
            The rows of the CCDs of all exposures.

        Returns
        -------
        dict of str to Residual
            By name of the CCD. A CCD without a static pattern is shown as it is; one without a map is missing.
        """
        dataset = (row["camera"], row["band"])
        if dataset not in self._datasets:
            self._datasets[dataset] = self._static(dataset, rows)
        statistics, static, sky = self._datasets[dataset]
        if row["exposure"] not in statistics.exposures:
            return {}
        i = statistics.exposures.index(row["exposure"])
        first, last = np.searchsorted(statistics.owner, (i, i + 1)).tolist()
        with self._opened() as store:
            patterns = store.patterns(row["camera"], row["exposure"], NAMES)
        if len(patterns) != last - first:
            return {}  # none were measured, or the exposure was measured again since the night was opened
        found = {}
        for j, pattern in enumerate(patterns, start=first):
            if not pattern.map.size:
                continue
            cells = background_map.decoded(pattern.map).astype(np.float64)
            kept = [cells, pattern.row_steps.astype(np.float64), pattern.column_steps.astype(np.float64)]
            usual = static.get(statistics.ccds[j])
            if usual is not None and np.isfinite(sky[j]) and usual.shapes == (*cells.shape, kept[1].size, kept[2].size):
                unit = float(sky[j]) if usual.scales else 1.0
                usuals = (usual.map, usual.row_steps, usual.column_steps)
                kept = [values - unit * less for values, less in zip(kept, usuals, strict=True)]
            found[statistics.ccds[j]] = Residual(*kept)
        return found

    def _static(
        self, dataset: DatasetKey, rows: RowsOfCcds
    ) -> tuple[DatasetStatistics, dict[str, StaticPattern], Doubles]:
        with self._opened() as store:
            statistics = store.statistics(*dataset, NAMES)
            sky = np.full(statistics.owner.size, np.nan)
            for i, exposure in enumerate(statistics.exposures):
                of_ccds = {row["ccd"]: row for row in rows.get((dataset[0], exposure), ())}
                for j in range(*np.searchsorted(statistics.owner, (i, i + 1)).tolist()):
                    row = of_ccds.get(statistics.ccds[j], {})
                    if row.get("sky") is not None and row.get("sigma"):
                        sky[j] = row["sky"] / row["sigma"]
            chosen = chosen_exposures(statistics, self._night.settings.seed)
            return statistics, static_patterns(statistics, sky, chosen), sky

    def _opened(self) -> Store:
        """The store, opened for a moment: no other process can write to it while it is open."""
        return Store(self._night.folder / NAME, self._night.settings, read_only=True)


def proof(
    found: Mapping[str, Residual],
    shown: Pictures,
    row: Row,
    ccds: Rows,
    outline: str,
    usual: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Return the maps of an exposure as a picture, with what was found in them.

    Parameters
    ----------
    found : mapping of str to Residual
    shown : Pictures
        Tell the sizes of the CCDs and how they are turned.
    row : mapping
        The row of the exposure.
    ccds : sequence of mapping
        The rows of its CCDs.
    outline : str
        The number of the CCDs that shows the cause of the verdict.
    usual : sequence of str, optional
        The CCDs that exposures of the camera usually have.

    Returns
    -------
    dict or None
        Values for JSON; None without any map of a CCD whose place is known.
    """
    known = {name: residual for name, residual in found.items() if name in shown.frames}
    if not known:
        return None
    turns = {name: Turn(shown.frames[name][2]) for name in known}
    images = [(name, turned_image(residual.map.astype(np.float32), turns[name])) for name, residual in known.items()]
    names = [ccd["ccd"] for ccd in ccds]
    plane = mosaic(key_of(row)[0], images, names, usual)
    values = np.abs(plane.image[np.isfinite(plane.image)])
    span = max(LEAST_SPAN, float(np.percentile(values, 99.5))) if values.size else LEAST_SPAN
    worst = _worst(ccds, outline, known)
    of_cause = found_cells(known[worst].map, outline) if worst else np.zeros((0, 0), dtype=bool)
    marks: list[list[int]] = []
    if worst and of_cause.any():
        of_worst = [(worst, turned_image(of_cause.astype(np.float32), turns[worst]))]
        others = [(name, np.zeros_like(image)) for name, image in images if name != worst]
        marks = np.argwhere(mosaic(row["camera"], [*of_worst, *others], names, usual).image > 0.5)[:, ::-1].tolist()
    first = next(iter(known))
    return {
        "map": data_url(encoded_picture(coloured(plane.image, span)[::-1], [80, 60, 40], MAP_BYTES)),
        "size": [plane.image.shape[1], plane.image.shape[0]],
        "boxes": {name: list(box) for name, box in plane.boxes.items()},
        "span": float(f"{span:.2g}"),
        "side": map_side(*shown.frames[first][:2]),
        "ccd": worst,
        "marks": marks,
        "steps": _steps(known, worst, outline, shown) if worst else None,
    }


def _worst(ccds: Rows, outline: str, known: Mapping[str, Residual]) -> str:
    """The CCD with the largest number, of those with a map; empty without one."""
    values = [(value, ccd["ccd"]) for ccd in ccds if (value := outline_value(ccd, outline)) is not None]
    return max(((value, name) for value, name in values if name in known), default=(0.0, ""))[1]


def found_cells(cells: Doubles, outline: str) -> Flags:
    """Return the cells of a CCD's map in which a glow or an edge was found.

    Parameters
    ----------
    cells : ndarray, (my, mx) float64
        The map less the static one, in sigma.
    outline : str
        ``glow`` or ``edge``; none is found for another number.

    Returns
    -------
    ndarray, (my, mx) bool
    """
    if outline == "glow":
        smooth = background_map.smoothed(cells)
        return np.isfinite(smooth) & (smooth == np.nanmax(smooth)) if np.isfinite(smooth).any() else smooth > 0
    if outline == "edge":
        sharp = background_map.sharpness(cells)
        known = np.sort(sharp[np.isfinite(sharp)])
        return np.asarray(sharp >= known[-min(known.size, background_map.EDGE_CELLS)]) if known.size else sharp > 0
    return np.zeros(cells.shape, dtype=bool)


def _steps(known: Mapping[str, Residual], worst: str, outline: str, shown: Pictures) -> dict[str, Any] | None:
    """The steps of the worst CCD's profile in units of the exposure's typical step, and the place of the largest."""
    if outline not in ("row_step", "column_step"):
        return None
    of_ccds = {name: getattr(residual, f"{outline}s") for name, residual in known.items()}
    scale = profiles.step_scale(list(of_ccds.values()))
    values = of_ccds[worst]
    largest = profiles.largest_step(values.astype(np.float32), scale=scale)[1]
    places = step_places(shown.frames[worst][0 if outline == "row_step" else 1])
    if largest < 0 or places.size != values.size:
        return None
    heights = [None if not np.isfinite(v) else round(float(v) / scale, 2) for v in values]
    return {"axis": "row" if outline == "row_step" else "column", "places": places.tolist(), "heights": heights,
            "largest": largest}  # fmt: skip


_BLUE, _ORANGE = np.array([0.0, 114.0, 178.0]), np.array([193.0, 74.0, 0.0])


def coloured(values: FloatImage, span: float) -> np.typing.NDArray[np.uint8]:
    """Return values as colours: blue below zero, white at zero, orange above, grey where there is none.

    Parameters
    ----------
    values : ndarray, (ny, nx) float32
    span : float
        The magnitude at which the colours end.

    Returns
    -------
    ndarray, (ny, nx, 3) uint8
    """
    share = np.clip(np.nan_to_num(values, nan=0.0) / span, -1.0, 1.0)[..., None].astype(np.float64)
    mixed = 255.0 + np.abs(share) * (np.where(share < 0.0, _BLUE, _ORANGE) - 255.0)
    return np.where(np.isfinite(values)[..., None], mixed, 128.0).astype(np.uint8)
