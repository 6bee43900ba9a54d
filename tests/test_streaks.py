"""A satellite's trail is found, and the pixels that it may cover are left out of the patterns of the background."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from steps.harness import DEFAULT, hand_made, stack_of

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.measuring.ccd_statistics import StatisticArrays
from gpuanom.measuring.streaks import without_streaks
from gpuanom.statistics import lines, spectrum
from gpuanom.statistics.listed import NAMES
from tests import device

SHAPE = (420, 460)
QUICK = gpuanom.Settings(gradient_points=300, sigma_points=2000, background_points=2000)
NAMED = {name: NAMES.ccds.index(name) for name in ("streak", "map_rms", "masked_share", "row_jitter")}


def across(angle, distance, shape=SHAPE):
    """How far each pixel is from a line, which lies so many pixels from the CCD's centre; angle in degrees."""
    y, x = np.indices(shape)
    along = np.radians(angle)
    return (y - (shape[0] - 1) / 2) * np.cos(along) - (x - (shape[1] - 1) / 2) * np.sin(along) - distance


def sky(seed, trail=None):
    """A CCD of noise 3 about a sky of 200 with faint stars, and a trail of 4 sigma."""
    rng = np.random.default_rng(seed)
    image = 200 + 3 * rng.standard_normal(SHAPE)
    for y, x in rng.uniform(20, 400, (40, 2)):
        image += 40 * np.exp(-(np.hypot(*(np.indices(SHAPE) - np.array([y, x])[:, None, None])) ** 2) / 8)
    if trail is not None:
        image += 12 * np.exp(-(across(*trail) ** 2) / 8)
    return image.astype(np.float32)


@cache
def measured(trails, backend="cpu"):
    """An exposure with a CCD for each of the trails, None for none."""
    ccds = [gpuanom.Ccd(f"N{i + 1}", sky(i, trail)) for i, trail in enumerate(trails)]
    for ccd in ccds:
        ccd.image.setflags(write=False)
    return gpuanom.measure(ccds, QUICK, backend, exposure="1", camera="C", band="r")


def values(record, name):
    return np.array([ccd.statistics.values[NAMED[name]] for ccd in record.ccds])


@pytest.mark.parametrize(("angle", "distance"), [(30, 50), (-60, -120), (75, 0), (-5, 180), (45, -300)])
@pytest.mark.parametrize("shape", [SHAPE, (900, 300), (4094, 2046)])
def test_the_covered_pixels_are_those_near_the_line(angle, distance, shape):
    covered = lines.covered(np.array([9.0, np.radians(angle), distance, 1.0]), *shape)
    away = np.abs(across(angle, distance, shape))
    half = (8 if shape[0] < 2000 else 32) + lines.WINGS
    # Rows begin and end at whole pixels, half a pixel from the band's edges at most, measured along the row.
    assert covered[away < half - 1].all()
    assert not covered[away > half + 1].any()


TRAILS = (None, (30, 20), None)


def test_a_trail_is_named_and_does_not_raise_the_other_statistics():
    plain, crossed = measured((None,) * 3), measured(TRAILS)
    assert list(values(crossed, "streak") > 0) == [False, True, False]
    assert values(plain, "streak").max() == 0
    for name in ("map_rms", "masked_share", "row_jitter"):
        here, before = values(crossed, name), values(plain, name)
        assert (here[[0, 2]] == before[[0, 2]]).all()
        # A ninth of the CCD is left out, and the rest of the noise is the same. With the trail, the map's rms doubles.
        assert here[1] == pytest.approx(before[1], rel=0.2), name


