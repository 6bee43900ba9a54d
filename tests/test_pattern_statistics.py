"""Statistics of patterns against answers known from theory: waves, steps, glows, rings, jitter, crosstalk, trails."""

from __future__ import annotations

import dataclasses
from functools import cache

import naive
import naive_statistics
import numpy as np
import pytest
from scipy import special
from steps.harness import DEFAULT, hand_made, stack_of

from gpuanom.backends.choice import select
from gpuanom.backends.pattern_layout import coarse_parts, fine_parts, map_shape, map_side, step_places
from gpuanom.records import Patterns, Turn
from gpuanom.statistics import background_map, crosstalk, lines, peaks, profiles, spectrum
from gpuanom.statistics.added_powers import add_powers

SHAPE = (1030, 1024)


@cache
def noise(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def measured(image, saturation=None) -> Patterns:
    """The patterns of one image whose sky is 0 and whose sigma is 1."""
    return all_measured(image, saturation)[0]


def all_measured(image, saturation=None):
    """The same with the sums of its rows and columns, and the bins for lines."""
    backend = select("cpu")
    level = None if saturation is None else [saturation]
    stack = stack_of(backend, [image], None, level)
    return backend.patterns(stack, hand_made(backend, 1), DEFAULT)


def profiles_of(image):
    """Jitter and steps of the rows and columns of one image."""
    return select("cpu").profiles(all_measured(image)[1])


def wave(period, angle, shape=SHAPE):
    """A sine wave whose stripes run along an angle, degrees from the x axis towards y."""
    y, x = np.indices(shape)
    across = np.radians(angle + 90)
    return np.sin(2 * np.pi * (x * np.cos(across) + y * np.sin(across)) / period)


def apart(one, other):
    """The difference of two angles of stripes, degrees."""
    return abs((one - other + 90) % 180 - 90)


WAVES = [
    *[(380, 30, 0.1), (300, 0, 0.1), (200, 80, 0.1), (160, 90, 0.1)],
    *[(120, 20, 0.1), (100, -45, 0.1), (80, 90, 0.1), (70, 0, 0.1), (40, -60, 0.05), (25, 0, 0.05), (24, 90, 0.05)],
    *[(20, 35, 0.05), (20, 90, 0.05), (10, 45, 0.05), (10, 0, 0.05), (6.3, 90, 0.05), (5, 0, 0.05), (5, 90, 0.05)],
    *[(3.5, 10, 0.05), (2.5, 45, 0.05), (2.5, 0, 0.05), (2.3, 88, 0.05)],
]


@pytest.mark.parametrize(("period", "angle", "height"), WAVES)
def test_a_wave_is_found_with_its_period_and_direction(period, angle, height):
    found = spectrum.spectra(measured(noise() + height * wave(period, angle)))
    power, periods, angles = spectrum.ccd_statistics(found)[0].reshape(3, 12)
    band = np.searchsorted(-np.array(spectrum.EDGES), -period) - 1
    # A wave of 0.05 sigma on 128 parts has 3 times the power of noise; noise itself reaches 1.5 in no band of parts.
    assert power[band] > 2
    # The peak is known to a tenth of a bin: 1/10 of 1024, 512 or 128 pixels.
    size = 2048 if period >= 150 else 512 if period >= 22 else 128
    bins = size / period
    assert periods[band] == pytest.approx(period, rel=(0.6 if period >= 150 else 0.15) / bins)
    assert apart(angles[band], angle) < np.degrees((0.6 if period >= 150 else 0.15) / bins)
    # Elsewhere there is noise: 49 independent parts of pixels, and 5 of means over 4 x 4 pixels.
    assert max(power[k] for k in range(6, 12) if abs(k - band) > 1) < 1.7
    assert max(power[k] for k in range(2, 6) if abs(k - band) > 1) < 4.5
    # One CCD is an exposure of one.
    of_exposure = spectrum.exposure_statistics([(found, [0])], [0])
    np.testing.assert_array_equal(of_exposure, spectrum.ccd_statistics(found)[0])


def test_noise_has_no_peaks():
    """The largest of n powers of K parts is at most what a Gamma distribution of shape K gives for 0.001 / n."""
    power = spectrum.ccd_statistics(spectrum.spectra(measured(noise())))[0, :12]
    for band, value in enumerate(power[2:], start=2):
        n = np.pi * (512 if band < 6 else 128) ** 2 / spectrum.EDGES[band + 1] ** 2
        k = 0.6 * 9 if band < 6 else 64
        # The level itself, a median of 60 powers, is known to 1/8 of their scatter.
        assert 1 < value < special.gammainccinv(k, 0.001 / n) / k * (1 + 0.5 / np.sqrt(k))


def test_rows_and_columns_that_jitter_are_no_stripes():
    """They have power along a whole axis, and through the window also one frequency beside it."""
    rng = np.random.default_rng(7)
    jitter = 0.4 * rng.standard_normal((SHAPE[0], 1)) + 0.4 * rng.standard_normal((1, SHAPE[1]))
    power = spectrum.ccd_statistics(spectrum.spectra(measured(noise() + jitter)))[0, :12]
    # Along an axis the powers of parts side by side are those of the same rows: 8 parts in place of 64.
    assert power[6:].max() < special.gammainccinv(8, 0.001 / 200) / 8 * 1.3


def test_an_exposures_sum_sees_what_no_ccd_sees():
    weak = [noise(seed=s) + 0.013 * wave(8, 20) for s in range(8)]
    found = [spectrum.spectra(measured(image)) for image in weak]
    each = np.concatenate([spectrum.ccd_statistics(of_ccd) for of_ccd in found]).reshape(8, 3, 12)[:, 0, 8]
    others = spectrum.exposure_statistics([(of_ccd, [0]) for of_ccd in found], [0] * 8).reshape(3, 12)
    assert others[0, 8] - 1 > 1.5 * np.median(others[0, 7:] - 1)
    assert others[1, 8] == pytest.approx(8, rel=0.02)
    assert apart(others[2, 8], 20) < 1.5
    assert np.median(each) < 2


@pytest.mark.parametrize("turn", list(Turn))
@pytest.mark.parametrize(("period", "angle"), [(200, 20), (60, 70), (9.5, -30)])
def test_angles_in_the_axes_of_the_focal_plane(turn, period, angle):
    """theta is -theta on a mirrored CCD, and then 90 degrees more on one turned by a quarter (METHOD.md 3)."""
    found = spectrum.spectra(measured(noise() + 0.2 * wave(period, angle)))
    band = np.searchsorted(-np.array(spectrum.EDGES), -period) - 1
    expected = (-angle if turn & Turn.MIRRORED else angle) + (90 if turn & Turn.QUARTER else 0)
    for power, periods, angles in (
        spectrum.ccd_statistics(found, [turn])[0].reshape(3, 12),
        spectrum.exposure_statistics([(found, [0])], [turn]).reshape(3, 12),
    ):
        assert power[band] > 5
        assert periods[band] == pytest.approx(period, rel=0.06)
        assert apart(angles[band], expected) < 3
        assert -90 < angles[band] <= 90


def test_turning_twice_by_a_mirror_changes_nothing():
    power = np.random.default_rng(2).random((1, 128, 65))[0]
    # The powers of a real image are equal at (ky, 0) and (-ky, 0), and at (ky, 64) and (-ky, 64).
    back = -np.arange(128) % 128
    for column in (0, 64):
        power[:, column] = power[:, column] + power[back, column]
    for turn in (Turn.MIRRORED, Turn.MIRRORED_QUARTER):
        once, twice = np.zeros_like(power), np.zeros_like(power)
        add_powers(power[np.newaxis], np.array([0]), np.array([int(turn)]), once)
        add_powers(once[np.newaxis], np.array([0]), np.array([int(turn)]), twice)
        np.testing.assert_array_equal(twice, power)
        assert not np.array_equal(once, power)


@pytest.mark.parametrize("k", [1, 2, 5, 49, 128])
def test_the_median_of_added_periodograms(k):
    """Against the Gamma distribution; the formula is good to 1% from K = 2 on."""
    assert peaks.median_share(np.array(float(k))) == pytest.approx(special.gammaincinv(k, 0.5) / k, rel=0.01)


@pytest.mark.parametrize("shape", [(64, 64), (130, 600), (700, 140), (256, 300)])
def test_small_ccds_lack_what_does_not_fit(shape):
    power = spectrum.ccd_statistics(spectrum.spectra(measured(noise(shape))))[0].reshape(3, 12)
    assert np.isnan(power[:, 2:6]).all() == (min(shape) < 512)
    assert np.isnan(power[:, 6:]).all() == (min(shape) < 128)
    assert np.isnan(power[:, :2]).all() == (min(map_shape(*shape)) < 8)


def test_a_ccd_without_background_has_no_statistics():
    backend = select("cpu")
    stack = stack_of(backend, [noise((600, 600))])
    found, sums, bins = backend.patterns(stack, hand_made(backend, 1, usable=[False]), DEFAULT)
    of_profiles = backend.profiles(sums)
    for values in (
        spectrum.ccd_statistics(spectrum.spectra(found)),
        background_map.ccd_statistics(found),
        profiles.ccd_statistics(of_profiles),
        crosstalk.ccd_statistics(found),
        of_profiles.row_steps,
        of_profiles.column_steps,
        background_map.maps(found),
        spectrum.exposure_statistics([(spectrum.spectra(found), [0])], [0]),
        spectrum.exposure_statistics([], []),
        lines.ccd_statistics(found_lines((found, sums, bins))),
    ):
        assert values.dtype == np.float32
        assert np.isnan(values).all()


def test_every_statistic_has_a_name_of_its_own():
    modules = (spectrum, background_map, profiles, crosstalk, lines)
    names = [s.name for module in modules for s in module.CCD_STATISTICS]
    assert len(set(names)) == len(names) == 36 + 3 + 2 + 2 + 2
    found = measured(noise((64, 64)))
    sizes = [spectrum.ccd_statistics(spectrum.spectra(found))]
    sizes.append(background_map.ccd_statistics(found))
    sizes += [profiles.ccd_statistics(profiles_of(noise((64, 64)))), crosstalk.ccd_statistics(found)]
    assert [s.shape[1] for s in sizes] == [len(m.CCD_STATISTICS) for m in modules[:4]]


# Maps


def bump(height, width, at, shape=SHAPE):
    y, x = np.indices(shape)
    return height * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * width**2))


