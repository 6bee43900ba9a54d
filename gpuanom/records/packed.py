"""Records as a few large arrays: how the CCDs of an exposure travel from one process to another.

Pickle needs some 10 us for each array, however small, and an exposure of 61 CCDs has more than 500. So the arrays of
all CCDs that have one shape travel as one array. Nothing is lost: `unpacked` gives back what `packed` was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

T = TypeVar("T")

Columns: TypeAlias = dict[str, Any]
"""By the name of a field its values, as a list or as the rows of one array."""


def packed(kind: type[T], records: Sequence[T]) -> Columns:
    """Turn records of one class into columns.

    Parameters
    ----------
    kind : type
        A dataclass.
    records : sequence of it
    """
    return {f.name: _column([getattr(record, f.name) for record in records]) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]


def unpacked(kind: type[T], columns: Columns) -> list[T]:
    """Turn columns into records.

    Parameters
    ----------
    kind : type
        The class of the records.
    columns : Columns
        What `packed` returned.

    Returns
    -------
    list of records
        Their arrays are views of the columns.
    """
    # To iterate over an array gives views of its rows.
    rows = zip(*(columns[f.name] for f in dataclasses.fields(kind)), strict=True)  # type: ignore[arg-type]
    return [kind(*row) for row in rows]


def _column(values: list[Any]) -> Any:
    kinds = {(v.shape, v.dtype.str) if type(v) is np.ndarray and v.ndim else None for v in values}
    return np.array(values) if len(kinds) == 1 and None not in kinds else values
