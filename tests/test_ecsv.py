"""The fast ECSV writer gives the same bytes as astropy's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

import gpuanom
from gpuanom.digits import printed_values
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


@pytest.mark.parametrize("many", [0, 10**9], ids=["native", "python"])
@given(
    rows=st.lists(st.tuples(TEXTS, NUMBERS, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.booleans()), max_size=9)
)
def test_any_values(tmp_path, many, rows):
    texts, floats, whole, masked, empty = zip(*rows, strict=True) if rows else ((),) * 5
    table = Table(masked=False)
    table.add_column(Column(np.array(texts, dtype=np.str_), name="text", description="a: b"))
    table.add_column(MaskedColumn(np.array(floats, dtype=np.float64), mask=list(masked), name="float", unit="deg"))
    table.add_column(MaskedColumn(np.array(whole, dtype=np.int64), mask=list(empty), name="whole"))
    table.add_column(Column(np.array(floats, dtype=np.float64), name="plain"))
    table.meta = {"settings": '{"a": 1}'}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecsv, "MANY", many)
        patch.setattr(ecsv, "ROWS", 4)
        assert written(table, tmp_path) == as_astropy_does(table)


def test_numbers_of_seven_digits_are_written_as_python_writes_them(tmp_path, monkeypatch):
    """Those whose form changes: at 1e16 and 1e-4, the ends of decades, and beyond the exact powers of ten."""
    rng = np.random.default_rng(3)
    decades = 10.0 ** np.arange(-30, 31)
    values = printed_values(
        np.concatenate(
            [
                rng.lognormal(0, 20, 3000) * rng.choice([-1, 1], 3000),
                *(decades * factor for factor in (1.0, -1.5, 9.999999, 0.9999999, 1.000001, 1234567.0)),
                np.arange(-100, 100) / 8,
                [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308, -2.2250738585072014e-308],
            ]
        )
    )
    monkeypatch.setattr(ecsv, "MANY", 0)
    monkeypatch.setattr(ecsv, "_texts", None)
    table = Table([values, np.array(values[::-1])], names=("a", "b"))
    lines = written(table, tmp_path).decode().splitlines()[-len(values) :]
    assert lines == [f"{a!r} {b!r}" for a, b in zip(values.tolist(), values[::-1].tolist(), strict=True)]


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_the_tables_of_a_night(tmp_path, monkeypatch, rows):
    nights.night(tmp_path / "in", exposures=3)
    (tmp_path / "in" / "odd  name.fits").write_text("no FITS")
    night = gpuanom.score(tmp_path / "in", settings=QUICK)
    monkeypatch.setattr(ecsv, "ROWS", rows)
    monkeypatch.setattr(ecsv, "MANY", 0 if rows == 3 else 10**9)
    for table in night.tables:
        content = written(table, tmp_path)
        assert content == as_astropy_does(table)
        back = Table.read(tmp_path / "t.ecsv", format="ascii.ecsv")
        assert back.colnames == table.colnames
        assert len(back) == len(table)