def test_a_glow_is_the_largest_value_of_the_smoothed_map():
    plain = background_map.maps(measured(noise()))[0]
    glowing = background_map.maps(measured(noise() + bump(0.5, 150, (300, 900))))[0]
    assert background_map.glow(plain)[0] < 0.05
    height, rms = background_map.glow(glowing)
    # A Gaussian of 150 pixels smoothed by one of 48 is lower by a tenth.
    assert height == pytest.approx(0.5 / (1 + 0.32**2), abs=0.03)
    assert rms == pytest.approx(np.nanstd(glowing.astype(float)), rel=1e-6)
    assert background_map.glow(glowing, glowing - plain)[0] < 0.05
    # Cells without a value, and what lies beyond the CCD, take no part in the smoothing.
    few = np.full((9, 9), np.nan, np.float32)
    few[:3, :3] = 0.5
    assert background_map.glow(few)[0] == pytest.approx(0.5)
    assert background_map.edge(glowing) < 2 * background_map.edge(plain)


def test_a_ring_has_edges_and_hides_cells_where_it_is_bright():
    y, x = np.indices(SHAPE)
    ring = (np.abs(np.hypot(y - 500, x - 500) - 250) < 20).astype(float)
    plain = background_map.maps(measured(noise()))[0]
    faint = measured(noise() + 0.7 * ring)
    assert background_map.edge(background_map.maps(faint)[0]) > 5 * background_map.edge(plain)
    share, patch, rms = background_map.ccd_statistics(faint)[0]
    assert share < 0.01
    assert patch == 0
    assert rms > 0.1
    share, patch, _ = background_map.ccd_statistics(measured(noise() + 5 * ring))[0]
    # 250 pixels from the centre, 40 wide, and two cells of 4 pixels on either side.
    assert share == pytest.approx(2 * np.pi * 250 * (40 + 16) / (SHAPE[0] * SHAPE[1]), rel=0.1)
    assert patch > 0.03


