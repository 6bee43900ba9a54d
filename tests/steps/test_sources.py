"""Source positions and counts (METHOD.md 2) against naive.py, exactly; rules and edges by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sky
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.records import Unfit
from steps.harness import DEFAULT, REAL, check_sources, fitted, hand_made, real_crop, stack_of

SMALL = DEFAULT.replace(stamp_size=16)


def positions(found):
    return list(zip(found.y.tolist(), found.x.tolist(), strict=True))


def blob(y, x, height, *, around=2.5):
    """A peak on a square of lower pixels: 9 pixels are above 2 for sigma = 1."""
    return sky.dots([(y + j, x + i, height if j == i == 0 else around) for j in (-1, 0, 1) for i in (-1, 0, 1)])


def by_hand(backend, *layers, ny=200, nx=200, settings=DEFAULT, bad=None, sigma=1.0, **others):
    """The sources of a CCD of zeros with these layers, where v is the image itself; also compared with naive.py."""
    image = sky.make(ny, nx, *layers, sky=0.0)
    background = hand_made(backend, 1, sigma=sigma)
    return check_sources(backend, [image], None if bad is None else [bad], background, settings, **others)


# Whole images


@pytest.mark.parametrize(("ny", "nx"), [(64, 64), (65, 64), (95, 127), (96, 128), (97, 129), (200, 260), (64, 300)])
def test_matches_naive_on_busy_skies(backend, ny, nx):
    images = [sky.night_sky(ny, nx, seed=ny + s) for s in range(3)]
    bads = [None, sky.bad_plane(ny, nx, fraction=0.01, seed=1), sky.bad_plane(ny, nx, fraction=0.3, seed=2)]
    background = fitted(backend, stack_of(backend, images, bads))
    check_sources(backend, images, bads, background)


def test_matches_naive_on_a_crowded_field(backend):
    image = sky.crowded(420, 500, seed=7, n_stars=400)
    found = check_sources(backend, [image], None, fitted(backend, stack_of(backend, [image])))
    assert found.y.size > 30


@pytest.mark.real
@pytest.mark.proof(backend="gpu")  # tests/steps/test_chain.py has the real images on both backends
@pytest.mark.parametrize("name", REAL)
def test_matches_naive_on_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    background = fitted(backend, stack_of(backend, [image], [bad]))
    found = check_sources(backend, [image], [bad], background)
    crowded = DEFAULT.replace(stamp_size=32, threshold=10.0)
    found = check_sources(backend, [image], [bad], background, crowded)
    assert found.y.size > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"stamp_size": 16},
        {"stamp_size": 18},
        {"stamp_size": 32},
        {"stamp_size": 62},
        {"threshold": 10.0},
        {"threshold": 30.0},
        {"threshold": 1.5, "above_threshold": 3.0},
        {"above_threshold": 1.0, "above_pixels": 900},
        {"above_pixels": 0},
        {"isophote_threshold": 1.0},
        {"isophote_threshold": 8.0},
        {"moment_fraction": 0.0},
        {"moment_fraction": 0.5, "stamp_size": 20},
    ],
)
def test_other_settings(backend, changes):
    images = [sky.night_sky(190, 170, seed=s) for s in (1, 2)]
    bads = [sky.bad_plane(190, 170, fraction=0.01, seed=1), None]
    background = fitted(backend, stack_of(backend, images, bads))
    check_sources(backend, images, bads, background, DEFAULT.replace(**changes))


@given(
    ny=st.integers(64, 200),
    nx=st.integers(64, 200),
    n_ccd=st.integers(1, 3),
    stamp_size=st.sampled_from([16, 32, 64]),
    high=st.sampled_from([4, 6, 9, 40]),
    spoilt=st.sampled_from([0.0, 0.02, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_small_whole_numbers_provoke_ties(backend, ny, nx, n_ccd, stamp_size, high, spoilt, seed):
    """Sparse small whole numbers, sigma = 1: equal peaks, values at thresholds, holes, shapes that do not fit tiles."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, high, (n_ccd, ny, nx)) * (rng.random((n_ccd, ny, nx)) < 0.05)
    images = images.astype(np.float32)
    images[rng.random(images.shape) < spoilt / 4] = np.nan
    images[rng.random(images.shape) < spoilt / 8] = np.inf
    bads = None if spoilt == 0 else list(rng.choice([0, 0, 0, 1, 2, 4, 7], images.shape).astype(np.uint8))
    settings = DEFAULT.replace(stamp_size=stamp_size, threshold=3.0)
    check_sources(backend, [sky.frozen(i) for i in images], bads, hand_made(backend, n_ccd), settings)


