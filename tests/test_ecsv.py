"""The fast ECSV writer gives the same bytes as astropy's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

import gpuanom
from gpuanom.tables import ecsv
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)
NUMBERS = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1e16, 1e-5, 5e-324, np.inf])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from('" #,"\\'), max_size=6)


def as_astropy_does(table):
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue().encode()


def written(table, tmp_path):
    ecsv.write_ecsv(table, tmp_path / "t.ecsv")
    return (tmp_path / "t.ecsv").read_bytes()


@given(
    rows=st.lists(st.tuples(TEXTS, NUMBERS, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.booleans()), max_size=9)
)
def test_any_values(tmp_path, rows):
    texts, floats, whole, masked, empty = zip(*rows, strict=True) if rows else ((),) * 5
    table = Table(masked=False)
    table.add_column(Column(np.array(texts, dtype=np.str_), name="text", description="a: b"))
    table.add_column(MaskedColumn(np.array(floats, dtype=np.float64), mask=list(masked), name="float", unit="deg"))
    table.add_column(MaskedColumn(np.array(whole, dtype=np.int64), mask=list(empty), name="whole"))
    table.add_column(Column(np.array(floats, dtype=np.float64), name="plain"))
    table.meta = {"settings": '{"a": 1}'}
    assert written(table, tmp_path) == as_astropy_does(table)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_the_tables_of_a_night(tmp_path, monkeypatch, rows):
    nights.night(tmp_path / "in", exposures=3)
    (tmp_path / "in" / "odd  name.fits").write_text("no FITS")
    night = gpuanom.score(tmp_path / "in", settings=QUICK)
    monkeypatch.setattr(ecsv, "ROWS", rows)
    for table in night.tables:
        content = written(table, tmp_path)
        assert content == as_astropy_does(table)
        back = Table.read(tmp_path / "t.ecsv", format="ascii.ecsv")
        assert back.colnames == table.colnames
        assert len(back) == len(table)
