"""Static patterns (METHOD.md 9.7): what is usual for a CCD is taken off, whatever the order of the exposures."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest

from gpuanom.records import CcdPatterns, DatasetStatistics
from gpuanom.scoring.judged import static_pattern
from gpuanom.scoring.judged.static_pattern import NAMES, chosen_exposures, with_static_patterns
from gpuanom.statistics import background_map

SHAPE, N_ROWS, N_COLUMNS = (9, 14), 24, 40
RNG = np.random.default_rng(7)
FIXED = {
    name: (RNG.normal(0, 0.02, SHAPE), RNG.normal(0, 0.02, N_ROWS), RNG.normal(0, 0.02, N_COLUMNS)) for name in "ab"
}
"""The pattern of each CCD, in units of sky/sigma."""
FIXED["b"][0][5:9, 8:12] += 0.04  # a glow that is always there


def night(n, seed=1, scales=True, noise=0.05, n_ccds=2):
    """A dataset of n exposures whose maps are the CCD's pattern, times the sky, and noise; and the sky of each CCD."""
    rng = np.random.default_rng(seed)
    kept, skies = [], []
    for _ in range(n):
        ratio = rng.uniform(8.0, 30.0)
        skies += [ratio] * n_ccds
        unit = ratio if scales else 15.0
        ccds = []
        for name in "ab"[:n_ccds]:
            cells, rows, columns = (unit * part + rng.normal(0, noise, part.shape) for part in FIXED[name])
            stored = background_map.encoded(cells.astype(np.float32)[None])[0]
            ccds.append(CcdPatterns(stored, rows.astype(np.float32), columns.astype(np.float32)))
        kept.append(ccds)
    return made(kept, [f"e{i}" for i in range(n)]), np.array(skies), kept


def made(kept, names):
    counts = [len(ccds) for ccds in kept]
    return DatasetStatistics(
        camera="c",
        band="r",
        exposures=tuple(names),
        owner=np.repeat(np.arange(len(kept)), counts),
        ccds=tuple(name for ccds in kept for name in "ab"[: len(ccds)]),
        exposure_names=(),
        ccd_names=("x",),
        exposure_values=np.zeros((len(kept), 0), dtype=np.float32),
        ccd_values=np.ones((sum(counts), 1), dtype=np.float32),
        measured=np.ones(len(kept), dtype=bool),
        fingerprints=tuple(f"files of {name}" for name in names),
        patterns=lambda i: kept[i],
    )


def test_the_chosen_exposures_are_those_of_lowest_hash():
    statistics, _, _ = night(250, n_ccds=1)
    hashes = [blake2b(f"3 e{i}".encode(), digest_size=8).digest() for i in range(250)]
    assert chosen_exposures(statistics, 3) == sorted(range(250), key=lambda i: hashes[i])[:200]
    some = replace(statistics, measured=np.arange(250) < 19)
    assert chosen_exposures(some, 3) == []
    more = replace(statistics, measured=np.arange(250) < 20)
    assert sorted(chosen_exposures(more, 3)) == list(range(20))


@pytest.mark.parametrize("scales", [True, False])
def test_the_pattern_is_the_median_of_loops(scales):
    statistics, sky, kept = night(21, scales=scales)
    sky = sky if scales else np.where(np.arange(sky.size) == 4, 4.9, sky)
    found = static_pattern.static_patterns(statistics, sky, list(range(21)))
    for c, name in enumerate("ab"):
        by_sky = scales or name == "b"  # the sky of one a is under 5 sigma
        assert found[name].scales == by_sky
        for y, x in ((0, 0), (3, 7), (8, 13)):
            values = [float(k[c].map[y, x]) * 0.02 / (sky[2 * i] if by_sky else 1.0) for i, k in enumerate(kept)]
            # decoded maps are float32: half a unit of the 24th bit
            assert found[name].map[y, x] == pytest.approx(np.median(values), rel=1e-6, abs=1e-9)
        values = [float(k[c].row_steps[5]) / (sky[2 * i] if by_sky else 1.0) for i, k in enumerate(kept)]
        assert found[name].row_steps[5] == pytest.approx(np.median(values), rel=1e-6)


def test_a_usual_pattern_is_taken_off_and_an_unusual_one_stays():
    statistics, sky, kept = night(40)
    glowing = kept[5][1].map.copy()
    glowing[2:6, 3:7] = np.minimum(glowing[2:6, 3:7].astype(int) + 20, 127)  # 0.4 sigma
    stepped = kept[9][0].row_steps.copy()
    stepped[10] += 2.0
    kept[5][1], kept[9][0] = replace(kept[5][1], map=glowing), replace(kept[9][0], row_steps=stepped)
    complete = with_static_patterns(statistics, sky, 1)
    assert complete.ccd_names == ("x", *NAMES)
    np.testing.assert_array_equal(complete.ccd_values[:, 0], 1.0)
    # As they are, the maps of CCD b have a glow of 0.3 to 1.2 sigma that is always there.
    raw = [background_map.glow(background_map.decoded(k.map))[0] for ccds in kept for k in ccds]
    assert sum(value > raw[11] for value in raw) > 5
    glow, row_step = complete.of_ccds("glow"), complete.of_ccds("row_step")
    assert np.argmax(glow) == 11
    assert glow[11] > 4 * np.median(glow)
    assert np.argmax(row_step) == 18
    assert row_step[18] > 3 * np.median(row_step)
    assert np.isfinite(complete.ccd_values).all()