def test_maps_are_stored_in_steps():
    values = np.array([[0.0, 0.021, -0.5], [9.0, -9.0, np.nan]], np.float32)
    stored = background_map.encoded(values)
    assert stored.tolist() == [[0, 1, -25], [127, -127, -128]]
    np.testing.assert_allclose(background_map.decoded(stored), [[0, 0.02, -0.5], [2.54, -2.54, np.nan]], atol=1e-6)


def test_maps_without_values():
    nothing = np.full((20, 20), np.nan, np.float32)
    assert np.isnan(background_map.glow(nothing)).all()
    assert np.isnan(background_map.edge(nothing))


# Profiles


def test_the_jitter_of_rows_is_its_variance():
    jitter = 0.1 * np.random.default_rng(3).standard_normal(SHAPE[0])
    rows, columns = profiles.ccd_statistics(profiles_of(noise() + jitter[:, None]))[0]
    # A row of 1024 pixels of 1 sigma has a variance of 1/1024; clipping at 3.5 and 4 sigma takes off 1%.
    assert rows == pytest.approx(1 + 1024 * jitter.var(), rel=0.1)
    assert columns == pytest.approx(1, abs=0.15)
    rows, columns = profiles.ccd_statistics(profiles_of(np.ascontiguousarray((noise() + jitter[:, None]).T)))[0]
    assert columns == pytest.approx(1 + 1024 * jitter.var(), rel=0.1)
    assert rows == pytest.approx(1, abs=0.15)


