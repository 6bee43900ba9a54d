"""The statistics of patterns, shapes and repeated stars in a store: a row for each exposure (METHOD.md Part II).

Blobs, in the order of the exposure's CCDs: `exposure_values` (n little-endian float32), `ccd_values` (n_ccd x m
float32), `shapes` (n_ccd x 4 int32: rows and columns of the map, numbers of row steps and column steps), `maps` (int8)
and `steps` (float16: the row steps, then the column steps of each CCD). The large blobs come last, so that SQLite need
not read their pages when only the values are asked for. A row is valid as long as its files and settings are those of
the exposure's measurement; its column `names` says what its values are (`StatisticNames.text`).

The table `beyond_patterns` keeps what maps and steps show beyond the static patterns of a dataset (n_ccd x n float32),
with the fingerprint of the patterns, so that a night is ranked again without reading its maps.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.natural_order import natural_key
from gpuanom.records import (
    CcdPatterns,
    CcdStatistics,
    Cells,
    DatasetStatistics,
    Exposure,
    ExposureKey,
    Integers,
    Measurement,
    Singles,
    StatisticNames,
)
from gpuanom.records.attributes import attributes
from gpuanom.store.schema import explaining_damage, has_table

_AT_ONCE = 32
"""Exposures whose statistics are put in place together: they stay in the cache of a core."""

_NO_CELLS, _NO_MAP, _NO_STEPS = np.zeros(0, np.int8), np.zeros((0, 0), np.int8), np.zeros(0, np.float32)


class KeptStatistics:
    """The rows of the table `statistics`.

    Parameters
    ----------
    db : Connection
        See `gpuanom.store.schema.open_database`; the caller turns its errors into messages.
    path : Path or None
        The file of the store, for the messages of `DatasetStatistics.patterns`.
    """

    def __init__(self, db: sqlite3.Connection, path: Path | None) -> None:
        self._db, self._path = db, path
        self._has_table = has_table(db, "statistics")
        """Whether the table exists: an old store that is only read has none."""

    def names_by_exposure(self, key: ExposureKey | None = None) -> dict[ExposureKey, str]:
        """Return `StatisticNames.text` of the statistics of each exposure that has any, by camera and id.

        Parameters
        ----------
        key : (str, str), optional
            Camera and id of the one exposure that is asked for.
        """
        if not self._has_table:
            return {}
        one = " AND camera = ? AND exposure = ?" if key else ""
        rows = self._db.execute(f"SELECT camera, exposure, names {_VALID}{one}", key or ())
        return {(camera, exposure): names for camera, exposure, names in rows}

    def holds(self, names: StatisticNames) -> bool:
        """Whether any exposure has these statistics.

        Parameters
        ----------
        names : StatisticNames
        """
        query = f"SELECT 1 {_VALID} AND names = ? LIMIT 1"
        return self._has_table and self._db.execute(query, (names.text,)).fetchone() is not None

    def add(self, exposure: Exposure, settings: str, row: tuple[Any, ...]) -> None:
        """Keep the statistics of an exposure.

        Parameters
        ----------
        exposure : Exposure
        settings : str
            Fingerprint of the settings that the exposure was measured with.
        row : tuple
            What `statistics_row` returned.
        """
        self._db.execute(
            "INSERT OR REPLACE INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (exposure.camera, exposure.exposure, exposure.fingerprint, settings, *row),
        )

    def of_dataset(self, camera: str, band: str, names: StatisticNames, room: int = 0) -> DatasetStatistics:
        """Read the statistics of a dataset, its exposures in natural order of their ids.

        Parameters
        ----------
        camera, band : str
        names : StatisticNames
            The statistics that are wanted; an exposure with others counts as one without statistics.
        room : int, optional
            For so many more statistics of CCDs there is room behind those that were read.

        Raises
        ------
        ValueError
            When a row does not have the length that it should have.
        """
        found = self._db.execute(
            "SELECT exposure, n_ccd, fingerprint FROM exposures WHERE camera = ? AND band = ?", (camera, band)
        ).fetchall()
        found.sort(key=lambda row: natural_key(row[0]))
        counts = [n for _, n, _ in found]
        ends = np.cumsum([0, *counts]).tolist()
        n, m = len(names.exposures), len(names.ccds)
        measured = np.zeros(len(found), dtype=bool)
        of_exposures = np.full((len(found), n), np.nan, dtype=np.float32)
        # In memory each statistic is one stretch: a survey is judged statistic by statistic.
        with_room = np.empty((m + room, ends[-1]), dtype=np.float32)
        of_ccds = with_room[:m]
        ccd_ids: list[tuple[str, ...]] = [()] * len(found)
        ids_of: dict[str, tuple[str, ...]] = {}
        places = {name: i for i, (name, _, _) in enumerate(found)}
        query = f"SELECT exposure, ccds, exposure_values, ccd_values {_VALID} AND names = ?{_OF_DATASET}"
        rows = self._db.execute(query, (names.text, camera, band)) if self._has_table else ()
        # Exposures go to their places a few at a time: the statistics of a survey are too large to be held twice.
        first, blobs = 0, list[bytes]()

        def put_in_place() -> None:
            place = slice(ends[first], ends[first + len(blobs)])
            of_ccds[:, place] = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, m).T

        for name, ccds, exposure_values, ccd_values in rows:
            i = places[name]
            if ccds not in ids_of:  # most exposures have the same CCDs
                ids_of[ccds] = tuple(json.loads(ccds))
            ccd_ids[i], measured[i] = ids_of[ccds], True
            of_exposures[i] = np.frombuffer(exposure_values, "<f4").reshape(n)
            if len(ccd_values) != 4 * counts[i] * m or len(ccd_ids[i]) != counts[i]:
                raise ValueError("statistics of another number of CCDs than were measured")
            if i != first + len(blobs) or len(blobs) == _AT_ONCE:
                put_in_place()
                first, blobs = i, []
            blobs.append(ccd_values)
        put_in_place()
        for i in np.flatnonzero(~measured).tolist():
            ccd_ids[i] = tuple(self._names(camera, found[i][0]))
            of_ccds[:, ends[i] : ends[i + 1]] = np.nan
            if len(ccd_ids[i]) != counts[i]:
                raise ValueError("other CCDs than were measured")
        ids = tuple(name for name, _, _ in found)
        return DatasetStatistics(
            camera=camera,
            band=band,
            exposures=ids,
            owner=np.repeat(np.arange(len(found)), counts),
            ccds=tuple(itertools.chain.from_iterable(ccd_ids)),
            exposure_names=names.exposures,
            ccd_names=names.ccds,
            exposure_values=of_exposures,
            ccd_values=of_ccds.T,
            measured=measured,
            fingerprints=tuple(fingerprint for _, _, fingerprint in found),
            patterns=lambda i: self.patterns(camera, ids[i], names),
            with_room=with_room.T if room else None,
        )

    def pattern_values(self, camera: str, band: str, pattern: str) -> dict[str, Singles]:
        """Return what exposures show beyond a static pattern, as it was kept.

        Parameters
        ----------
        camera, band : str
        pattern : str
            Fingerprint of the pattern.

        Returns
        -------
        dict of str to ndarray, (n_ccd, n) float32
            By exposure; exposures for which other patterns were used are missing.
        """
        if not has_table(self._db, "beyond_patterns"):
            return {}
        rows = self._db.execute(
            "SELECT exposure, n_ccd, ccd_values FROM beyond_patterns JOIN exposures USING (camera, exposure)"
            " WHERE pattern = ? AND beyond_patterns.fingerprint = exposures.fingerprint AND n_ccd > 0"
            " AND camera = ? AND band = ?",
            (pattern, camera, band),
        )
        return {name: np.frombuffer(values, "<f4").reshape(n_ccd, -1) for name, n_ccd, values in rows}

    def keep_pattern_values(self, camera: str, pattern: str, values: Mapping[str, Singles]) -> None:
        """Keep what exposures show beyond a static pattern, in place of what was kept of them.

        Parameters
        ----------
        camera, pattern : str
        values : mapping of str to ndarray, (n_ccd, n) float32
            By exposure.
        """
        self._db.executemany(
            "INSERT OR REPLACE INTO beyond_patterns SELECT camera, exposure, fingerprint, ?, ? FROM exposures"
            " WHERE camera = ? AND exposure = ?",
            [(pattern, _blob(of_ccds), camera, name) for name, of_ccds in values.items()],
        )

    def _names(self, camera: str, exposure: str) -> list[str]:
        """The names of the CCDs of an exposure without statistics."""
        query = "SELECT name FROM ccds WHERE camera = ? AND exposure = ? ORDER BY position"
        return [name for (name,) in self._db.execute(query, (camera, exposure))]

    def patterns(self, camera: str, exposure: str, names: StatisticNames) -> list[CcdPatterns]:
        """The maps and steps of the CCDs of an exposure; none of an exposure without statistics."""
        with explaining_damage(self._path):
            return self._read_patterns(camera, exposure, names)

    def _read_patterns(self, camera: str, exposure: str, names: StatisticNames) -> list[CcdPatterns]:
        if not self._has_table:
            return []
        query = f"SELECT shapes, maps, steps {_VALID} AND names = ? AND camera = ? AND exposure = ?"
        row = self._db.execute(query, (names.text, camera, exposure)).fetchone()
        if row is None:
            return []
        shapes: Integers = np.frombuffer(row[0], "<i4").reshape(-1, 4).astype(np.int64)
        if shapes.size and shapes.min() < 0:
            raise ValueError("a map of less than no rows")
        cells: Cells = np.frombuffer(row[1], np.int8)
        steps: Singles = np.frombuffer(row[2], "<f2").astype(np.float32)
        sizes = shapes[:, 0] * shapes[:, 1]
        if cells.size != sizes.sum() or steps.size != shapes[:, 2:].sum():
            raise ValueError("maps or steps of another size than they should have")
        patterns, cell, step = [], 0, 0
        for ny, nx, n_rows, n_columns in shapes.tolist():
            between = step + n_rows
            patterns.append(
                CcdPatterns(
                    cells[cell : cell + ny * nx].reshape(ny, nx),
                    steps[step:between],
                    steps[between : between + n_columns],
                )
            )
            cell, step = cell + ny * nx, between + n_columns
        return patterns


def statistics_row(measurement: Measurement) -> tuple[Any, ...] | None:
    """Return the columns of the table `statistics` from `names` on; None for an exposure without statistics.

    Parameters
    ----------
    measurement : Measurement
    """
    if measurement.statistics is None:
        return None
    names, of_exposure = measurement.statistics.names, measurement.statistics.values
    if of_exposure.shape != (len(names.exposures),):
        raise ValueError(f"{of_exposure.size} statistics of an exposure where there should be {len(names.exposures)}")
    ids, kept = attributes(measurement.ccds, "name", "statistics")
    nothing = CcdStatistics(np.full(len(names.ccds), np.nan, np.float32), _NO_MAP, _NO_STEPS, _NO_STEPS)
    ccds = [of_ccd or nothing for of_ccd in kept]
    values, maps, row_steps, column_steps = attributes(ccds, "values", "map", "row_steps", "column_steps")
    sizes = attributes(ccds, "map.shape", "row_steps.size", "column_steps.size")
    shapes = np.column_stack([np.array(of_ccds, dtype="<i4") for of_ccds in sizes])
    steps = np.concatenate([_NO_STEPS, *itertools.chain.from_iterable(zip(row_steps, column_steps, strict=True))])
    return (
        names.text,
        json.dumps(ids),
        _blob(of_exposure),
        _blob(np.array(values, dtype=np.float32).reshape(len(ccds), len(names.ccds))),
        shapes.tobytes(),
        np.concatenate([_NO_CELLS, *[of_map.ravel() for of_map in maps]]).astype(np.int8, copy=False).tobytes(),
        _blob(_half(steps), "<f2"),
    )


_VALID = (
    "FROM statistics JOIN exposures USING (camera, exposure) WHERE statistics.fingerprint = exposures.fingerprint"
    " AND statistics.settings = exposures.settings"
)
_OF_DATASET = " AND camera = ? AND band = ?"


def _half(steps: Singles) -> Singles:
    """Steps within the range of float16: its 11 bits are finer than the noise of any step."""
    return np.clip(steps, -_MOST_STEP, _MOST_STEP)


_MOST_STEP = np.float32(np.finfo(np.float16).max)


def _blob(values: Singles, kind: str = "<f4") -> bytes:
    """The values as little-endian floats: NaN has one pattern of bits, and zero no sign."""
    plain = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0.0))
    return plain.astype(kind).tobytes()
