"""A Parquet file whose columns are encoded side by side: the bytes that pyarrow writes, which takes one core.

In a Parquet file each column is one stretch of bytes, its chunk, in each group of rows. The end of the file, the
footer, says where each chunk is. A chunk does not depend on other columns, nor on where it lies in its file. So each
column is written as a file of its own in memory; their chunks follow each other in the whole file, and in the footers
only the places change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuanom.side_by_side import side_by_side
from gpuanom.tables import thrift
from gpuanom.tables.thrift import Struct

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"

_ROWS, _GROUPS = 3, 4
"""Fields of the footer: the number of rows, and the groups of rows."""
_CHUNKS, _BYTES, _FIRST, _COMPRESSED = 1, 2, 5, 6
"""Fields of a group of rows: its chunks, their sizes before compression, its place, and their sizes."""
_ABOUT = 3
"""The field of a chunk with what is known of the chunk."""
_SIZE, _DATA, _DICTIONARY = 7, 9, 11
"""Fields of what is known of a chunk: its size, and the places of its pages."""
_KNOWN_OF_CHUNKS, _KNOWN_OF_GROUPS, _KNOWN_ABOUT = {2, 3}, {1, 2, 3, 5, 6, 7}, {*range(1, 8), 9, 11, 12, 13, 16}
"""The fields of chunks, of groups of rows, and of what is known of a chunk, of which only those above hold places."""


class UnusualError(Exception):
    """Files of single columns are not as this module knows them: the table is written by pyarrow as a whole."""


def write_side_by_side(
    columns: Sequence[Callable[[], pyarrow.Table]], whole: pyarrow.Table, path: Path, in_dictionaries: Sequence[str]
) -> None:
    """Write a table.

    Parameters
    ----------
    columns : sequence of callable
        Each returns a table of one column, in the order of the file.
    whole : pyarrow.Table
        A table without rows that has all these columns, and the meta data of the file.
    path : Path
        The file; an existing one is overwritten.
    in_dictionaries : sequence of str
        Names of the columns whose different values are written once.

    Raises
    ------
    OSError
        When the file cannot be written.
    UnusualError
        When pyarrow writes files that this module does not know.
    """

    def written(made: Callable[[], pyarrow.Table]) -> pyarrow.Buffer:
        return _written(made(), in_dictionaries)

    files = side_by_side(written, columns)
    try:
        chunks, end = _put_together(_footer(_written(whole, in_dictionaries)), [_footer(file) for file in files])
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UnusualError(repr(error)) from error
    with path.open("wb") as out:
        out.write(MAGIC)
        for k, first, size in chunks:
            out.write(files[k].slice(first, size))
        out.write(end)
        out.write(struct.pack("<I", len(end)))
        out.write(MAGIC)


def _written(table: pyarrow.Table, in_dictionaries: Sequence[str]) -> pyarrow.Buffer:
    """The file of a table."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, use_dictionary=[name for name in in_dictionaries if name in table.column_names])
    return sink.getvalue()


def _footer(file: pyarrow.Buffer) -> Struct:
    """What stands at the end of a file."""
    end = bytes(file[-8:])
    (size,) = struct.unpack("<I", end[:4])
    if end[4:] != MAGIC:
        raise ValueError("a file of another form")
    return thrift.read_struct(bytes(file[-8 - size : -8]))


def _put_together(whole: Struct, columns: Sequence[Struct]) -> tuple[list[tuple[int, int, int]], bytes]:
    """Return where the chunks of the whole file are now (column, place and size), and the footer of the whole file."""
    n_rows = {footer[_ROWS][1] for footer in columns}
    groups = [footer[_GROUPS][1][1] for footer in columns]
    if len(n_rows) != 1 or len({len(of_column) for of_column in groups}) != 1:
        raise ValueError("columns of different lengths")
    chunks, joined, at = [], list[Struct](), len(MAGIC)
    for several in zip(*groups, strict=True):
        group, first = dict(several[0]), at
        together = list[Struct]()
        for k, of_column in enumerate(several):
            (chunk,) = of_column[_CHUNKS][1][1]
            about: Struct = dict(chunk[_ABOUT][1])
            known = chunk.keys() <= _KNOWN_OF_CHUNKS and about.keys() <= _KNOWN_ABOUT
            if not known or not of_column.keys() <= _KNOWN_OF_GROUPS:
                raise ValueError("a chunk of another form")
            begin, size = about.get(_DICTIONARY, about[_DATA])[1], about[_SIZE][1]
            chunks.append((k, begin, size))
            for place in (_DATA, _DICTIONARY):
                if place in about:
                    about[place] = about[place][0], about[place][1] - begin + at
            together.append({**chunk, _ABOUT: (thrift.STRUCT, about)})
            at += size
        group[_CHUNKS] = thrift.LIST, (thrift.STRUCT, together)
        for field in (_BYTES, _COMPRESSED):
            group[field] = group[field][0], sum(of_column[field][1] for of_column in several)
        group[_FIRST] = group[_FIRST][0], first
        joined.append(group)
    footer = {**whole, _ROWS: (whole[_ROWS][0], n_rows.pop()), _GROUPS: (thrift.LIST, (thrift.STRUCT, joined))}
    return chunks, thrift.written_struct(footer)
