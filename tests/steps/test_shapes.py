"""Weighted moments of sources (METHOD.md 10): plain loops, shapes known from theory, masks, edges, stacks."""

from __future__ import annotations

import math

import naive_shapes
import numpy as np
import pytest
import sky
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuanom.backends import limits
from gpuanom.backends.cpu import CpuBackend
from gpuanom.records import Unfit
from gpuanom.settings import Settings
from steps.harness import DEFAULT, hand_made, real_crop, stack_of, unfit

SKY = (0.0,) * 6


def measured(backend, images, bads=None, *, background=None, saturation=None, settings=DEFAULT):
    """The shapes of a stack on the host; on a GPU they must have the bits of the CPU's."""
    stack = stack_of(backend, images, bads, saturation)
    background = hand_made(backend, len(images)) if background is None else background
    sources = backend.sources(stack, background, settings)
    found = backend.to_host(backend.shapes(stack, background, sources, settings))
    if backend.name != "cpu":
        cpu = CpuBackend()
        twin = measured(cpu, images, bads, background=backend.to_host(background), saturation=saturation,
                        settings=settings)  # fmt: skip
        for name in ("centre", "moments", "spoilt", "width"):
            np.testing.assert_array_equal(getattr(found, name), getattr(twin, name), strict=True)
    return found


def check(backend, images, bads=None, *, sigma=1.0, coefficients=SKY, saturation=None, settings=DEFAULT):
    """The backend's shapes against plain loops; returns them on the host."""
    background = hand_made(backend, len(images), sigma=sigma, coefficients=coefficients)
    found = measured(backend, images, bads, background=background, saturation=saturation, settings=settings)
    stack = stack_of(backend, images, bads, saturation)
    sources = backend.to_host(backend.sources(stack, background, settings))
    for i, image in enumerate(images):
        own = sources.ccd == i
        listed = [tuple(row) for row in np.stack([sources.y, sources.x, sources.value, sources.n_isophote])[:, own].T]
        width, expected = naive_shapes.shapes(
            image,
            None if bads is None else unfit(bads[i], Unfit.SOURCES),
            coefficients,
            sigma,
            [(int(y), int(x), value, n) for y, x, value, n in listed],
            saturation=math.nan if saturation is None else saturation[i],
            stamp_size=settings.stamp_size,
        )
        # 1e-8: the step's exponential is right to 1e-9, and the centroid moves by the same share.
        np.testing.assert_allclose(found.width[i], width, rtol=1e-8)
        there = np.array([one is not None for one in expected], bool)
        none = np.isnan(found.moments[i])
        assert none[: len(there)].all(axis=1).tolist() == (~there).tolist()
        assert none[len(there) :].all()
        for k in np.flatnonzero(there):
            y, x, *moments, spoilt = expected[k]
            np.testing.assert_allclose(found.centre[i, k], (y, x), atol=1e-7)
            np.testing.assert_allclose(found.moments[i, k], moments, rtol=1e-7, atol=1e-7)
            assert found.spoilt[i, k] == spoilt
    return found


