"""The anomalies, one by one: each changes only what it describes, by the stated amount, and keeps the noise right."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from gpuanom.errors import SettingsError
from gpuanom.simulate import INJECTORS, Anomaly, CcdPlace, inject, parse
from gpuanom.simulate.injection import act_on_scene, sky_of
from gpuanom.simulate.injectors import complete, shows
from gpuanom.simulate.optics import convolved, convolved_image, kernel

PLACE = CcdPlace((128, 192), (-96.0, -64.0), 96.0)
BESIDE = CcdPlace((128, 192), (200.0, 140.0), 400.0)
"""Off the field's centre, where what grows outward is to be seen."""
SPREADING = [name for name, i in INJECTORS.items() if i.spread]


def frozen(array):
    array = np.array(array, dtype=np.float64)
    array.setflags(write=False)
    return array


def stars(place=PLACE, n=12, seed=1, fwhm=4.0):
    rng = np.random.default_rng(seed)
    ny, nx = place.shape
    y, x = np.mgrid[:ny, :nx]
    light = np.zeros(place.shape)
    for cy, cx in zip(rng.uniform(30, ny - 30, n), rng.uniform(30, nx - 30, n), strict=True):
        light += 5000 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / (fwhm / 2.355) ** 2)
    return frozen(light)


def anomaly(name, amplitude=None, direction=30.0, **more):
    injector = INJECTORS[name]
    along = direction if injector.directed else math.nan
    return Anomaly(injector.kind, name, injector.default if amplitude is None else amplitude, along, seed=5, **more)