def test_nothing_depends_on_the_order_of_the_exposures():
    statistics, sky, kept = night(30)
    order = np.random.default_rng(3).permutation(30)
    turned = made([kept[i] for i in order], [f"e{i}" for i in order])
    expected = with_static_patterns(statistics, sky, 1)
    found = with_static_patterns(turned, sky.reshape(-1, 2)[order].ravel(), 1)
    np.testing.assert_array_equal(found.ccd_values.reshape(30, 2, -1), expected.ccd_values.reshape(30, 2, -1)[order])
    chosen = [chosen_exposures(s, 1) for s in (statistics, turned)]
    prints = [static_pattern.pattern_fingerprint(s, c, 1) for s, c in zip((statistics, turned), chosen, strict=True)]
    assert prints[0] == prints[1]
    assert prints[0] != static_pattern.pattern_fingerprint(statistics, chosen[0], 2)


def test_fewer_than_20_exposures_have_no_pattern():
    statistics, sky, kept = night(19)
    asked = []
    complete = with_static_patterns(statistics, sky, 1, keep=lambda *given: asked.append(given))
    assert np.isnan(complete.ccd_values[:, 1:]).all()
    assert not asked
    # Enough exposures, but too few of one CCD, and one of another size.
    statistics, sky, kept = night(22)
    for i in (0, 1, 2):
        kept[i][1] = replace(kept[i][1], map=np.zeros((0, 0), np.int8))
    kept[3][0] = replace(kept[3][0], map=np.zeros((9, 15), np.int8))
    complete = with_static_patterns(statistics, sky, 1)
    is_b = np.array([name == "b" for name in statistics.ccds])
    assert np.isnan(complete.ccd_values[is_b, 1:]).all()
    has = np.isfinite(complete.ccd_values[~is_b, 1:]).all(axis=1)
    assert has.tolist() == [i != 3 for i in range(22)]


def test_values_that_were_kept_are_not_made_again():
    statistics, sky, kept = night(24)
    store = {}
    expected = with_static_patterns(
        statistics, sky, 1, keep=lambda print_, values: store.update({print_: dict(values)})
    )
    read = []
    counting = replace(statistics, patterns=lambda i: read.append(i) or kept[i])
    known = with_static_patterns(counting, sky, 1, lambda print_: store[print_])
    assert not read
    np.testing.assert_array_equal(known.ccd_values, expected.ccd_values)
    (fingerprint,) = store
    del store[fingerprint]["e7"]
    again = []
    found = with_static_patterns(
        counting, sky, 1, lambda print_: store[print_], lambda print_, values: again.append((print_, list(values)))
    )
    assert again == [(fingerprint, ["e7"])]
    np.testing.assert_array_equal(found.ccd_values, expected.ccd_values)


@pytest.mark.parametrize(("hidden", "known"), [(15, True), (16, False)])
def test_a_cell_with_fewer_than_10_values_has_no_pattern(hidden, known):
    statistics, sky, kept = night(25)
    for ccds in kept[:hidden]:
        cells = ccds[0].map.copy()
        cells[4, 4] = -128
        ccds[0] = replace(ccds[0], map=cells)
    found = static_pattern.static_patterns(statistics, sky, list(range(25)))
    assert np.isfinite(found["a"].map[4, 4]) == known
    assert np.isfinite(found["a"].map).sum() == found["a"].map.size - (not known)
    assert np.isfinite(found["b"].map).all()


def test_maps_of_20_exposures_are_like_those_of_many():
    """Sources hide a tenth of the cells of each exposure, others each time: a short night may not look odd by that.

    Less the median of 20 maps, among them its own, a map has noise that differs by a few percent from that of 120.
    """
    statistics, sky, kept = night(120)
    rng = np.random.default_rng(5)
    for ccds in kept:
        for i, ccd in enumerate(ccds):
            ccds[i] = replace(ccd, map=np.where(rng.random(SHAPE) < 0.1, -128, ccd.map).astype(np.int8))
    many = with_static_patterns(statistics, sky, 1)
    few = with_static_patterns(made(kept[:20], statistics.exposures[:20]), sky[:40], 1)
    for name in ("edge", "glow", "pattern_rms"):
        assert np.median(few.of_ccds(name)) == pytest.approx(np.median(many.of_ccds(name)), rel=0.15)