def test_a_slow_slope_and_single_odd_rows_are_no_jitter():
    image = noise() + np.linspace(-1, 1, SHAPE[0])[:, None] ** 2
    image[100], image[700] = 3, -3
    assert profiles.ccd_statistics(profiles_of(image))[0, 0] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("place", "index"), [(512, 29), (80, 2), (48, 0)])
def test_a_step_has_its_height_and_place(place, index):
    image = noise().copy()
    image[:, place:] += 0.2
    found = profiles_of(image)
    rows, columns = found.row_steps, found.column_steps
    assert step_places(SHAPE[1])[index] == place
    height, at = profiles.largest_step(columns[0], scale=1.0)
    assert at == index
    # In units of the noise of a difference of two means of 48 columns of 1030 pixels.
    expected = 0.2 / np.sqrt(2 / (48 * SHAPE[0]))
    assert height == pytest.approx(expected, abs=4)
    assert profiles.largest_step(columns[0])[0] == pytest.approx(height / profiles.step_scale([columns[0]]))
    assert profiles.largest_step(rows[0], scale=1.0)[0] < 4.5
    static = profiles.largest_step(columns[0], columns[0], scale=1.0)
    assert static[0] == 0


def test_steps_of_noise_have_the_scale_of_noise():
    """Of white noise the median step is 0.67 standard deviations, and the scale at least 0.7."""
    found = profiles_of(noise())
    rows, columns = found.row_steps, found.column_steps
    assert profiles.step_scale([rows[0], columns[0]]) == pytest.approx(0.7, abs=0.15)
    assert profiles.step_scale([]) == 0.7
    height, index = profiles.largest_step(np.full(5, np.nan, np.float32))
    assert (np.isnan(height), index) == (True, -1)


