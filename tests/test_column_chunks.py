"""Parquet files whose columns are encoded side by side: pyarrow's own bytes, or pyarrow itself where it cannot be."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gpuanom.records.texts import CodedTexts
from gpuanom.tables import column_chunks, parquet, thrift
from gpuanom.tables.columns import Column
from gpuanom.tables.parquet import write_parquet
from gpuanom.tables.plain import PlainTable

pyarrow = pytest.importorskip("pyarrow")
files = pytest.importorskip("pyarrow.parquet")

N = 3000


@pytest.fixture
def table():
    random = np.random.default_rng(3)
    numbers = random.normal(size=N)
    numbers[::7] = np.nan
    texts = np.array(["", "N4", "a cause in words"])[random.integers(0, 3, N)]
    columns = {
        "number": ("float", np.ma.masked_array(numbers, mask=np.isnan(numbers))),
        "name": ("text", CodedTexts.of(texts)),
        "nothing": ("float", np.ma.masked_array(np.full(N, np.nan), mask=np.ones(N, dtype=bool))),
        "whole": ("int", np.ma.masked_array(np.arange(N), mask=np.zeros(N, dtype=bool))),
        **{f"more_{i}": ("float", np.ma.masked_array(random.normal(size=N))) for i in range(20)},
    }
    kinds = [Column(name, kind, "", name) for name, (kind, _) in columns.items()]
    return PlainTable({name: values for name, (_, values) in columns.items()}, kinds, {"gpuanom": "x" * 200})


def plainly(table, path, monkeypatch):
    """The bytes that pyarrow writes by itself."""
    monkeypatch.setattr(parquet, "MANY", N + 1)
    write_parquet(table, path / "plain.parquet")
    monkeypatch.setattr(parquet, "MANY", 1)
    return (path / "plain.parquet").read_bytes()


def test_the_bytes_are_those_that_pyarrow_writes(table, tmp_path, monkeypatch):
    expected, written = plainly(table, tmp_path, monkeypatch), []
    monkeypatch.setattr(
        column_chunks, "side_by_side", lambda f, items: written.append(len(items)) or list(map(f, items))
    )
    write_parquet(table, tmp_path / "t.parquet")
    assert written == [24]
    assert (tmp_path / "t.parquet").read_bytes() == expected
    assert files.read_table(tmp_path / "t.parquet")["whole"].to_pylist() == list(range(N))


def test_a_table_of_several_groups_of_rows_has_these_bytes_too(table, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_table", partial(files.write_table, row_group_size=1100))
    expected = plainly(table, tmp_path, monkeypatch)
    write_parquet(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == expected
    assert files.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3


@pytest.mark.parametrize("name", ["_KNOWN_ABOUT", "_KNOWN_OF_CHUNKS", "_KNOWN_OF_GROUPS", "MAGIC"])
def test_what_this_module_does_not_know_is_written_by_pyarrow(name, table, tmp_path, monkeypatch):
    expected = plainly(table, tmp_path, monkeypatch)
    monkeypatch.setattr(column_chunks, name, b"PAR2" if name == "MAGIC" else set())
    with pytest.raises(column_chunks.UnusualError):
        column_chunks.write_side_by_side(
            [partial(pyarrow.table, {"a": [1]})], pyarrow.table({"a": [1]}).slice(0, 0), tmp_path / "none.parquet", []
        )
    assert not (tmp_path / "none.parquet").exists()
    write_parquet(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == expected


def test_an_error_of_the_disk_is_told(table, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MANY", 1)
    with pytest.raises(OSError):
        write_parquet(table, tmp_path / "missing" / "t.parquet")


def test_a_struct_is_written_as_it_was_read():
    many = (thrift.LIST, (thrift.I64, [0, -1, 63, 64, -(2**62), 2**62]))
    inner = {1: (thrift.YES, None), 2: (thrift.NO, None), 40: (thrift.BINARY, b"text" * 60)}
    values = {
        1: (thrift.I32, -5),
        3: (thrift.STRUCT, inner),
        4: many,
        5: (thrift.DOUBLE, b"12345678"),
        6: (thrift.LIST, (thrift.STRUCT, [inner] * 20)),
        7: (thrift.BYTE, b"7"),
        300: (thrift.I16, 300),
    }
    data = thrift.written_struct(values)
    assert thrift.read_struct(data) == values
    assert thrift.written_struct(thrift.read_struct(data)) == data
    for damaged in (data + b"\0", data[:-1], b"\x1b\0\0"):
        with pytest.raises((ValueError, IndexError)):
            thrift.read_struct(damaged)