def field(ny, nx, n, *, seed, noise=1.0, width=(1.4, 1.8), star=sky.gaussian):
    """Stars of one kind 70 pixels apart, a little off the grid, of all brightnesses."""
    rng = np.random.default_rng(seed)
    layers = []
    for k in range(n):
        y, x = 40 + 70 * (k // ((nx - 70) // 70 + 1)), 40 + 70 * (k % ((nx - 70) // 70 + 1))
        y, x = y + rng.uniform(-2, 2), x + rng.uniform(-2, 2)
        layers.append(star(y, x, 10 ** rng.uniform(1.2, 3), rng.uniform(*width)))
    return sky.make(ny, nx, *layers, sky=0.0, noise=noise, seed=seed)


# Against plain loops


@pytest.mark.parametrize(("ny", "nx"), [(220, 223), (150, 221)])
def test_matches_naive_on_a_field_of_stars(backend, ny, nx):
    found = check(backend, [field(ny, nx, 3 * ((ny - 10) // 70), seed=1), field(ny, nx, 2, seed=2)])
    assert np.count_nonzero(~np.isnan(found.moments[0, :, 0])) >= 4


def test_matches_naive_on_a_busy_sky(backend):
    image = sky.night_sky(200, 230, seed=4, n_stars=14)
    bad = sky.bad_plane(200, 230, fraction=0.004, seed=5)
    coefficients = (1000.0, 20.0, -10.0, 5.0, -3.0, 8.0)
    check(backend, [image], [bad], sigma=8.0, coefficients=coefficients, saturation=[25000.0])


@pytest.mark.parametrize("name", ["decam masked columns", "decam donut"])
def test_matches_naive_on_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    image, bad = image[:200, :200].copy(), None if bad is None else bad[:200, :200].copy()
    level = float(np.nanmedian(image))
    sigma = 1.4826 * float(np.nanmedian(np.abs(image - level)))
    check(backend, [image], [bad], sigma=sigma, coefficients=(level, 0, 0, 0, 0, 0))


@pytest.mark.parametrize("stamp_size", [16, 30, 64])
def test_small_stamps_cut_the_weight(backend, stamp_size):
    check(backend, [field(150, 150, 4, seed=3, width=(2.5, 3.0))], settings=Settings(stamp_size=stamp_size))


# Shapes known from theory


def one_shape(backend, layer, **more):
    """(T, e1, e2, kurtosis) and the width of the only star of an image, without the weight."""
    found = measured(backend, [sky.make(131, 133, layer, sky=0.0)], **more)
    assert np.isfinite(found.moments[0, :, 0]).sum() == 1
    _, _, t, e1, e2, kurtosis = found.moments[0, 0]
    width = found.width[0]
    return 1 / (1 / t - 1 / (2 * width**2)), e1, e2, kurtosis, width


@pytest.mark.parametrize("width", [1.0, 1.6, 2.5, 4.0, 7.0])
def test_a_gaussian_has_its_size_and_a_kurtosis_of_2(backend, width):
    size, e1, e2, kurtosis, weight = one_shape(backend, sky.gaussian(64.3, 65.8, 1000.0, width))
    # Pixels sample the Gaussian at points, so whole-plane sums hold to 1e-8 from a width of 1 on. The square ends four
    # widths out, where 3e-4 of the weight and, for a star of the weight's width, 1e-7 of the light is cut off; a star
    # of 7 pixels meets the stamp's edge 31 pixels out.
    close = 2e-3
    assert size == pytest.approx(2 * width**2, rel=close)
    assert kurtosis == pytest.approx(2.0, rel=close)
    assert abs(e1) < close
    assert abs(e2) < close
    assert weight == pytest.approx(width, rel=0.04)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, -60])
@pytest.mark.parametrize("ratio", [0.8, 0.95])
def test_a_shear_has_its_direction_and_size(backend, degrees, ratio):
    _, e1, e2, _, width = one_shape(backend, sky.gaussian(64.4, 64.9, 1000.0, 2.0, degrees=degrees, ratio=ratio))
    long, short = 4.0, 4.0 * ratio**2
    weighted = [1 / (1 / q + 1 / width**2) for q in (long, short)]
    # A product of Gaussians is a Gaussian; what four widths cut off is below 1e-3.
    truth = (weighted[0] - weighted[1]) / (weighted[0] + weighted[1])
    assert e1 == pytest.approx(truth * math.cos(2 * math.radians(degrees)), abs=1e-3)
    assert e2 == pytest.approx(truth * math.sin(2 * math.radians(degrees)), abs=1e-3)


def radial(profile, width):
    """Weighted kurtosis of a round profile, by an integral over radii."""
    r = np.linspace(0, 31, 20001)
    w = np.exp(-(r**2) / (2 * width**2)) * profile(r) * r
    return (w.sum() * (w * r**4).sum()) / (w * r**2).sum() ** 2


@pytest.mark.parametrize("beta", [2.5, 4.0])
def test_the_kurtosis_of_a_moffat_star(backend, beta):
    *_, kurtosis, width = one_shape(backend, sky.moffat(64.2, 65.5, 1e5, 3.0, beta=beta))
    # 1%: the corners of the square and what lies beyond it.
    assert kurtosis == pytest.approx(radial(lambda r: (1 + r**2 / 9) ** -beta, width), rel=0.01)


def test_the_kurtosis_of_a_donut(backend):
    def donut(image):
        y, x = sky.grids(image)
        r = np.hypot(y - 64.0, x - 66.0)
        image += 1000 * (np.exp(-((r - 5) ** 2) / 4))

    *_, kurtosis, width = one_shape(backend, donut)
    assert kurtosis == pytest.approx(radial(lambda r: np.exp(-((r - 5) ** 2) / 4), width), rel=0.01)
    assert kurtosis < 1.6
    centre = measured(backend, [sky.make(131, 133, donut, sky=0.0)]).centre[0, 0]
    # The brightest pixel lies on the ring; the weight moves to its middle.
    np.testing.assert_allclose(centre, (64, 66), atol=0.05)


@given(dy=st.floats(-0.5, 0.5), dx=st.floats(-0.5, 0.5), height=st.floats(50, 1e6))
@settings(max_examples=10)
def test_a_shape_depends_on_neither_place_nor_brightness(backend, dy, dx, height):
    size, e1, e2, kurtosis, _ = one_shape(backend, sky.gaussian(65 + dy, 64 + dx, height, 1.5))
    # The window steps by whole pixels while the star moves by parts of one: 1e-3, as above.
    np.testing.assert_allclose((size, e1, e2, kurtosis), (4.5, 0, 0, 2), atol=5e-3)


# Which sources count


@pytest.mark.parametrize("side", [21, 33])
def test_the_brightest_come_first_and_no_more_than_fit(backend, side):
    """Sources in stamps of 16 pixels: 41 too many; and more than a block of threads compares at a time (1024)."""
    rng = np.random.default_rng(1)
    dots = np.zeros((53 + 17 * side, 53 + 17 * side), np.float32)
    heights = rng.permutation(side * side) + 100.0
    for k, height in enumerate(heights):
        y, x = 30 + 17 * (k // side), 30 + 17 * (k % side)
        dots[y - 1 : y + 2, x - 1 : x + 2] += np.float32(0.5 * height)
        dots[y, x] = height
    found = measured(backend, [sky.frozen(dots)], settings=Settings(stamp_size=16))
    flux = found.moments[0, :, 0]
    assert np.isfinite(flux).all()
    assert np.all(np.diff(flux) < 0)
    order = np.argsort(-heights)[: limits.SHAPES_A_CCD]
    np.testing.assert_allclose(found.centre[0, :, 0], 30 + 17 * (order // side), atol=0.01)
    np.testing.assert_allclose(found.centre[0, :, 1], 30 + 17 * (order % side), atol=0.01)


def test_of_equal_sources_the_first_comes_first(backend):
    image = sky.make(150, 300, *(sky.gaussian(y, x, 100.0, 1.5) for y, x in [(40, 200), (40, 40), (110, 100)]), sky=0.0)
    found = measured(backend, [image])
    np.testing.assert_allclose(found.centre[0, :3], [(40, 40), (40, 200), (110, 100)], atol=1e-6)


def test_of_equally_dense_halves_the_lowest_gives_the_width(backend):
    """Pairs of equal stars: the lower half of eight sizes is two small ones and two a little larger."""
    widths = [1.5, 1.5, 1.55, 1.55, 2.0, 2.1, 2.3, 2.6]
    stars = [sky.gaussian(40 + 70 * (k // 4), 40 + 70 * (k % 4), 500.0, width) for k, width in enumerate(widths)]
    found = check(backend, [sky.make(150, 300, *stars, sky=0.0)])
    assert found.width[0] == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize(("pixels", "counts"), [(4, False), (5, True)])
def test_five_pixels_make_a_real_source(backend, pixels, counts):
    near = [(0, 0, 100.0), (0, 1, 50.0), (1, 0, 50.0), (0, -1, 50.0), (-1, 0, 50.0)][:pixels]
    far = [(10 + k, 20, 50.0) for k in range(7)]  # for the count of pixels above 2 sigma
    image = sky.make(140, 140, sky.dots([(70 + j, 70 + i, value) for j, i, value in near + far]), sky=0.0)
    assert np.isfinite(measured(backend, [image]).moments).any() == counts


def test_faint_sources_give_no_width(backend):
    image = sky.make(131, 131, sky.gaussian(65, 65, 100.0, 1.5), sky=0.0)
    bright = measured(backend, [image], background=hand_made(backend, 1, sigma=1.0))
    # The noise of the weighted flux is sigma sqrt(pi) width, from the first guess of 4 pixels on.
    flux = 100 * 2 * math.pi / (1 / 1.5**2 + 1 / 16)
    limit = flux / (8 * math.sqrt(math.pi) * 4)
    assert np.isfinite(bright.width[0])
    for sigma, there in ((0.99 * limit, True), (1.01 * limit, False)):
        found = measured(backend, [image], background=hand_made(backend, 1, sigma=sigma))
        assert np.isfinite(found.width[0]) == there
        assert np.isfinite(found.moments).any() == there
        assert np.isfinite(found.centre).any() == there


# Saturation, masks, edges


def two_stars():
    """A bright star at (65, 65) and a fainter one at (65, 165), of width 1.6: int(2 x 1.6) + 1 = 4 pixels count."""
    return np.array(sky.make(131, 231, *(sky.gaussian(65, x, h, 1.6) for x, h in [(65, 900.0), (165, 500.0)]), sky=0.0))


def test_saturated_centres_are_left_out(backend):
    assert np.isfinite(measured(backend, [two_stars()]).moments[0, :, 0]).sum() == 2
    found = measured(backend, [two_stars()], saturation=[900.0])
    assert np.isfinite(found.moments[0, :, 0]).sum() == 1
    np.testing.assert_allclose(found.centre[0, 0], (65, 165), atol=1e-6)
    assert not found.spoilt.any()


@pytest.mark.parametrize(("dy", "dx"), [(0, 4), (0, -4), (4, 4), (-4, 0), (0, 5), (5, 0), (-5, -5)])
@pytest.mark.parametrize("how", ["nan", "masked", "other steps", "saturated"])
def test_spoilt_pixels_count_within_two_widths(backend, how, dy, dx):
    image, bad, level = two_stars(), np.zeros((131, 231), np.uint8), math.nan
    at = 65 + dy, 65 + dx
    if how == "nan":
        image[at] = np.nan
    elif how == "saturated":
        # Masked pixels can be saturated: the star is the brightest, and the pixel does not count as its light.
        image[at], bad[at], level = 950.0, Unfit.BACKGROUND | Unfit.SOURCES, 950.0
    else:
        bad[at] = Unfit.SOURCES if how == "masked" else Unfit.BACKGROUND | Unfit.GRADIENTS
    found = measured(backend, [image], [bad], saturation=[level])
    near = max(abs(dy), abs(dx)) == 4 and how != "other steps"
    assert found.spoilt[0, :2].tolist() == [int(near), 0]


def test_a_saturated_pixel_beside_the_centre_spoils_a_source(backend):
    """A plateau that the sky's slope tilts: the pixel beside the highest v is brighter, and just saturated."""
    image = two_stars()
    image[65, 65:67] = 899.0, 898.0
    background = hand_made(backend, 1, coefficients=(0.0, 345.0, 0, 0, 0, 0))  # 3 units a pixel along x
    image += np.float32(345.0 * (2.0 * np.arange(231) / 230 - 1.0))
    level = float(image[65, 66])
    assert image[65, 65] < level
    for saturation, spoilt in ((level, 1), (np.nextafter(level, np.inf, dtype=np.float32), 0)):
        found = measured(backend, [image], background=background, saturation=[saturation])
        np.testing.assert_allclose(found.centre[0, :2], [(65, 65), (65, 165)], atol=1)
        assert found.spoilt[0, :2].tolist() == [spoilt, 0]


def test_a_lost_centroid_has_no_moments(backend):
    image = np.array(sky.make(140, 240, sky.gaussian(65, 165, 500.0, 1.5), sky=0.0))
    # A ramp beside a peak: the centroid runs away.
    image[50:90, 45:95] = 8.0 * np.maximum(0, np.arange(50) - 3)
    image[65:70, 60:62] = 420.0
    found = check(backend, [sky.frozen(image, np.float32)])
    assert np.isfinite(found.width[0])


def test_a_centroid_that_needs_a_ninth_step_is_lost(backend):
    """Close pairs of almost equal blobs, beside stars that give the width: the centroid creeps to one of the two."""
    layers = []
    # Found by trial: with 6.4 pixels and with 6.8, nine steps.
    for k, (ratio, apart) in enumerate([(0.9, 6.35), (0.9, 6.4), (0.9, 6.45), (0.95, 6.75), (0.95, 6.8), (0.95, 6.85)]):
        y, x = 40.2 + 70 * (k // 3), 40.3 + 70 * (k % 3)
        layers += [sky.gaussian(y, x, 900, 3.0), sky.gaussian(y, x + apart, ratio * 900, 3.0)]
    layers += [sky.gaussian(180 + 70 * (k // 4), 40 + 60 * (k % 4), 2000, 1.6) for k in range(12)]
    found = check(backend, [sky.make(370, 270, *layers, sky=0.0, noise=0.05, seed=9)])
    assert found.width[0] == pytest.approx(1.6, rel=0.02)


def test_one_stamp_is_enough(backend):
    image = sky.make(64, 64, sky.gaussian(32, 32, 500.0, 1.5), sky=0.0)
    found = check(backend, [image])
    assert np.isfinite(found.moments[0, 0]).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_nothing_to_see(backend, value):
    found = measured(backend, [np.full((70, 80), value, np.float32)])
    assert np.isnan(found.width).all()
    assert np.isnan(found.moments).all()
    assert np.isnan(found.centre).all()
    assert not found.spoilt.any()


def test_masked_and_unusable_ccds_leave_the_others_theirs(backend):
    images = [field(150, 150, 4, seed=s) for s in (1, 2, 3)]
    bads = [np.full((150, 150), Unfit.SOURCES, np.uint8), np.zeros((150, 150), np.uint8), None]
    background = hand_made(backend, 3, usable=[True, True, False])
    found = measured(backend, images, bads, background=background)
    assert np.isfinite(found.width).tolist() == [False, True, False]
    assert np.isfinite(found.moments).any(axis=(1, 2)).tolist() == [False, True, False]


def test_a_stack_gives_each_ccd_what_it_gets_alone(backend):
    images = [field(150, 221, 6, seed=s, width=w) for s, w in ((1, (1.2, 1.3)), (2, (2.5, 2.6)), (3, (5.0, 5.1)))]
    together = measured(backend, images)
    assert len(set(together.width.tolist())) == 3
    for i, image in enumerate(images):
        alone = measured(backend, [image])
        for name in ("centre", "moments", "spoilt", "width"):
            np.testing.assert_array_equal(getattr(together, name)[i], getattr(alone, name)[0])


@pytest.mark.parametrize("backend", ["gpu"], indirect=True)
def test_the_width_comes_from_the_100_brightest_alone(backend):
    """Others are not measured before the width is known: their memory may hold anything, also what looks good."""
    import cupy

    from gpuanom.backends.gpu.shapes import WIDTH, WIDTH_THREADS

    n = limits.FOR_WIDTH
    moments = np.zeros((1, limits.SHAPES_A_CCD, 6))
    moments[0, :, 1], moments[0, :, 2] = 100.0, 8.0
    faint = moments.copy()
    faint[0, :n, 1] = 0.0
    widths = []
    with backend.working():
        for each in (moments, faint):
            width, state = cupy.full(1, limits.FIRST_WIDTH, np.float64), cupy.zeros(1, np.int32)
            spoilt = cupy.zeros(moments.shape[:2], np.uint8)
            WIDTH((1,), (WIDTH_THREADS,), cupy.asarray(each), spoilt, False, width, state)
            widths.append(float(width.get()[0]))
    assert np.isfinite(widths[0])
    assert np.isnan(widths[1])
