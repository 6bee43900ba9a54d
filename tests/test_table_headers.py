"""The headers of tables have the same bytes as astropy's, without astropy."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import meta as astropy_meta
from hypothesis import given
from hypothesis import strategies as st

import gpuanom
from gpuanom.records.texts import CodedTexts
from gpuanom.tables import headers, writing
from gpuanom.tables.as_table import as_table
from gpuanom.tables.columns import Column
from gpuanom.tables.plain import PlainTable
from gpuanom.tables.table_columns import columns_of_tables
from tests import nights

META = {
    "gpuanom": "0.1.0",
    "method": "arXiv:2310.15481",
    "settings": json.dumps({"bins": 18, "mask": ["bad", "no_value"] * 30}),
    "robust_rounds": 0,
    "reference_file": "",
    "autoencoder": "0123456789abcdef",
}


def as_astropy_does(columns, meta):
    table = as_table({column.name: [] for column in columns}, columns, meta)
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue(), astropy_meta.get_yaml_from_table(table)


@pytest.mark.parametrize("chosen", list(itertools.product([False, True], repeat=4)))
def test_all_columns(chosen):
    parts = dict(zip(("statistics", "autoencoder", "verdict", "classifier"), chosen, strict=True))
    for columns in columns_of_tables(**parts):
        expected, lines = as_astropy_does(columns, META)
        assert headers.ecsv_header(columns, META) == expected
        assert headers.yaml_lines(columns, META) == lines


WORDS = st.text(st.sampled_from("ab01.-+:,'\"#{}[]?!&*%@`|>=~_e x"), min_size=1, max_size=12)


@given(text=st.lists(WORDS, max_size=40).map(" ".join), name=st.sampled_from(["a", "name_of_a_column"]))
def test_any_text_is_written_as_astropy_writes_it_or_left_to_astropy(text, name):
    columns, meta = [Column(name, "float", "deg", text)], {"about": text}
    found = headers.ecsv_header(columns, meta)
    if found is None:
        assert headers.yaml_lines(columns, meta) is None
    else:
        assert (found, headers.yaml_lines(columns, meta)) == as_astropy_does(columns, meta)


@pytest.mark.parametrize(
    "text", ["true", "1.5", "2026-11-23", "12", "0x1f", "  two", "of two  spaces", "K\u00fchl", "a\nb", "---", "~"]
)
def test_what_yaml_might_take_for_something_else_is_left_to_astropy(text, tmp_path):
    columns = [Column("a", "int", "", "a number")]
    assert headers.ecsv_header(columns, {"about": text}) is None
    plain = PlainTable({"a": np.ma.masked_array([1, 2], mask=False)}, columns, {"about": text})
    writing.write_table(plain, tmp_path / "plain.ecsv", "ecsv")
    writing.write_table(plain.as_table(), tmp_path / "table.ecsv", "ecsv")
    assert (tmp_path / "plain.ecsv").read_bytes() == (tmp_path / "table.ecsv").read_bytes()


def test_a_unit_that_is_not_known_is_left_to_astropy():
    assert headers.ecsv_header([Column("a", "float", "adu", "")], {}) is None


@pytest.mark.parametrize("suffix", list(writing.FORMATS))
def test_columns_alone_are_written_as_an_astropy_table_is(tmp_path, suffix, monkeypatch):
    """A column of coded texts and one of texts, numbers that are missing, and rows of which single ones are taken."""
    monkeypatch.setattr("gpuanom.tables.ecsv.ROWS", 2)
    texts = CodedTexts.joined([CodedTexts.of(np.array(["b", "a b", "b"])), np.array(["", "a b"])])
    assert texts.width == 3
    texts = texts.take(np.array([4, 3, 2, 1, 0]))
    columns = [
        Column("text", "text", "", "coded"), Column("plain", "text", "", "as they are"),
        Column("number", "float", "pixel", "a number"), Column("rank", "rank", "", "whole: numbers"),
    ]  # fmt: skip
    values = {
        "text": texts,
        "plain": np.array(["x", "y", "z", "x", "y"]),
        "number": np.ma.masked_invalid([1.0, np.nan, 3.0, 4.0, 5.0]),
        "rank": np.ma.masked_array([1, 0, 3, 2, 4], mask=[0, 1, 0, 0, 0]),
    }
    plain = PlainTable(values, columns, META)
    assert (len(plain), plain[1]["text"], plain[1]["rank"]) == (5, "", np.ma.masked)
    assert plain["text"].tolist() == ["a b", "", "b", "a b", "b"]
    for table, name in ((plain, "plain"), (plain.as_table(), "table")):
        if suffix == "parquet":
            pytest.importorskip("pyarrow")
        writing.write_table(table, tmp_path / name, suffix)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "table").read_bytes()


def test_a_night_is_ranked_and_written_without_astropy(tmp_path):
    nights.night(tmp_path / "in", exposures=2, odd=None)
    settings = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)
    gpuanom.score(tmp_path / "in", tmp_path / "out", settings=settings, device="cpu")
    program = """
import sys
from gpuanom.cli import main
try:
    main(["score", "-o", sys.argv[1], "--device", "cpu"])
except SystemExit as end:
    assert not end.code, end.code
assert not {"astropy.table", "astropy.units", "yaml"} & set(sys.modules)
"""
    before = (tmp_path / "out" / "ccds.ecsv").read_bytes()
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "most anomalous" in done.stdout
    assert (tmp_path / "out" / "ccds.ecsv").read_bytes() == before


@pytest.mark.parametrize("name", ["True", "No", "NULL", "on", "é", "x" * 130, "a b", "x-y"])
def test_names_that_yaml_writes_otherwise_are_left_to_astropy(name):
    assert headers.yaml_lines([Column("n", "int", "", "a number")], {name: 1}) is None
    columns = [Column(name, "int", "", f"a {name}")]
    found = headers.yaml_lines(columns, {})
    assert found is None or found == as_astropy_does(columns, {})[1]