@pytest.mark.parametrize("name", INJECTORS)
def test_every_anomaly_is_a_pure_function_that_changes_something(name):
    sky, light = frozen(np.full(PLACE.shape, 900.0)), stars()
    image = frozen(sky + light + np.random.default_rng(2).normal(0, 30, PLACE.shape))
    once = act_on_scene(sky, light, anomaly(name), PLACE, noise=30.0, fwhm=4.0)
    again = act_on_scene(sky, light, anomaly(name), PLACE, noise=30.0, fwhm=4.0)
    assert np.array_equal(once, again)
    assert np.isfinite(once).all()
    assert not np.array_equal(once[0] + once[1], sky + light)
    real = [inject(image, anomaly(name), PLACE, fwhm=4.0, rng=np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*real)
    assert real[0].shape == image.shape
    assert np.isfinite(real[0]).all()
    assert not np.array_equal(real[0], image)


@pytest.mark.parametrize("name", INJECTORS)
def test_no_anomaly_no_change(name):
    """The weakest strength changes next to nothing, since every strength starts from 0."""
    sky, light = frozen(np.full(PLACE.shape, 900.0)), stars()
    weak = anomaly(name, 1e-9)
    sky2, light2 = act_on_scene(sky, light, weak, PLACE, noise=30.0, fwhm=4.0)
    # A kernel without extent is exactly one pixel; the rounding of the FFT is 1e-12 of the brightest pixel.
    np.testing.assert_allclose(sky2 + light2, sky + light, atol=0.1)


@pytest.mark.parametrize("name", SPREADING)
def test_kernels_keep_light_and_place(name):
    place = BESIDE if INJECTORS[name].varies else PLACE
    spread = kernel(INJECTORS[name].spread(complete(anomaly(name)), place, 4.0))
    reach = spread.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    assert spread.min() >= 0
    # Sums of a few thousand terms of float64.
    assert spread.sum() == pytest.approx(1, abs=1e-12)
    assert (spread * x).sum() == pytest.approx(0, abs=1e-10)
    assert (spread * y).sum() == pytest.approx(0, abs=1e-10)
    if INJECTORS[name].directed:
        angle = 0.5 * math.atan2(2 * (spread * x * y).sum(), (spread * (x * x - y * y)).sum())
        # The zigzag of `multiple` deviates by a few degrees; the distribution of points over pixels rounds by less.
        assert abs(math.degrees(angle) - 30) < (12 if name == "multiple" else 2)


def test_astigmatism_is_radial_and_grows_outward():
    def shape(corner):
        spread = kernel(INJECTORS["astigmatism"].spread(anomaly("astigmatism"), CcdPlace((64, 64), corner, 500.0), 4.0))
        reach = spread.shape[0] // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        return 0.5 * math.atan2(2 * (spread * x * y).sum(), (spread * (x * x - y * y)).sum()), (spread * x * x).sum()

    right, wide = shape((400.0, -32.0))
    top, _ = shape((-32.0, 400.0))
    _, narrow = shape((-32.0, -32.0))
    assert abs(right) < 0.05
    assert abs(abs(top) - math.pi / 2) < 0.05
    assert wide > narrow + 0.3


def second_moments(spread):
    """(xx, yy, xy) of a kernel, in square pixels."""
    reach = spread.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (spread * x * x).sum(), (spread * y * y).sum(), (spread * x * y).sum()


def test_a_tilt_turns_the_elongation_at_the_field_s_centre_and_grows_outward():
    def at(x):
        place = CcdPlace((64, 64), (x - 31.5, -31.5), 500.0)
        return second_moments(kernel(INJECTORS["tilt"].spread(anomaly("tilt", direction=0.0), place, 4.0)))

    left, middle, half, right = at(-400.0), at(0.0), at(200.0), at(400.0)
    assert right[0] > half[0] + 0.3 > middle[0] + 0.6
    assert left[1] == pytest.approx(right[0], rel=0.01)  # the same line, turned by 90 degrees
    # Sums of some hundred terms of float64.
    assert max(right[1], left[0], middle[0]) < 1e-12
    ratio = (1 + 0.3 * 0.8) / (1 - 0.3 * 0.8)
    # 64 quantiles of the Gaussian line lack 2% of its variance; dealing points to pixels adds up to 1/6 pixel^2.
    assert right[0] == pytest.approx((4 / 2.355) ** 2 * (ratio**2 - 1), rel=0.05)


@pytest.mark.parametrize("separation", [20.0, 41.5, 100.0])
def test_repeated_images_are_as_far_apart_as_stated(separation):
    its = anomaly("repeats", 0.3, direction=90.0, size=separation)
    spread = kernel(INJECTORS["repeats"].spread(its, PLACE, 4.0)).sum(axis=1)
    y = np.arange(spread.size) - spread.size // 2
    second = y > 0
    assert spread[second].sum() == pytest.approx(0.3, abs=1e-12)
    apart = np.average(y[second], weights=spread[second]) - np.average(y[~second], weights=spread[~second])
    assert apart == pytest.approx(separation, abs=1e-9)


def test_what_an_amplifier_does_ends_at_the_ccd_s_middle_column():
    for name in ("amplifier", "dead"):
        injector = INJECTORS[name]
        halves = set()
        for seed in range(8):
            shape = (injector.pattern or injector.shade)(dataclasses.replace(anomaly(name), seed=seed), PLACE)
            assert np.array_equal(shape, np.broadcast_to(shape[0], PLACE.shape))
            assert sorted((shape[0, :96].mean(), shape[0, 96:].mean())) == [0, 1]
            halves.add(shape[0, 0])
        assert halves == {0, 1}
    sky, light = frozen(np.full(PLACE.shape, 900.0)), stars()
    dark = act_on_scene(sky, light, dataclasses.replace(anomaly("dead"), shown=(0,)), PLACE, noise=30.0, fwhm=4.0)
    assert sorted((sum(dark)[:, :96].min(), sum(dark)[:, 96:].min())) == [0, 900]


def test_rows_have_levels_of_their_own():
    levels = INJECTORS["jitter"].pattern(anomaly("jitter"), CcdPlace((4000, 8), (0.0, 0.0), 2000.0))
    assert (levels == levels[:, :1]).all()
    # 4000 draws settle a standard deviation to 1.1% and a correlation to 0.016.
    assert levels[:, 0].std() == pytest.approx(1, rel=0.05)
    assert abs(correlation(levels, 1, 0)) < 0.06


@pytest.mark.parametrize("period", [6.0, 8.0, 20.0])
def test_a_herringbone_pattern_has_two_directions_and_one_period(period):
    its = anomaly("herringbone", size=period)
    pattern = INJECTORS["herringbone"].pattern(its, CcdPlace((512, 512), (0.0, 0.0), 256.0))
    power = np.abs(np.fft.rfft2(pattern)) ** 2
    fy, fx = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None, :]
    for sign in (1, -1):
        half = np.where(sign * fy > 0, power, 0)
        y, x = np.unravel_index(np.argmax(half), half.shape)
        # Turning every 64 rows spreads a direction over 1/64 in fy: 0.008 about its middle.
        at = sign * math.sin(math.radians(30)) / period, math.cos(math.radians(30)) / period
        assert (fy[y, 0], fx[0, x]) == pytest.approx(at, abs=0.009)