def test_running_medians_leave_out_what_is_missing():
    values = np.random.default_rng(4).standard_normal((2, 200))
    values[0, 50:60], values[1] = np.nan, np.nan
    found = naive_statistics.running_median(values)
    for place in (15, 95, 183):
        if (place - 15) % 8 == 0:
            window = values[0, place - 15 : place + 16]
            assert found[0, place] == naive.median([v for v in window if np.isfinite(v)])
    assert np.isnan(found[1]).all()


# Crosstalk


def test_crosstalk_is_the_mean_at_the_mirrored_place():
    image = noise((400, 500), seed=5).copy()
    image[100:110, 80:90] = 9000
    image[100:110, 410:420] += 0.5
    image[300:310, 80:90] = 900  # below a tenth of saturation
    image[300:310, 410:420] += 3
    found = measured(image, saturation=60000.0)
    value = crosstalk.ccd_statistics(found)[0, 0]
    mirrored = image[100:110, 410:420]
    assert found.crosstalk_count[0] == 100
    # Residuals are rounded to 2^-12 sigma.
    assert value == pytest.approx(np.clip(mirrored, -3.5, 3.5).mean(), abs=1e-4)
    parts = crosstalk.parts_of_ccds(found)
    np.testing.assert_array_equal(
        crosstalk.exposure_statistics(np.concatenate([parts, 0 * parts])), crosstalk.ccd_statistics(found)[0]
    )
    assert np.isnan(crosstalk.ccd_statistics(measured(image))).all()
    few = dataclasses.replace(found, crosstalk_count=np.array([19]))
    assert np.isnan(crosstalk.ccd_statistics(few)).all()


def test_ghosts_that_pass_for_sources_are_crosstalk():
    """The mean leaves masked places out, and so would say nothing of strong crosstalk."""
    image = noise((400, 500), seed=5).copy()
    image[100:120, 80:100] = 9000
    none = crosstalk.ccd_statistics(measured(image, saturation=60000.0))[0, 1]
    image[100:120, 400:420] += 50
    found = measured(image, saturation=60000.0)
    mean, masked = crosstalk.ccd_statistics(found)[0]
    assert np.isnan(mean)
    assert found.crosstalk_masked[0] == 400
    assert -1 < none < 0
    assert masked > 18


def test_masked_places_are_compared_with_the_masked_share_of_ccds_that_have_places():
    parts = np.array([[0, 300, 100, 900_000, 1_000_000], [0, 0, 0, 100_000, 1_000_000]])
    share = 0.25
    expected = 100_001 / 1_000_002 / (1.0 + share)
    deviance = share * np.log(share / expected) + (1.0 - share) * np.log((1.0 - share) / (1.0 - expected))
    # The value is a float32.
    assert crosstalk.exposure_statistics(parts)[1] == pytest.approx(400 / 25 * deviance, rel=1e-6)
    parts[0, 1:3] = 400, 0
    assert crosstalk.exposure_statistics(parts)[1] < 0


def test_a_star_in_the_middle_is_not_its_own_ghost():
    image = noise((400, 500), seed=5).copy()
    image[100:120, 240:260] = 9000
    found = measured(image, saturation=60000.0)
    assert found.crosstalk_masked[0] == 0
    assert np.isnan(crosstalk.ccd_statistics(found)).all()


# Lines


def trail(angle, distance, width=1.5, shape=SHAPE):
    """A straight line of height 1, so many pixels from the CCD's centre."""
    y, x = np.indices(shape)
    along = np.radians(angle)
    across = (y - (shape[0] - 1) / 2) * np.cos(along) - (x - (shape[1] - 1) / 2) * np.sin(along) - distance
    return np.exp(-(across**2) / (2 * width**2))


def found_lines(of_image):
    """The line of each CCD that stands out most: height, angle, distance, share of positive segments."""
    patterns, _, bins = of_image
    return lines.find(select("cpu").lines(bins), *patterns.shape)


