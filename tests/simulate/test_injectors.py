"""The anomalies, one by one: each changes only what it describes, by the stated amount, and keeps the noise right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpuanom.errors import SettingsError
from gpuanom.simulate import INJECTORS, Anomaly, CcdPlace, inject, parse
from gpuanom.simulate.injectors import act_on_scene, complete, shows
from gpuanom.simulate.optics import convolved, convolved_image, kernel
from gpuanom.simulate.real_sky import sky_of

PLACE = CcdPlace((128, 192), (-96.0, -64.0), 96.0)
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
    spread = kernel(INJECTORS[name].spread(anomaly(name), PLACE, 4.0))
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
    spread = kernel(INJECTORS[name].spread(anomaly(name), PLACE, 4.0))
    result = convolved_image(image, spread, 20.0, np.random.default_rng(2)) - 500
    # 262,144 pixels: the standard deviation scatters by 0.14%, correlations by 0.002.
    assert result.std() == pytest.approx(20, rel=0.01)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 4), (4, 2)):
        assert abs(correlation(result, dy, dx)) < 0.01
    if name == "astigmatism":
        return  # next to nothing at the centre of the field
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
        ("strips", "unknown anomaly 'strips' .one of elongation, "),
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