def test_tree_rings_have_their_period_at_the_middle_and_are_finer_further_out():
    """The local period from the mean square of the slope, which is half of (2 pi / period)^2 for a sine wave."""
    its = anomaly("treerings", size=24.0)
    for number in range(4):
        pattern = INJECTORS["treerings"].pattern(its, CcdPlace((768, 768), (0.0, 0.0), 384.0, number, 4))
        slope = sum(d**2 for d in np.gradient(pattern))
        parts = slope.reshape(8, 96, 8, 96).mean(axis=(1, 3))
        periods = 2 * math.pi / np.sqrt(2 * parts)
        # Differences over two pixels lose 1% of the slope, and 96 pixels are no whole number of periods.
        assert periods[3:5, 3:5].mean() == pytest.approx(24, rel=0.08)
        assert periods.min() < 18
        assert periods.max() > 40


def test_a_ghost_is_a_disc_with_a_sharp_edge_and_a_hole():
    its = anomaly("ghost", size=40.0)
    disc = INJECTORS["ghost"].pattern(its, CcdPlace((256, 256), (0.0, 0.0), 128.0))
    # The edges' scale is a pixel: areas are those of circles of 40 and 14 pixels to a few per cent.
    assert disc.sum() == pytest.approx(math.pi * (40**2 - 14**2), rel=0.03)
    assert disc.max() > 0.99
    assert np.abs(np.diff(disc, axis=1)).max() > 0.2


def test_crosstalk_mirrors_the_sources_up_to_saturation():
    sky, light = frozen(np.full(PLACE.shape, 900.0)), frozen(np.zeros(PLACE.shape))
    light = np.array(light)
    light[20, 30], light[40, 50] = 10_000, 1e6
    _, after = act_on_scene(sky, frozen(light), anomaly("crosstalk", 0.01), PLACE, noise=30.0, fwhm=4.0)
    assert after[20, 191 - 30] == 100
    assert after[40, 191 - 50] == 600
    assert after.sum() == light.sum() + 700


def test_a_bright_sky_has_its_shot_noise():
    image = frozen(np.random.default_rng(1).normal(400, 20, (512, 512)))
    after = inject(image, anomaly("moonlight", 3.0), CcdPlace((512, 512), (-256, -256), 256.0), fwhm=4.0,
                   rng=np.random.default_rng(2))  # fmt: skip
    # Four times the light has twice the noise; the sky's map, from medians of boxes, adds next to none.
    assert np.median(after) == pytest.approx(1600, abs=1)
    assert after.std() == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize("shear", [0.1, 0.25])
