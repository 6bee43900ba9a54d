"""Columns of values become tables: missing numbers masked, numbers rounded to the printed digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.records.texts import MANY, CodedTexts
from gpuanom.side_by_side import side_by_side
from gpuanom.tables.columns import Column
from gpuanom.tables.dataset_columns import Columns

if TYPE_CHECKING:
    from astropy.table import Table


def as_table(values: Columns, columns: Sequence[Column], meta: dict[str, Any]) -> Table:
    """Make a Table of columns: missing numbers masked, numbers rounded to `DIGITS` significant digits.

    Parameters
    ----------
    values : mapping of str to list
        The values of each column, None or NaN where a number is missing.
    columns : sequence of Column
        Names, kinds, units and descriptions, in the order of the table.
    meta : dict
        What the table says of how it was made.
    """
    from astropy.table import Column as TextColumn  # takes most of a second to import
    from astropy.table import MaskedColumn, Table

    table = Table(masked=False)
    for column in columns:
        options = {"name": column.name, "unit": column.unit or None, "description": column.description}
        column_type = TextColumn if column.kind == "text" else MaskedColumn
        printed = printed_column(values[column.name], column.kind)
        data = printed.array() if isinstance(printed, CodedTexts) else printed
        table.add_column(column_type(data, copy=False, **options), copy=False)
    table.meta = meta
    return table


def printed_columns(values: Columns, columns: Sequence[Column], n: int) -> Columns:
    """Return columns as tables hold them; a column that is not among the values is empty.

    Parameters
    ----------
    values : mapping of str to sequence
        See `printed_column`.
    columns : sequence of Column
        The columns that are wanted.
    n : int
        Number of rows.
    """
    nothing = _nothing(columns, n)
    return {c.name: printed_column(values.get(c.name, nothing[c.kind]), c.kind) for c in columns}


def plain_columns(values: Columns, columns: Sequence[Column], n: int) -> Columns:
    """Return columns as `printed_columns` does, of which numbers are not rounded yet and may be float32.

    Rounding a million numbers takes longer than putting them in order, and is done with that.

    Parameters
    ----------
    values, columns, n
        As for `printed_columns`.
    """
    nothing = _nothing(columns, n)

    def plain(column: Column) -> Any:
        found = values.get(column.name, nothing[column.kind])
        if column.kind == "text":
            return printed_column(found, "text")
        found = np.asarray(found)
        return found if found.base is None else found.copy()  # of a large array only this column is kept

    return dict(zip([c.name for c in columns], side_by_side(plain, columns, many=n >= MANY), strict=True))


def _nothing(columns: Sequence[Column], n: int) -> Columns:
    """A column without values for each kind that comes."""
    return {kind: [""] * n if kind == "text" else np.full(n, np.nan) for kind in {c.kind for c in columns}}


def printed_column(values: Any, kind: str) -> Any:
    """Return a column as tables hold it: texts, whole numbers or rounded numbers.

    Parameters
    ----------
    values : sequence or ndarray
        None or NaN where a number is missing; a masked array is a column already.
    kind : str
        ``text``, ``float``, ``int``, or ``rank``, of which 0 means none.

    Returns
    -------
    ndarray of str, CodedTexts where there are many texts, or masked array
    """
    if kind == "text":
        if isinstance(values, CodedTexts):
            return values
        if isinstance(values, np.ndarray):
            texts = np.ma.getdata(values)
            return CodedTexts.of(texts) if texts.size >= MANY else texts
        return np.array(["" if v is None else str(v) for v in values], dtype=np.str_)
    if isinstance(values, np.ma.MaskedArray):
        return values
    if not isinstance(values, np.ndarray):
        values = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if kind == "float":
        data = printed_values(values)
        return np.ma.masked_array(data, mask=np.isnan(data))
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if kind == "rank":
        missing |= values == 0
    return np.ma.masked_array(np.where(missing, 0, values).astype(np.int64), mask=missing)
