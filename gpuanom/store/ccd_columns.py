"""The numbers of an exposure's CCDs as columns: what the tables of a survey, a million CCDs, are made from.

The table `ccds` has a row for each CCD, to be read by people and other programs; reading a million of its rows takes
14 s. So each exposure also keeps these numbers in one row of the table `ccd_columns`: `texts`, the names, statuses and
reasons of its CCDs as JSON, and `numbers`, (len(NUMBERS), n_ccd) little-endian float64. A row is valid as long as its
`version` is that of the exposure's measurement: a gpuanom that knows nothing of this table may have measured the
exposure again. What has no valid row is read from the table `ccds`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from gpuanom.natural_order import natural_key
from gpuanom.records import CcdMeasurement
from gpuanom.records.attributes import attributes
from gpuanom.records.texts import Texts
from gpuanom.store.schema import has_table

CCD_COLUMNS_TABLE = "ccd_columns"

AXES = ("cd1_1", "cd1_2", "cd2_1", "cd2_2")
NO_AXES = (None,) * len(AXES)
"""The values of a CCD whose header does not say how its axes lie on the sky."""
WHOLE = ("n_sources", "n_without_orientation", "n_isophote", "n_gradients")
"""The columns of whole numbers, the last ones of `NUMBERS`."""
NUMBERS = ("sky", "sigma", "masked_fraction", "saturated_fraction", *AXES, *WHOLE)

Columns: TypeAlias = dict[str, Any]


def columns_of(ccds: Sequence[CcdMeasurement]) -> tuple[str, bytes]:
    """Return `texts` and `numbers` of an exposure's CCDs.

    Parameters
    ----------
    ccds : sequence of CcdMeasurement
    """
    (sky_axes, *others) = attributes(ccds, "sky_axes", *NUMBERS[:4], *WHOLE)
    axes = list(zip(*[axes or NO_AXES for axes in sky_axes], strict=True)) or [()] * 4
    return _columns(attributes(ccds, "name", "status", "reason"), [*others[:4], *axes, *others[4:]])


def _columns(texts: Sequence[tuple[str, ...]], numbers: Sequence[tuple[Any, ...]]) -> tuple[str, bytes]:
    return json.dumps(texts), np.array(numbers, dtype="<f8").tobytes()


def keep_columns(db: sqlite3.Connection, camera: str, exposure: str, version: str, columns: tuple[str, bytes]) -> None:
    """Keep the numbers of an exposure's CCDs.

    Parameters
    ----------
    db : Connection
        The caller holds the transaction.
    camera, exposure, version : str
        The exposure, and the version of gpuanom that measured it.
    columns : tuple of (str, bytes)
        What `columns_of` returned.
    """
    db.execute(
        f"INSERT OR REPLACE INTO {CCD_COLUMNS_TABLE} VALUES (?, ?, ?, ?, ?)", (camera, exposure, version, *columns)
    )


def read_columns(db: sqlite3.Connection, camera: str, band: str) -> tuple[Columns, list[Made]]:
    """Read the CCDs of a dataset as columns, in natural order of their exposures, and by position.

    Parameters
    ----------
    db : Connection
    camera, band : str

    Returns
    -------
    columns : dict of str to ndarray, (n_ccd,)
        ``exposure``, ``camera``, ``name``, ``status`` and ``reason`` as text; `NUMBERS` as float64, NaN where there is
        none, those of `WHOLE` as int64.
    made : list of tuple
        What `keep_columns` keeps of exposures that had no columns yet.

    Raises
    ------
    ValueError
        When a row does not have the length that it should have.
    """
    counts = dict(db.execute("SELECT exposure, n_ccd FROM exposures WHERE camera = ? AND band = ?", (camera, band)))
    names = sorted(counts, key=natural_key)
    ends = np.cumsum([0, *(counts[name] for name in names)]).tolist()
    places = {name: i for i, name in enumerate(names)}
    every = np.empty((len(NUMBERS), ends[-1]))
    texts_of: dict[str, list[Texts]] = {}
    of_exposures: list[list[Texts]] = [[]] * len(names)

    def put_in_place(name: str, texts: str, blob: bytes) -> None:
        # Most exposures have the same CCDs with the same statuses: each different text is read once.
        if texts not in texts_of:
            texts_of[texts] = [np.array(column, dtype=np.str_) for column in json.loads(texts)]
        i, three, n_ccd = places.pop(name), texts_of[texts], counts[name]
        if len(blob) != 8 * len(NUMBERS) * n_ccd or any(column.shape != (n_ccd,) for column in three):
            raise ValueError("columns of another number of CCDs than were measured")
        every[:, ends[i] : ends[i + 1]] = np.frombuffer(blob, "<f8").reshape(len(NUMBERS), n_ccd)
        of_exposures[i] = three

    # Each exposure goes to its place at once: the numbers of a survey take long to be held twice.
    if has_table(db, CCD_COLUMNS_TABLE):
        query = (
            f"SELECT exposure, texts, numbers FROM {CCD_COLUMNS_TABLE} JOIN exposures USING (camera, exposure)"
            f" WHERE {CCD_COLUMNS_TABLE}.version = exposures.version AND camera = ? AND band = ?"
        )
        for row in db.execute(query, (camera, band)):
            put_in_place(*row)
    made = [_from_rows(db, camera, name) for name in names if name in places]
    for _, name, _, (texts, blob) in made:
        put_in_place(name, texts, blob)
    columns: Columns = {
        "exposure": np.repeat(np.array(names, dtype=np.str_), [counts[name] for name in names]),
        "camera": np.full(every.shape[1], camera),
    }
    for k, column in enumerate(("name", "status", "reason")):
        columns[column] = np.concatenate([three[k] for three in of_exposures] or [np.zeros(0, dtype=np.str_)])
    for column, values in zip(NUMBERS, every, strict=True):
        columns[column] = values.astype(np.int64) if column in WHOLE else values
    return columns, made


Made: TypeAlias = tuple[str, str, str, tuple[str, bytes]]
"""The arguments of `keep_columns` behind the first."""


def _from_rows(db: sqlite3.Connection, camera: str, exposure: str) -> Made:
    """The columns of an exposure that a gpuanom measured which did not keep them."""
    rows = db.execute(
        f"SELECT name, status, reason, {', '.join(NUMBERS)} FROM ccds WHERE camera = ? AND exposure = ?"
        " ORDER BY position",
        (camera, exposure),
    ).fetchall()
    where = "SELECT version FROM exposures WHERE camera = ? AND exposure = ?"
    (version,) = db.execute(where, (camera, exposure)).fetchone()
    columns = list(zip(*rows, strict=True)) or [()] * (3 + len(NUMBERS))
    return camera, exposure, version, _columns(columns[:3], columns[3:])
