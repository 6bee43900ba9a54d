"""Tables as columns alone, without astropy: what is written and printed needs no more than these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gpuanom.records.texts import CodedTexts
from gpuanom.tables.as_table import as_table
from gpuanom.tables.columns import Column
from gpuanom.tables.dataset_columns import Columns

if TYPE_CHECKING:
    from astropy.table import Table


class PlainTable:
    """The columns of a table, with what an astropy Table of them would say.

    Parameters
    ----------
    values : dict
        The columns as `gpuanom.tables.as_table.printed_column` gives them.
    columns : sequence of Column
        Names, kinds, units and descriptions, in the order of the table.
    meta : mapping
        What the table says of how it was made.
    """

    def __init__(self, values: Columns, columns: Sequence[Column], meta: Mapping[str, Any]) -> None:
        self.values, self.columns, self.meta = values, tuple(columns), dict(meta)
        self._arrays: dict[str, Any] = {}

    @property
    def colnames(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def __len__(self) -> int:
        first = self.values[self.columns[0].name]
        return first.size if isinstance(first, CodedTexts) else len(first)

    @overload
    def __getitem__(self, key: str) -> Any: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    def __getitem__(self, key: str | int) -> Any:
        """Return a column by its name, as an array, or a row by its number, as a mapping."""
        if not isinstance(key, str):
            return {name: self[name][key] for name in self.colnames}
        column = self.values[key]
        if not isinstance(column, CodedTexts):
            return column
        if key not in self._arrays:  # single texts are asked for again and again
            self._arrays[key] = column.array()
        return self._arrays[key]

    def as_table(self) -> Table:
        """Return an astropy Table, which shares the numbers with this one."""
        return as_table(self.values, self.columns, self.meta)


def column_of(table: Table | PlainTable | Mapping[str, Any], name: str) -> Any:
    """Return a column of any table: texts, a masked array, or CodedTexts.

    Parameters
    ----------
    table : Table, PlainTable or mapping
    name : str
        A column of the table.
    """
    return table.values[name] if isinstance(table, PlainTable) else table[name]


def width_of(column: Any) -> int:
    """Return the letters that each text of a column has room for; 0 for numbers.

    Parameters
    ----------
    column : ndarray or CodedTexts
    """
    if isinstance(column, CodedTexts):
        return column.width
    return int(np.asarray(column).dtype.itemsize // 4) if column.dtype.kind == "U" else 0
