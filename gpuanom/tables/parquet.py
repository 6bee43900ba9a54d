"""Tables as Parquet files: with the columns, units and descriptions that astropy writes, in a tenth of the time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuanom.records.texts import MANY, CodedTexts
from gpuanom.side_by_side import side_by_side
from gpuanom.tables.headers import yaml_lines
from gpuanom.tables.plain import PlainTable, column_of, width_of

if TYPE_CHECKING:
    from astropy.table import Table


def write_parquet(table: Table | PlainTable, path: Path) -> None:
    """Write a table of numbers and texts. Needs pyarrow.

    Masked values are null. Units, descriptions and meta data are kept under the key that astropy reads them from.

    Parameters
    ----------
    table : Table or PlainTable
        One-dimensional columns of whole numbers, float64 or text.
    path : Path
        The file; an existing one is overwritten.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    about = {"table_meta_yaml": "\n".join(_yaml(table))}
    columns = [column_of(table, name) for name in table.colnames]
    texts = [name for name, column in zip(table.colnames, columns, strict=True) if _is_text(column)]
    for name in texts:
        # As astropy does: the longest text of a column, which Parquet does not keep.
        about[f"table::len::{name}"] = str(width_of(column_of(table, name)))
    arrays = side_by_side(partial(_array, pyarrow), columns, many=len(table) >= MANY)
    found = pyarrow.Table.from_arrays(arrays, names=table.colnames).replace_schema_metadata(about)
    parquet.write_table(found, path, use_dictionary=texts)


def _yaml(table: Table | PlainTable) -> list[str]:
    """What astropy reads of the columns and the meta data."""
    if isinstance(table, PlainTable):
        known = yaml_lines(table.columns, table.meta)
        if known is not None:
            return known
        table = table.as_table()
    from astropy.table import meta

    return list(meta.get_yaml_from_table(table))


def _is_text(column: Any) -> bool:
    return isinstance(column, CodedTexts) or column.dtype.kind == "U"


def _array(pyarrow: Any, column: Any) -> Any:
    """A column as an array of Arrow."""
    if _is_text(column):
        return _text_array(pyarrow, column)
    mask = np.ma.getmaskarray(column)
    return pyarrow.array(np.asarray(np.ma.getdata(column)), mask=mask if mask.any() else None)


def _text_array(pyarrow: Any, column: Any) -> Any:
    """An array of Arrow, put together from the different texts: each of them is converted once."""
    texts = column if isinstance(column, CodedTexts) else CodedTexts.of(np.asarray(np.ma.getdata(column)))
    found = pyarrow.array(texts.different.tolist(), type=pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(texts.codes.astype(np.int32)), found).dictionary_decode()
