"""Scores are compared by the printed digits wherever they order, rank or choose exposures."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom import digits
from gpuanom.digits import DIGITS, printed, printed_values
from gpuanom.nights import alerts
from gpuanom.records import KINDS
from gpuanom.review import evaluate, export
from gpuanom.scoring.histograms.divergences import ranks_of
from gpuanom.scoring.histograms.significance import deviation
from gpuanom.tables.dataset_columns import _within_noise
from gpuanom.tables.exposure_order import order_of

LAST_BIT = np.nextafter(2.0, 3.0)
"""A number that is printed as 2."""


def test_a_number_is_rounded_as_the_tables_print_it():
    assert DIGITS == 7
    assert printed(0.123456749) == 0.1234567
    assert printed(LAST_BIT) == 2.0
    assert math.isnan(printed(math.nan))
    assert printed_values([[LAST_BIT, math.inf]]).tolist() == [[2.0, math.inf]]


HARD = [
    0.0,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    5e-324,
    -1.7e308,
    9999999.5,
    999999.95,
    0.99999995,
    2.0**70,
    123456.75,
]
"""Numbers whose rounding is hardest: none, halves, the ends of decades, and those beyond the exact powers of ten."""


@given(st.lists(st.one_of(st.floats(), st.sampled_from(HARD), st.floats(width=32)), max_size=60))
def test_the_compiled_loop_gives_the_printed_digits_to_the_last_bit(values):
    """The loop for many numbers, the one for few, and printing with seven digits."""
    given_values = np.array([*values, *HARD, *10.0 ** np.arange(-25, 25), *np.nextafter(10.0 ** np.arange(-25, 25), 0)])
    expected = np.array([printed(value) for value in given_values.tolist()])
    assert digits._rounded_natively(given_values, digits._ALL).tobytes() == expected.tobytes()
    assert printed_values(given_values).tobytes() == expected.tobytes()


def test_many_numbers_take_the_compiled_loop(monkeypatch):
    values = np.linspace(1e-3, 1e3, digits._MANY)
    few = printed_values(values[:-1])
    monkeypatch.setattr(digits, "_rounded", None)
    np.testing.assert_array_equal(printed_values(values)[:-1], few)


def test_ranks_and_order_of_tables_do_not_hang_on_the_last_bit():
    assert ranks_of(np.array([2.0, LAST_BIT, 3.0])).tolist() == [2, 3, 1]
    none = np.full(2, np.nan)
    assert order_of(["", ""], none, np.array([2.0, LAST_BIT]), [("a",), ("b",)]) == [0, 1]


def test_equal_scores_but_for_rounding_have_no_deviation():
    """Their median deviation is a rounding error, and a division by it gives arbitrary numbers."""
    scores = np.array([2.0, LAST_BIT, 2.0, np.nextafter(2.0, 1.0), 2.5])
    assert np.isnan(deviation(scores)).all()
    assert np.isfinite(deviation(np.array([2.0, 2.1, 2.2, 2.5]))).all()


def row(name, **values):
    about = {"camera": "C", "exposure": name, "band": "r", "date_obs": "", "file": "", "status": "ok", "n_ccd_used": 1}
    scores = {f"{kind}_{what}": None for kind in KINDS for what in ("kl", "z", "p", "rank", "deviation")}
    return {**about, **scores, **values}


@pytest.mark.parametrize(
    ("criterion", "value", "bound"),
    [
        ("z", np.nextafter(2.0, 1.0), 2.0),
        ("deviation", np.nextafter(5.0, 1.0), 5.0),
        ("p", np.nextafter(0.01, 1.0), 0.01),
        ("z", 2.123457, 2.12345674),  # this bound has more digits than the table
    ],
)
def test_export_chooses_by_printed_digits(criterion, value, bound):
    night = SimpleNamespace(exposures=[row("1", **{f"source_{criterion}": value})])
    assert export.choose(night, export.Criterion(**{criterion: bound}), ("source",))


def test_a_false_discovery_rate_is_met_by_what_equals_it():
    """0.3 x 1 / 3 is slightly below 0.1 in floating point."""
    assert 0.3 * 1 / 3 < 0.1
    night = SimpleNamespace(exposures=[row(str(i), source_p=p) for i, p in enumerate((0.1, 0.9, 0.95))])
    assert list(export.choose(night, export.Criterion(fdr=0.3), ("source",))) == [("C", "0")]


def test_alerts_are_given_by_printed_digits():
    given = row("1", source_deviation=np.nextafter(5.0, 1.0), source_z=np.nextafter(alerts.LEAST_Z, 1.0))
    assert alerts.alert(given, {}, 5.0) is not None


def test_evaluation_ranks_ties_by_id():
    rows = [row("10", source_kl=LAST_BIT), row("9", source_kl=2.0)]
    order = evaluate.ranked_exposures(SimpleNamespace(exposures=rows), "kl")["C", "r", "source"]
    assert order == [("C", "9"), ("C", "10")]


def test_notes_on_noise_go_by_printed_digits():
    deviations = np.full((len(KINDS), 5), math.nan)
    z = deviations.copy()
    deviations[0], z[0] = [LAST_BIT, 3.0, 3.0, 3.0, math.nan], [0.5, np.nextafter(1.0, 0.0), 0.5, 0.5, 0.5]
    deviations[1, 3], z[1, 3] = 3.0 + 1e-9, 5.0  # not the first of equal deviations
    assert _within_noise(deviations, z).tolist() == [False, False, True, True, False]