def test_a_shear_gives_round_stars_its_axis_ratio(shear):
    y, x = np.mgrid[-40:41, -40:41]
    star = np.exp(-0.5 * (x**2 + y**2) / (4 / 2.355) ** 2)
    added_anomaly = anomaly("elongation", shear, direction=0.0)
    spread = convolved(star, kernel(INJECTORS["elongation"].spread(added_anomaly, PLACE, 4.0)))
    ratio = math.sqrt((spread * y * y).sum() / (spread * x * x).sum())
    # 64 quantiles of the Gaussian line lack the outermost tails, which hold 2% of its variance.
    assert ratio == pytest.approx((1 - shear) / (1 + shear), rel=0.03)


def correlation(noise, dy, dx):
    ny, nx = noise.shape
    return float(np.mean(noise[dy:, dx:] * noise[: ny - dy, : nx - dx]) / noise.var())


@pytest.mark.parametrize("name", SPREADING)
def test_convolved_noise_is_white_and_as_strong_as_before(name):
    image = np.random.default_rng(1).normal(500, 20, (512, 512))
    place = BESIDE if INJECTORS[name].varies else PLACE
    spread = kernel(INJECTORS[name].spread(complete(anomaly(name)), place, 4.0))
    result = convolved_image(image, spread, 20.0, np.random.default_rng(2)) - 500
    # 262,144 pixels: the standard deviation scatters by 0.14%, correlations by 0.002.
    assert result.std() == pytest.approx(20, rel=0.01)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 4), (4, 2)):
        assert abs(correlation(result, dy, dx)) < 0.01
    # Without the new noise, the noise would be correlated along the kernel: the test can see the difference.
    bare = convolved(image - 500, spread)[40:-40, 40:-40]
    assert max(correlation(bare, 0, 1), correlation(bare, 1, 0), bare.std() < 18) > 0.01


@pytest.mark.parametrize(("name", "amplitude"), [("clouds", 0.7), ("shadow", 0.5), ("stripes", 1e-3), ("trails", 0.1)])
def test_the_noise_of_the_sky_is_kept(name, amplitude):
    image = np.random.default_rng(1).normal(400, 20, (512, 512))
    result = inject(image, anomaly(name, amplitude), CcdPlace((512, 512), (-256, -256), 256.0), fwhm=4.0,
                    rng=np.random.default_rng(2))  # fmt: skip
    local = (result[1:] - result[:-1]) / math.sqrt(2)
    if name == "shadow":  # dark on one side, since shot noise goes with the square root of the light
        left = result.mean(axis=1).min() / 400
        assert math.sqrt(left) * 20 - 1 < local.std() < 20
        dark = np.sort(local.std(axis=1))[:20].mean()
        assert dark == pytest.approx(20 * math.sqrt(left), rel=0.08)
    else:
        assert local.std() == pytest.approx(20, rel=0.01)


def test_clouds_dim_the_sources_and_not_the_sky():
    sky, light = frozen(np.full(PLACE.shape, 900.0)), stars()
    after = inject(sky + light, anomaly("clouds", 0.7), PLACE, fwhm=4.0, rng=np.random.default_rng(1))
    peak = np.unravel_index(np.argmax(light), light.shape)
    assert after[peak] - 900 == pytest.approx(0.3 * light[peak], rel=0.05)
    assert np.median(after) == pytest.approx(900, rel=0.01)


def test_patterns_run_on_from_ccd_to_ccd():
    whole = CcdPlace((128, 256), (-128.0, -64.0), 128.0)
    right = CcdPlace((128, 128), (0.0, -64.0), 128.0)
    for name in ("stripes", "arc", "streak", "glow", "shadow"):
        injector, added_anomaly = INJECTORS[name], complete(anomaly(name))
        pattern = injector.pattern or injector.shade
        np.testing.assert_allclose(pattern(added_anomaly, whole)[:, 128:], pattern(added_anomaly, right), atol=1e-12)


