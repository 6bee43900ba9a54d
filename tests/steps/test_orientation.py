"""Orientations of moments and of gradients (eqs. 2-5 and 8) against naive.py, and by hand."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.harness import device

HALF = math.pi / 2


def of_moments(backend, *rows):
    return backend.to_host(backend.orientation(device(backend, np.array(rows, float).reshape(-1, 3))))


def of_gradients(backend, *rows):
    dx, dy = np.array(rows, float).reshape(-1, 2).T
    return backend.to_host(backend.gradient_orientation(device(backend, dx), device(backend, dy)))


def assert_same_angles(actual, expected):
    """Equal within 4 units in the last place, since arctangents differ between libraries; NaN where NaN."""
    expected = np.array(expected, float)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    finite = ~np.isnan(expected)
    assert np.all(np.abs(actual[finite] - expected[finite]) <= 4 * np.spacing(np.abs(expected[finite])))
    assert np.all((actual[finite] > -HALF) & (actual[finite] <= HALF))


@pytest.mark.parametrize(
    ("q20", "q02", "q11", "expected"),
    [
        (3.0, 1.0, 0.0, 0.0),
        (1.0, 3.0, 0.0, HALF),
        (1.0, 3.0, -0.0, HALF),
        (2.0, 2.0, 1.0, math.pi / 4),
        (2.0, 2.0, -1.0, -math.pi / 4),
        (3.0, 1.0, math.sqrt(3.0), math.pi / 6),
        (1.0, 3.0, math.sqrt(3.0), math.pi / 3),
        (1.0, 3.0, -math.sqrt(3.0), -math.pi / 3),
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, HALF),
        (3e-11, 1e-11, 0.0, 0.0),
    ],
)
def test_the_long_axis_by_hand(backend, q20, q02, q11, expected):
    assert_same_angles(of_moments(backend, (q20, q02, q11)), [expected])


@pytest.mark.parametrize(
    "row",
    [
        (0.0, 0.0, 0.0),
        (2.0, 2.0, 0.0),
        (2.0, 2.0, -0.0),
        (math.nan, 1.0, 1.0),
        (1.0, math.nan, 1.0),
        (1.0, 1.0, math.nan),
        (math.inf, 1.0, 1.0),
        (1.0, math.inf, 1.0),
        (2.0, 1.0, math.inf),
        (2.0, 1.0, -math.inf),
        (1.0, -1.0, 3.0),
    ],
)
def test_no_orientation(backend, row):
    assert np.isnan(of_moments(backend, row)[0])
    assert math.isnan(naive.orientation(*row))


@given(st.lists(st.tuples(*[st.floats(0, 1e9)] * 2, st.floats(-1, 1)), min_size=1, max_size=50))
def test_moments_match_naive(backend, rows):
    rows = [(a, b, r * math.sqrt(a * b)) for a, b, r in rows]
    assert_same_angles(of_moments(backend, *rows), [naive.orientation(*row) for row in rows])


@pytest.mark.parametrize(
    ("dx", "dy", "expected"),
    [
        (1.0, 0.0, 0.0),
        (-1.0, 0.0, 0.0),
        (-1.0, -0.0, 0.0),
        (0.0, 1.0, HALF),
        (0.0, -1.0, HALF),
        (-0.0, 1.0, HALF),
        (-0.0, -1.0, HALF),
        (1.0, 1.0, math.pi / 4),
        (-1.0, -1.0, math.pi / 4),
        (1.0, -1.0, -math.pi / 4),
        (-1.0, 1.0, -math.pi / 4),
        (1e-300, -1.0, HALF),
        (0.0, 0.0, math.nan),
        (-0.0, 0.0, math.nan),
    ],
)
def test_gradients_by_hand(backend, dx, dy, expected):
    assert_same_angles(of_gradients(backend, (dx, dy)), [expected])


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, allow_subnormal=False)] * 2), min_size=1, max_size=50))
def test_gradients_match_naive(backend, rows):
    # A quotient beyond float64 gives one of the two right angles; since -pi/2 counts as pi/2, its sign does not matter.
    rows = [(dx, dy) for dx, dy in rows if dx == 0 or abs(dy) < 1e300 * abs(dx)]
    assert_same_angles(of_gradients(backend, *rows), [naive.gradient_orientation(*row) for row in rows])


def test_nothing_in_nothing_out(backend):
    assert of_moments(backend).shape == (0,)
    assert of_gradients(backend).shape == (0,)