@given(
    ny=st.integers(64, 160),
    nx=st.integers(64, 160),
    slopes=st.tuples(*[st.floats(-50, 50)] * 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_steep_skies(backend, ny, nx, slopes, seed):
    """On a steep sky the brightest raw pixel of a tile is often not the pixel with the highest v."""
    rng = np.random.default_rng(seed)
    peaks = [(*rng.integers(0, (ny, nx)).tolist(), 3000.0 + 10 * int(rng.integers(0, 4))) for _ in range(30)]
    image = sky.make(ny, nx, sky.polynomial(0, *slopes), sky.dots(peaks), noise=2.0, seed=seed % 2**31)
    background = hand_made(backend, 1, sigma=2.0, coefficients=(1000.0, *slopes))
    check_sources(backend, [image], None, background, SMALL)


@given(
    ny=st.integers(64, 130),
    nx=st.integers(64, 130),
    slopes=st.tuples(*[st.floats(-3000, 3000)] * 5),
    stamp_size=st.sampled_from([16, 64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_curved_skies(backend, ny, nx, slopes, stamp_size, seed):
    """The highest and lowest values of the sky lie within tiles, and stars stand a few sigma above the sky."""
    rng = np.random.default_rng(seed)
    peaks = [(*rng.integers(0, (ny, nx)).tolist(), rng.uniform(10, 60)) for _ in range(12)]
    layers = [sky.gaussian(y, x, height, 1.5) for y, x, height in peaks]
    image = sky.make(ny, nx, sky.polynomial(0, *slopes), *layers, noise=1.0, seed=seed % 2**31)
    background = hand_made(backend, 1, sigma=1.0, coefficients=(1000.0, *slopes))
    check_sources(backend, [image], None, background, DEFAULT.replace(stamp_size=stamp_size))


@pytest.mark.parametrize("curvature", [-1000.0, 1000.0])
def test_a_tile_whose_corners_say_nothing_of_its_sky(backend, curvature):
    """The middle 32 of 96 pixels are symmetric about the centre: a hill or a hollow between equal corners."""
    c = (1000.0, 0.0, 0.0, curvature, 0.0, curvature)
    hill = sky.polynomial(0, *c[1:])
    faint, brighter = sky.gaussian(47, 47, 100.0, 1.5), sky.gaussian(40, 58, 120.0, 1.5)
    image = sky.make(96, 96, hill, faint, brighter)
    assert positions(check_sources(backend, [image], None, hand_made(backend, 1, coefficients=c))) == [(40, 58)]
    image = sky.make(96, 96, hill, sky.gaussian(47, 48, 9.0, 1.5))
    assert positions(check_sources(backend, [image], None, hand_made(backend, 1, coefficients=c))) == [(47, 48)]


# The sky in v


def test_v_is_never_rounded_to_float32(backend):
    """A saturated plateau of equal float32 pixels on a sky that falls by 1e-7 a pixel: the lowest sky wins, not the
    first of the pixels that are equal in float32.
    """
    image = sky.make(200, 200, sky.plateau(90, 80, 9, 11, 60000.0), sky=0.0)
    nearly_flat = (100.0, -1e-5, -1e-5, 0.0, 0.0, 0.0)
    found = check_sources(backend, [image], None, hand_made(backend, 1, sigma=5.0, coefficients=nearly_flat))
    assert positions(found) == [(98, 90)]


@given(
    c=st.tuples(st.floats(900, 1100), *[st.floats(-1e-12, 1e-12)] * 5),
    ny=st.integers(64, 100),
    nx=st.integers(64, 100),
)
def test_the_last_bit_of_the_sky_decides(backend, c, ny, nx):
    """A plateau over a sky that varies by rounding alone: which pixel is brightest depends on the order of the
    operations of the polynomial, which METHOD.md fixes.
    """
    image = sky.make(ny, nx, sky.plateau(ny // 2 - 6, nx // 2 - 7, 12, 14, 1200.0), sky=1000)
    check_sources(backend, [image], None, hand_made(backend, 1, sigma=20.0, coefficients=c), SMALL)
    check_sources(backend, [image], None, hand_made(backend, 1, sigma=20.0, coefficients=c))


@pytest.mark.parametrize("sky_level", [-0.9e-7, 0.0, 1.1e-7])
def test_the_threshold_is_compared_in_float64(backend, sky_level):
    """Peaks a ten-millionth above, at and below 4 sigma, which float32 could not distinguish from 4 sigma."""
    image = sky.make(200, 200, blob(100, 100, 4.0), sky=0.0)
    background = hand_made(backend, 1, coefficients=(sky_level, 0, 0, 0, 0, 0))
    found = check_sources(backend, [image], None, background)
    assert found.y.size == (1 if sky_level < 0 else 0)


@pytest.mark.parametrize(("height", "above"), [(4.0, False), (4.0 + 2**-20, True)])
def test_exactly_four_sigma_is_not_above(backend, height, above):
    """The sky is 3, so that the bounds that a backend keeps on the sky are not exact, and the comparison decides."""
    image = sky.make(200, 200, blob(100, 100, 3.0 + height, around=5.5), sky=3.0)
    background = hand_made(backend, 1, coefficients=(3.0, 0, 0, 0, 0, 0))
    found = check_sources(backend, [image], None, background)
    assert found.y.size == above


# Brightest of the stamp


def test_a_plateau_is_one_source_its_first_pixel(backend):
    found = by_hand(backend, sky.plateau(90, 80, 9, 11, 60000.0))
    assert positions(found) == [(90, 80)]


@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (1, 0), (5, -7), (31, 31), (31, -32), (31, -31), (0, 31), (31, 0)])
def test_of_equal_peaks_in_one_stamp_the_first_is_the_source(backend, dy, dx):
    peaks = [(100, 100, 9.0), (100 + dy, 100 + dx, 9.0)]
    found = by_hand(backend, blob(100, 100, 9.0), blob(100 + dy, 100 + dx, 9.0), sky.dots(peaks))
    assert (100, 100) in positions(found)
    # The stamp of the other pixel reaches from -32 to +31 around it: it holds the first pixel unless that lies 32 to
    # its right.
    assert ((100 + dy, 100 + dx) in positions(found)) == (dx == -32)


@pytest.mark.parametrize(
    ("dy", "dx", "inside"),
    [
        (-32, 0, True),
        (-33, 0, False),
        (31, 0, True),
        (32, 0, False),
        (0, -32, True),
        (0, -33, False),
        (0, 31, True),
        (0, 32, False),
        (-32, -32, True),
        (31, 31, True),
        (31, -32, True),
        (-32, 31, True),
        (32, 32, False),
    ],
)
def test_the_stamp_reaches_32_down_and_31_up(backend, dy, dx, inside):
    """A brighter neighbour removes the source exactly where the stamp holds the neighbour."""
    found = by_hand(backend, blob(100, 100, 9.0), sky.dots([(100 + dy, 100 + dx, 20.0)]))
    assert ((100, 100) in positions(found)) != inside


@pytest.mark.parametrize(("dy", "dx"), [(-32, 0), (31, 0), (0, -32), (0, 31), (-32, -32), (31, 31)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_pixels_outshine_nobody(backend, dy, dx, value):
    found = by_hand(backend, blob(100, 100, 9.0), sky.dots([(100 + dy, 100 + dx, value)]))
    assert positions(found) == [(100, 100)]
    assert found.n_bad.tolist() == [1]


@pytest.mark.parametrize(("bits", "outshines"), [(1, True), (2, False), (4, True), (5, True), (7, False), (0, True)])
def test_masked_pixels_outshine_nobody(backend, bits, outshines):
    bad = np.zeros((200, 200), np.uint8)
    bad[110, 95] = bits
    found = by_hand(backend, blob(100, 100, 9.0), sky.dots([(110, 95, 20.0)]), bad=bad)
    assert ((100, 100) in positions(found)) != outshines
    assert found.n_bad.tolist() == [int(bits != 0)]


@pytest.mark.parametrize("value", [np.nan, np.inf, 500.0])
def test_bad_pixels_are_never_centres(backend, value):
    bad = np.zeros((200, 200), np.uint8)
    bad[100, 100] = Unfit.SOURCES if np.isfinite(value) else 0
    found = by_hand(backend, sky.gaussian(100, 100, 50.0), sky.dots([(100, 100, value)]), bad=bad)
    assert positions(found) == [(99, 100)]  # the first of the four pixels beside the centre


# More than 6 pixels above 2 sigma


@pytest.mark.parametrize(("others", "found"), [(5, False), (6, True)])
def test_exactly_six_and_seven_pixels_above(backend, others, found):
    """With the centre and 5 more pixels there are 6, which is not more than 6; they may lie anywhere in the stamp."""
    corners = [(68, 68), (68, 131), (131, 68), (131, 131), (100, 101), (80, 90)]
    pixels = [(100, 100, 9.0)] + [(y, x, 2.5) for y, x in corners[:others]]
    got = by_hand(backend, sky.dots(pixels))
    assert (got.y.size == 1) == found
    if found:
        assert got.n_above.tolist() == [7]


def test_pixels_outside_the_stamp_or_at_two_sigma_do_not_count(backend):
    inside = [(100, 100 + i, 2.5) for i in range(1, 6)]
    outside = [(67, 100, 2.5), (132, 100, 2.5), (100, 67, 2.5), (100, 132, 2.5), (100, 90, 2.0), (90, 100, 2.0)]
    assert by_hand(backend, sky.dots([(100, 100, 9.0), *inside, *outside])).y.size == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_bad_pixels_are_not_counted(backend, value):
    bad = np.zeros((200, 200), np.uint8)
    bad[110, 110] = Unfit.SOURCES if np.isfinite(value) else 0
    pixels = [(100, 100, 9.0), *[(100, 100 + i, 2.5) for i in range(1, 6)], (110, 110, value)]
    assert by_hand(backend, sky.dots(pixels), bad=bad).y.size == 0


# Edges


@pytest.mark.parametrize(
    ("y", "x", "fits"),
    [
        (32, 32, True),
        (31, 32, False),
        (32, 31, False),
        (131, 141, True),
        (132, 141, False),
        (131, 142, False),
        (0, 0, False),
        (162, 172, False),
    ],
)
def test_a_stamp_must_lie_on_the_ccd(backend, y, x, fits):
    ring = [(y + j, x + i, 2.5) for j in range(-2, 3) for i in range(-2, 3) if 0 <= y + j < 163 and 0 <= x + i < 173]
    found = by_hand(backend, sky.dots([*ring, (y, x, 9.0)]), ny=163, nx=173)
    assert positions(found) == ([(y, x)] if fits else [])


@pytest.mark.parametrize(("y", "x"), [(0, 50), (31, 31), (50, 0), (99, 50), (50, 99)])
def test_what_is_dropped_at_the_border_still_outshines(backend, y, x):
    found = by_hand(backend, blob(50, 50, 9.0), sky.dots([(y, x, 20.0)]), ny=100, nx=100)
    held = -32 <= y - 50 <= 31 and -32 <= x - 50 <= 31
    assert ((50, 50) in positions(found)) != held


@pytest.mark.parametrize(
    ("tied", "brighter", "first"),
    [
        ((80, 60), (80, 40), False),
        ((70, 60), (70, 40), False),
        ((70, 100), (70, 120), False),
        ((80, 100), (80, 120), True),
        ((90, 60), (90, 40), True),
    ],
)
def test_a_tie_counts_also_beside_what_outshines_its_tile(backend, tied, brighter, first):
    """A pixel outside the stamp is the brightest of the tied pixel's tile: only the check of the stamp sees the tie."""
    found = by_hand(backend, blob(80, 80, 9.0), sky.dots([(*tied, 9.0), (*brighter, 20.0)]))
    assert ((80, 80) in positions(found)) == first


@pytest.mark.parametrize(("ny", "nx"), [(63, 200), (200, 63), (20, 20), (40, 63)])
def test_a_ccd_smaller_than_a_stamp_has_no_sources(backend, ny, nx):
    image = sky.night_sky(ny, nx, seed=1)
    assert check_sources(backend, [image], None, hand_made(backend, 1, sigma=8.0)).y.size == 0


def test_exactly_one_stamp_holds_exactly_one_place(backend):
    assert positions(by_hand(backend, blob(32, 32, 9.0), ny=64, nx=64)) == [(32, 32)]
    assert positions(by_hand(backend, blob(31, 32, 9.0), ny=64, nx=64)) == []


# Order, stacks, counts


def test_sources_come_in_order_of_ccd_and_place(backend):
    peaks = [blob(y, x, 9.0 + (y * 7 + x) % 5) for y in range(40, 260, 36) for x in range(40, 260, 36)]
    image = sky.make(300, 300, *peaks, sky=0.0)
    found = check_sources(backend, [image, image], None, hand_made(backend, 2), SMALL)
    order = list(zip(found.ccd.tolist(), found.y.tolist(), found.x.tolist(), strict=True))
    assert order == sorted(order)
    assert len(order) == 2 * 49


def test_unusable_ccds_have_no_sources_and_leave_the_others_theirs(backend):
    images = [sky.night_sky(130, 130, seed=s) for s in range(3)]
    images[1] = sky.frozen(np.full((130, 130), np.nan), np.float32)
    background = fitted(backend, stack_of(backend, images))
    assert backend.to_host(background).usable.tolist() == [True, False, True]
    found = check_sources(backend, images, None, background)
    assert set(found.ccd.tolist()) == {0, 2}
    assert found.n_bad[1] == 130 * 130
    nothing = check_sources(backend, images, None, hand_made(backend, 3, usable=[False] * 3))
    assert nothing.y.size == 0
    assert nothing.moments.shape == (0, 3)


def test_a_stack_gives_each_ccd_what_it_gets_alone(backend):
    """Equal bits: no result depends on the other CCDs of the stack."""
    images = [sky.night_sky(180, 190, seed=s) for s in range(3)]
    bads = [None, sky.bad_plane(180, 190, fraction=0.02, seed=1), None]
    background = fitted(backend, stack_of(backend, images, bads))
    whole = backend.to_host(backend.sources(stack_of(backend, images, bads), background, DEFAULT))
    host = backend.to_host(background)
    for i in range(3):
        mine = whole.ccd == i
        one = hand_made(backend, 1, sigma=host.sigma[i], coefficients=host.coefficients[i])
        alone = backend.to_host(backend.sources(stack_of(backend, [images[i]], [bads[i]]), one, DEFAULT))
        for name in ("y", "x", "value", "n_above", "moments", "isophote_moments", "n_isophote"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name)[mine])
        assert (alone.n_bad[0], alone.n_saturated[0]) == (whole.n_bad[i], whole.n_saturated[i])


def test_saturated_pixels_are_counted_where_a_level_is_known(backend):
    image = np.array(sky.make(100, 137, noise=5.0, seed=1))
    image[3:5, 4:9], image[99, 136], image[70, 70] = 60000.0, 65000.0, 59999.0
    image[50, 50] = np.nan
    levels = [60000.0, float("nan"), 1e5]
    background = hand_made(backend, 3, sigma=5.0, coefficients=(1000.0, 0, 0, 0, 0, 0))
    found = check_sources(backend, [image] * 3, None, background, saturation=levels)
    assert found.n_saturated.tolist() == [11, 0, 0]
    assert found.n_bad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("level", [float("-inf"), -3.4028235e38, 0.0, -0.0, float("inf")])
def test_any_level_may_be_that_of_saturation(backend, level):
    """At the lowest levels every finite pixel is saturated, dark ones too; at the highest none."""
    image = np.array(sky.make(100, 137, noise=5.0, seed=1))
    image[9, 3:7] = -3.4028235e38, -7.0, 0.0, -np.inf
    image[50, 50:53] = np.nan, np.inf, -np.inf
    background = hand_made(backend, 1, sigma=5.0, coefficients=(1000.0, 0, 0, 0, 0, 0))
    found = check_sources(backend, [image], None, background, saturation=[level])
    assert found.n_saturated.tolist() == [np.isfinite(image[image >= level]).sum()]


def test_saturated_pixels_count_masked_or_not(backend):
    image = np.array(sky.make(100, 137, noise=5.0, seed=1))
    image[3:5, 4:9] = 60000.0
    bad = np.zeros(image.shape, np.uint8)
    bad[3, 4:6], bad[90, 90] = 7, 4
    background = hand_made(backend, 1, sigma=5.0, coefficients=(1000.0, 0, 0, 0, 0, 0))
    found = check_sources(backend, [image], [bad], background, saturation=[50000.0])
    assert found.n_saturated.tolist() == [10]
    assert found.n_bad.tolist() == [3]


@pytest.mark.parametrize("constant", [4096.0, -2048.0])
def test_an_exact_constant_added_changes_nothing(backend, constant):
    """Eighths up to 60 000 + 4096 are exact in float32, and the fit moves by the constant, up to its own rounding."""
    raw = np.round(sky.night_sky(300, 310, seed=3).astype(float) * 8) / 8
    images = [sky.frozen(raw, np.float32), sky.frozen(raw + constant, np.float32)]
    before, after = (
        backend.to_host(backend.sources(stack, fitted(backend, stack), DEFAULT))
        for stack in (stack_of(backend, [i]) for i in images)
    )
    assert before.y.size > 3
    for name in ("ccd", "y", "x", "n_above", "n_isophote"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    # The rounding of the fit, 1e-12 of 5000, is weighted with up to 4096 pixels at up to 1024 square pixels.
    np.testing.assert_allclose(after.moments, before.moments, rtol=0, atol=1e-12 * 5000 * 4096 * 1024 / 3)
