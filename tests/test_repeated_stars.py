"""Repeated stars from the differences of positions (METHOD.md 11): separations, shares, and fields without any."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpuanom.backends.cpu.repeats import count_pairs
from gpuanom.backends.limits import PAIR_COLUMNS, PAIR_ROWS
from gpuanom.statistics import repeats
from gpuanom.statistics.repeats import EXPOSURE_STATISTICS, exposure_statistics
from gpuanom.statistics.repeats_loop import find_peaks

NAMES = [statistic.name for statistic in EXPOSURE_STATISTICS]


def statistics_of(fields, nx=1000):
    """The statistics of an exposure whose CCDs hold maxima at these (y, x)."""
    pairs, n = np.zeros((PAIR_ROWS, PAIR_COLUMNS), np.int32), 0
    for field in fields:
        pixels = np.unique(np.rint(field[:, 0]).astype(np.int64) * nx + np.rint(field[:, 1]).astype(np.int64))
        count_pairs(pixels, nx, 0, pairs)
        n += pixels.size
    values = exposure_statistics(pairs.astype(np.int64), n)
    assert values.dtype == np.float32
    return dict(zip(NAMES, values.tolist(), strict=True))


def random_field(rng, n, ny=1000, nx=1000):
    """Positions of stars that know nothing of each other."""
    return rng.uniform(2, (ny - 3, nx - 3), (n, 2))


def with_repeats(rng, field, separation, degrees, share, ny=1000, nx=1000):
    """The field with a second image of some of the stars, each half a pixel uncertain."""
    shift = separation * np.array([math.sin(math.radians(degrees)), math.cos(math.radians(degrees))])
    again = field[: round(share * len(field))] + shift
    again += rng.normal(0, 0.3, again.shape)
    inside = ((again > 1) & (again < (ny - 2, nx - 2))).all(axis=1)
    return np.concatenate([field, again[inside]])


@pytest.mark.parametrize("separation", [20.0, 31.7, 56.3, 100.0])
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("degrees", [-77, 0, 33, 90])
def test_repeated_stars_are_found(separation, share, degrees):
    rng = np.random.default_rng(7)
    fields = [with_repeats(rng, random_field(rng, 150), separation, degrees, share) for _ in range(4)]
    values = statistics_of(fields)
    # METHOD.md gives 1.3 pixels.
    assert values["repeat_separation"] == pytest.approx(separation, abs=1.3)
    assert abs(math.remainder(values["repeat_angle"] - degrees, 180)) < math.degrees(1.3 / separation)
    assert -90 < values["repeat_angle"] <= 90
    # Stars near the edge lose their second image, and 15 pairs scatter by a quarter.
    assert values["repeat_share"] == pytest.approx(share, rel=0.35)
    assert values["repeat_evidence"] > (60 if share == 0.1 else 400)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [12, 100, 600])
def test_random_fields_have_no_repeats(seed, n):
    rng = np.random.default_rng(seed)
    values = statistics_of([random_field(rng, n) for _ in range(3)])
    # The largest of 3e4 peaks by chance has -ln P of about 10; METHOD.md found at most 13 on normal exposures.
    assert values["repeat_evidence"] < 16


def test_clusters_columns_and_trails_make_no_repeats():
    rng = np.random.default_rng(3)
    field = random_field(rng, 200)
    cluster = rng.normal(500, 40, (60, 2))
    column = np.stack([rng.uniform(10, 990, 40), np.full(40, 300.0)], axis=1)
    second = np.stack([rng.uniform(10, 990, 40), np.full(40, 420.0)], axis=1)
    along = rng.uniform(0, 900, 40)
    trail = np.stack([50 + 0.6 * along, 40 + 0.8 * along], axis=1) + rng.normal(0, 0.5, (40, 2))
    # The same lines among 40 others raise the evidence of chance a little, no more.
    for name, extra in {"cluster": cluster, "column": column, "trail": trail}.items():
        assert statistics_of([np.concatenate([field, extra])])["repeat_evidence"] < 25, name
    assert statistics_of([np.concatenate([field, column, second])])["repeat_evidence"] < 25


def test_few_and_no_pairs():
    empty = np.zeros((PAIR_ROWS, PAIR_COLUMNS), np.int64)
    assert np.isnan(exposure_statistics(empty, 0)).all()
    assert np.isnan(exposure_statistics(empty, 1)).all()
    two = statistics_of([np.array([[100.0, 100.0], [140.0, 130.0]])])
    assert two["repeat_separation"] == pytest.approx(50, abs=1)
    assert two["repeat_angle"] == pytest.approx(math.degrees(math.atan2(40, 30)), abs=1)
    assert two["repeat_share"] == pytest.approx(1.0, abs=0.02)
    assert two["repeat_evidence"] < 5


def test_the_evidence_is_chernoffs_bound():
    """30 pairs at one difference, and nothing near: 0.01 is granted."""
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), np.int64)
    pairs[60, 200] = 30
    values = dict(zip(NAMES, exposure_statistics(pairs, 130).tolist(), strict=True))
    assert values["repeat_evidence"] == pytest.approx(30 * math.log(30 / 0.01) - 29.99)
    assert values["repeat_separation"] == pytest.approx(math.hypot(2 * 60 - 32 + 0.5, 2 * 200 - 256 + 0.5))
    assert values["repeat_share"] == pytest.approx(29.99 / (130 - 29.99))


@pytest.mark.parametrize("far", [3, 11, 300])
def test_what_is_too_near_or_too_far_is_no_repeat(far):
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), np.int64)
    pairs[16, 128] = 500  # maxima around bright stars
    if far < 256:
        pairs[16, 128 + far // 2] = 50
    values = dict(zip(NAMES, exposure_statistics(pairs, 1000).tolist(), strict=True))
    assert (values["repeat_evidence"] > 5) == (far == 11)


def test_pairs_across_the_border_of_dy_0_are_one_peak():
    """A shift along x: half of the pairs have dy = -1 and half 0, and each is counted with both signs."""
    rng = np.random.default_rng(1)
    stars = np.rint(random_field(rng, 80, 900, 900))
    again = stars + np.stack([rng.integers(-1, 1, 80), np.full(80, 60)], axis=1)
    values = statistics_of([np.concatenate([stars, again])])
    assert values["repeat_share"] == pytest.approx(1.0, abs=0.1)
    assert values["repeat_separation"] == pytest.approx(60, abs=1)


def test_what_chance_gives_is_the_largest_mean_of_the_surroundings():
    """Of single peaks, also at the edges of the table, by sums over slices."""
    counts = np.random.default_rng(5).poisson(2.0, (PAIR_ROWS, PAIR_COLUMNS)).astype(np.float64)
    known, looked_at, boxes, bins = repeats._surroundings()
    every = np.ones_like(looked_at)
    peaks, expected, evidence = np.empty((3, PAIR_ROWS - 1, PAIR_COLUMNS - 1))
    find_peaks(counts, known, every, boxes, bins, 0.01, peaks, expected, evidence)
    for i, j in [(0, 0), (3, 250), (16, 127), (100, 5), (70, 60), (PAIR_ROWS - 2, PAIR_COLUMNS - 2)]:
        found, means = counts[i : i + 2, j : j + 2].sum(), [0.01]
        for rows, columns, inner_rows, inner_columns in boxes.tolist():
            chosen = np.zeros_like(known)
            chosen[max(0, i - rows) : i + 2 + rows, max(0, j - columns) : j + 2 + columns] = 1
            chosen[max(0, i - inner_rows) : i + 2 + inner_rows, max(0, j - inner_columns) : j + 2 + inner_columns] = 0
            means.append(4.0 * (counts * known * chosen).sum() / max(1.0, (known * chosen).sum()))
        assert (peaks[i, j], expected[i, j]) == (found, max(means))
        more = max(found, max(means))
        bound = more * np.log(more / max(means)) - (more - max(means))
        assert evidence[i, j] == pytest.approx(bound, rel=1e-12, abs=1e-12)
    find_peaks(counts, known, looked_at, boxes, bins, 0.01, peaks, expected, evidence)
    assert (evidence[~looked_at] == -1.0).all()
    assert (evidence[looked_at] >= 0.0).all()