def test_additions_are_in_units_of_the_noise():
    image = frozen(np.random.default_rng(1).normal(400, 20, (256, 256)))
    place = CcdPlace((256, 256), (-128.0, -128.0), 128.0)
    added_anomaly = complete(anomaly("stripes", 0.5))
    added = inject(image, added_anomaly, place, fwhm=4.0, rng=np.random.default_rng(1)) - image
    _, sigma = sky_of(image)
    assert sigma == pytest.approx(20, rel=0.02)
    np.testing.assert_allclose(added, 0.5 * sigma * INJECTORS["stripes"].pattern(added_anomaly, place), atol=1e-9)


def test_a_ring_lies_on_one_ccd():
    lit = []
    for number in range(9):
        place = CcdPlace((128, 128), (128.0 * (number % 3), 128.0 * (number // 3)), 192.0, number, 9)
        added_anomaly = anomaly("ring", size=20.0)
        assert INJECTORS["ring"].pattern(added_anomaly, place).max() > 0.9
        lit.append(shows(added_anomaly, place))
    assert sum(lit) == 1


@pytest.mark.parametrize(("share", "expected"), [(1.0, 8), (0.25, 2), (0.01, 1)])
def test_a_share_of_the_ccds(share, expected):
    added_anomaly = anomaly("stripes", ccds=share)
    places = [CcdPlace((64, 64), (0.0, 0.0), 64.0, number, 8) for number in range(8)]
    assert sum(shows(added_anomaly, place) for place in places) == expected
    sky, light = frozen(np.full((64, 64), 100.0)), frozen(np.zeros((64, 64)))
    for place in places:
        after, _ = act_on_scene(sky, light, added_anomaly, place, noise=10.0, fwhm=4.0)
        assert np.array_equal(after, sky) != shows(added_anomaly, place)


def test_pixels_without_a_value_stay_without():
    image = np.random.default_rng(1).normal(400, 20, (128, 128))
    image[10:20, 30] = np.nan
    image[50, 50] = np.inf
    image.setflags(write=False)
    for name in INJECTORS:
        after = inject(
            image, anomaly(name), CcdPlace((128, 128), (-64, -64), 64.0), fwhm=4.0, rng=np.random.default_rng(1)
        )
        assert np.array_equal(np.isfinite(after), np.isfinite(image))
    empty = frozen(np.full((70, 70), np.nan))
    after = inject(empty, anomaly("guiding"), CcdPlace((70, 70), (0, 0), 35.0), fwhm=4.0, rng=np.random.default_rng(1))
    assert np.isnan(after).all()


def test_words_become_anomalies():
    (one,) = parse("stripes:0.1@30/16%25")
    assert one == Anomaly("background", "stripes", 0.1, 30.0, 16.0, 0.25)
    three = parse(" double:5x3 ")
    assert len(three) == 3
    assert three[0].amplitude == 5
    assert math.isnan(three[0].direction)
    assert parse("elongation@-90")[0].direction == 90
    assert parse("elongation@120")[0].direction == -60
    assert parse("shadow:1e-2")[0].amplitude == 0.01
    for name, injector in INJECTORS.items():
        assert parse(name)[0].amplitude == injector.default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not of the form"),
        ("stripes:", "is not of the form"),
        ("stripes 0.1", "is not of the form"),
        ("strips", "unknown anomaly 'strips' .do you mean stripes or trails"),
        ("meteor", "unknown anomaly 'meteor' .one of elongation, "),
        ("stripes:0", "above 0"),
        ("elongation:0.9", "up to 0.8"),
        ("donuts@30", "donuts has no direction"),
        ("double:3/5", "double has no size"),
        ("ring/0.5", "a radius is from 1"),
        ("stripes%0", "share of the CCDs"),
        ("stripes%101", "share of the CCDs"),
        ("stripesx0", "a count is from 1"),
    ],
)
def test_wrong_words_are_refused_with_the_remedy(text, message):
    with pytest.raises(SettingsError, match=message):
        parse(text)