# The last one crosses a corner: 163 pixels of it lie on the CCD.
@pytest.mark.parametrize(("angle", "distance"), [(-84, -87), (5, -60), (63, 0), (45, -100)])
def test_a_bright_trail_is_found_on_a_small_ccd(angle, distance):
    """On CCDs of 256 x 256 pixels, where the mask of sources hides a trail from what looks for faint ones."""
    shape = (256, 256)
    noise = np.random.default_rng(3).standard_normal(shape)
    trail = 14 * np.exp(-(across(angle, distance, shape) ** 2) / 10)
    images = [(200 + 3 * (noise + light)).astype(np.float32) for light in (0.0, trail)]
    record = gpuanom.measure(
        [gpuanom.Ccd(f"N{i + 1}", image) for i, image in enumerate(images)], QUICK, exposure="1", camera="C", band="r"
    )
    assert list(values(record, "streak") > 0) == [False, True]
    # It lifts no other statistic either: unmasked, the trail makes the row jitter three times as large.
    jitter = values(record, "row_jitter")
    assert jitter[1] == pytest.approx(jitter[0], rel=0.5)


def test_a_ccd_with_a_trail_takes_no_part_in_the_spectrum_of_its_exposure():
    crossed, others = measured(TRAILS), measured((None,) * 3)
    without = gpuanom.measure(
        [gpuanom.Ccd(name, sky(i)) for i, name in ((0, "N1"), (2, "N3"))], QUICK, exposure="1", camera="C", band="r"
    )
    powers = [i for i, name in enumerate(NAMES.exposures) if name.startswith("stripe_")]
    assert powers
    np.testing.assert_array_equal(crossed.statistics.values[powers], without.statistics.values[powers])
    assert (crossed.statistics.values[powers] != others.statistics.values[powers]).any()


def test_where_each_ccd_has_a_trail_the_spectrum_is_that_of_all():
    record = measured(((30, 20), (30, 90)))
    assert (values(record, "streak") > 0).all()
    powers = [i for i, name in enumerate(NAMES.exposures) if name.startswith("stripe_power")]
    # A trail that is not left out gives stripes of over 100 times their surroundings.
    assert np.nanmax(record.statistics.values[powers]) < 30


def test_the_masked_band_is_no_dark_stripe():
    """Where faint sources lift the residual, the band is raised to the mean of the rest."""
    backend = select("cpu")
    noise = 0.3 + np.random.default_rng(8).standard_normal((1030, 1024)).astype(np.float32)
    crossed = noise + 2 * np.exp(-(across(30, 40, noise.shape) ** 2) / 8).astype(np.float32)
    powers, cells, jitter = [], [], []
    for image in (noise, crossed):
        stack, background = stack_of(backend, [image], None, None), hand_made(backend, 1)
        patterns, sums, bins = backend.patterns(stack, background, DEFAULT)
        arrays = StatisticArrays(patterns, None, None, None, None, backend.profiles(sums), backend.lines(bins))
        left = without_streaks(arrays, stack, background, DEFAULT, backend)
        powers.append(spectrum.ccd_statistics(spectrum.spectra(left.patterns))[0, :12])
        cells.append(left.patterns.map_sum[0] / np.maximum(left.patterns.map_count[0], 1))
        jitter.append(left.profiles.row_jitter[0])
    # The peaks are those of noise; a band that is 0.3 sigma too dark has a higher one than any of them.
    assert np.nanmax(powers[1]) < 2 * np.nanmax(powers[0])
    # Sums count the residual over the background itself, not over the raised one: 0.3 sigma in steps of 2^-12.
    assert np.median(cells[1]) == pytest.approx(np.median(cells[0]), abs=0.01 * 4096)
    # The trail, of 2 sigma, would add a tenth to the variance of rows of some 1000 pixels.
    assert jitter[1] == pytest.approx(jitter[0], rel=0.03)


def test_both_backends_leave_the_same_pixels_out():
    expected = measured(TRAILS)
    with device.installed():
        found = measured(TRAILS, "0")
    np.testing.assert_array_equal(found.statistics.values, expected.statistics.values)
    for ours, theirs in zip(found.ccds, expected.ccds, strict=True):
        for field in dataclasses.fields(ours.statistics):
            np.testing.assert_array_equal(getattr(ours.statistics, field.name), getattr(theirs.statistics, field.name))