@pytest.mark.parametrize(("angle", "distance"), [(30, 100), (-60, -200), (75, 50), (10, 0), (-5, 300), (45, -350)])
def test_a_trail_is_found_with_its_angle_and_place(angle, distance):
    found = found_lines(all_measured(noise() + 0.7 * trail(angle, distance)))[0]
    # A trail of 0.7 x 3.8 pixels gives each of the 50 to 64 bins of 16 pixels 2.6 sigma.
    assert found[0] > 10
    assert apart(np.degrees(found[1]), angle) < 1.5
    # A line is known to half a bin where it is nearest to the centre.
    assert found[2] == pytest.approx(distance, abs=12)
    assert found[3] > 0.8
    streak = lines.ccd_statistics(found[None])[0]
    assert streak == pytest.approx([found[0], np.degrees(found[1])], rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_noise_stars_glows_and_bad_columns_are_no_trails(seed):
    image = noise(seed=seed) + bump(2.0, 200, (300, 700))
    rng = np.random.default_rng(seed)
    for _ in range(60):
        y, x = rng.integers(10, 1000, 2)
        image[y - 9 : y + 10, x - 9 : x + 10] += 40 * np.exp(-(np.hypot(*np.mgrid[-9:10, -9:10]) ** 2) / 8)
    image[:, 400] += 3
    assert found_lines(all_measured(image))[0, 0] < 6


def test_a_trail_on_one_ccd_makes_weaker_ones_count():
    """Heights, angles, distances and shares as `find` gives them."""
    weak = np.array([[7.0, 0.5, 0.0, 0.9], [7.0, 0.5, 0.0, 0.6], [5.0, 0.5, 0.0, 1.0], [np.nan] * 4])
    alone = lines.ccd_statistics(weak)
    np.testing.assert_array_equal(alone, [[0, np.nan]] * 3 + [[np.nan, np.nan]])
    beside = lines.ccd_statistics(np.concatenate([weak, [[9.0, -0.5, 0.0, 0.9]]]), [0, 0, 0, 0, Turn.MIRRORED])
    np.testing.assert_array_equal(beside[:, 0], np.array([7, 0, 0, np.nan, 9], np.float32))
    assert beside[0, 1] == beside[4, 1] == pytest.approx(np.degrees(0.5))


def test_lines_that_agree_on_two_ccds_are_a_trail():
    """Each alone is too weak; angles are compared in the axes of the focal plane."""
    weak = np.array([[7.0, 0.5, 0.0, 0.9], [6.5, 0.54, 100.0, 0.85], [7.5, 0.8, 0.0, 1.0], [7.5, 0.5, 0.0, 0.5]])
    assert list(lines.ccd_statistics(weak)[:, 0] > 0) == [True, True, False, False]
    turned = lines.ccd_statistics(weak, [0, Turn.MIRRORED, 0, 0])
    assert list(turned[:, 0] > 0) == [False] * 4
    weak[1, 1] = -0.5
    assert list(lines.ccd_statistics(weak, [0, Turn.MIRRORED, 0, 0])[:, 0] > 0) == [True, True, False, False]


def test_lines_of_many_directions_are_an_arc():
    arc = np.array([[20.0, angle, 0.0, 1.0] for angle in (0.0, 0.4, 0.8, 1.2)])
    assert not lines.ccd_statistics(arc)[:, 0].any()
    # Three parts of one trail, and another trail that crosses one CCD: no line agrees with that one.
    both = np.array([[20.0, angle, 0.0, 1.0] for angle in (0.0, 0.1, 0.05, 1.2)])
    assert list(lines.ccd_statistics(both)[:, 0] > 0) == [True] * 4


@pytest.mark.parametrize("height", [0.5, 1.5])
def test_a_faint_trail_is_found_where_stars_are_masked(height):
    """Stars hide it from the search that leaves sources in; stripes of its own profile are no trail."""
    image, rng = noise(seed=3).copy(), np.random.default_rng(3)
    for y, x in rng.integers(10, 1000, (400, 2)):
        image[y - 9 : y + 10, x - 9 : x + 10] += 40 * np.exp(-(np.hypot(*np.mgrid[-9:10, -9:10]) ** 2) / 8)
    assert found_lines(all_measured(image))[0, 0] < lines.WEAK
    found = found_lines(all_measured(image + height * trail(25, 60)))
    # 0.5 x 3.8 pixels give each of some 70 bins of 16 pixels 1.9 sigma, or half of it where two bins share the trail.
    assert lines.streaks(found).all()
    assert apart(np.degrees(found[0, 1]), 25) < 1
    several = sum(trail(25, distance) for distance in range(-420, 500, 120))
    assert found_lines(all_measured(image + height * several))[0, 0] < lines.STRONG


@pytest.mark.parametrize("angle", [0, 1, 20, 90])
@pytest.mark.parametrize("height", [0.3, 1.0])
def test_a_step_is_no_trail(angle, height):
    y, x = np.indices(SHAPE)
    step = height * ((y - 500) * np.cos(np.radians(angle)) > (x - 520) * np.sin(np.radians(angle)))
    assert not lines.streaks(found_lines(all_measured(noise() + step))).any()


@pytest.mark.parametrize(("shape", "height"), [((512, 512), 1.0), ((512, 512), 3.0), (SHAPE, 1.0)])
def test_a_step_of_which_the_background_took_its_part_is_no_trail(shape, height):
    """The slope that is fitted to a step leaves a line on the bright side, and a dark one beside that."""
    x = np.arange(shape[1])
    step = height * (x >= shape[1] / 2)
    left = step - np.polyval(np.polyfit(x, step, 1), x)
    found = found_lines(all_measured(noise(shape) + left))
    assert not lines.streaks(found).any()
    # The highest line is that one, and nothing lower is taken in its place.
    assert found[0, 0] < lines.STRONG


@pytest.mark.parametrize("radius", [150, 300])
def test_a_ring_is_no_trail(radius):
    y, x = np.indices(SHAPE)
    ring = np.exp(-((np.hypot(y - 500, x - 520) - radius) ** 2) / 32)
    assert not lines.streaks(found_lines(all_measured(noise() + 0.5 * ring))).any()


# Layout


@pytest.mark.parametrize(
    ("shape", "side"), [((64, 64), 32), ((2046, 4094), 64), ((1440, 1440), 32), ((9216, 9232), 224)]
)
def test_maps_have_at_most_2048_cells(shape, side):
    assert map_side(*shape) == side
    assert np.prod(map_shape(*shape)) <= 2048


@pytest.mark.parametrize("shape", [(127, 500), (128, 128), (515, 642), (2046, 4094), (4094, 2046), (9232, 9216)])
def test_parts_lie_on_the_ccd(shape):
    fine, coarse = fine_parts(*shape), coarse_parts(*shape)
    assert len(fine) <= 128
    assert len(fine) == min(128, (shape[0] // 128) * (shape[1] // 128))
    for places, size in ((fine, shape), (coarse, (shape[0] // 4, shape[1] // 4))):
        if len(places):
            assert places.min() >= 0
            assert np.all(places.max(axis=0) <= np.array(size) - 128)
            assert len({tuple(place) for place in places.tolist()}) == len(places)
    # Parts of pixels do not overlap.
    for y, x in fine.tolist():
        near = np.all(np.abs(fine - (y, x)) < 128, axis=1)
        assert near.sum() == 1


def test_maps_without_values_have_no_powers():
    """Also where no CCD of a stack has a map; beside other CCDs the powers of these do not change."""
    nothing = np.full((1, 20, 20), np.nan, np.float32)
    some = np.random.default_rng(3).normal(size=(1, 20, 20)).astype(np.float32)
    assert not spectrum.map_powers(nothing).any()
    both = spectrum.map_powers(np.concatenate([nothing, some, nothing]))
    np.testing.assert_array_equal(both[1], spectrum.map_powers(some)[0])
    assert not both[[0, 2]].any()
