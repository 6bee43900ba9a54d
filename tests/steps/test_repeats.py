"""Maxima of small squares and the differences of their positions (METHOD.md 11)."""

from __future__ import annotations

import math
from dataclasses import replace

import naive_shapes
import numpy as np
import pytest
import sky
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuanom.backends import limits
from gpuanom.records import Turn, Unfit
from gpuanom.settings import Settings
from steps.harness import DEFAULT, hand_made, real_crop, stack_of, unfit

SKY = (0.0,) * 6


def repeated(
    backend,
    images,
    bads=None,
    *,
    background=None,
    saturation=None,
    turns=None,
    settings=DEFAULT,
    damaged=None,
    exposures=None,
):
    """The step's answer for a stack, on the host; of one exposure, unless each CCD's exposure is given."""
    stack = stack_of(backend, images, bads, saturation)
    if damaged is not None:
        stack = replace(stack, damaged=device_ints(backend, damaged))
    background = hand_made(backend, len(images)) if background is None else background
    sources = backend.sources(stack, background, settings)
    turns = np.array([Turn.NONE] * len(images) if turns is None else turns, np.int64)
    of_ccds = np.zeros(len(images), np.int64) if exposures is None else np.array(exposures, np.int64)
    found = backend.to_host(backend.repeats(stack, background, sources, turns, of_ccds, settings))
    assert found.pairs.shape[0] == max(of_ccds) + 1
    return replace(found, pairs=found.pairs[0]) if exposures is None else found


def device_ints(backend, numbers):
    """Whole numbers of 32 bits where the backend works."""
    array = sky.frozen(numbers, np.int32)
    if backend.name == "cpu":
        return array
    import cupy

    with backend.working():
        return cupy.asarray(array)


def check(backend, images, bads=None, *, sigma=1.0, coefficients=SKY, saturation=None, turns=None, settings=DEFAULT):
    """The backend's pairs against plain loops; returns them on the host."""
    background = hand_made(backend, len(images), sigma=sigma, coefficients=coefficients)
    found = repeated(
        backend, images, bads, background=background, saturation=saturation, turns=turns, settings=settings
    )
    expected, numbers = np.zeros(found.pairs.shape, int), []
    for i, image in enumerate(images):
        positions = naive_shapes.maxima(
            image,
            None if bads is None else unfit(bads[i], Unfit.SOURCES),
            coefficients,
            sigma,
            saturation=math.nan if saturation is None else saturation[i],
            tile=settings.stamp_size // 2,
        )
        turn = Turn.NONE if turns is None else turns[i]
        quarter, mirrored = bool(turn & Turn.QUARTER), bool(turn & Turn.MIRRORED)
        expected += naive_shapes.pairs(positions, quarter=quarter, mirrored=mirrored)
        numbers.append(len(positions))
    assert found.n_maxima.tolist() == numbers
    np.testing.assert_array_equal(found.pairs, expected)
    return found


def points(ny, nx, *pixels):
    """A CCD of zeros with single bright pixels, (y, x, value)."""
    return sky.make(ny, nx, sky.dots(pixels), sky=0.0)


def bins(found):
    """{(dy, dx) of the first pixel of a bin: count}."""
    return {(2 * int(i) - 32, 2 * int(j) - 256): int(found.pairs[i, j]) for i, j in np.argwhere(found.pairs)}


# Against plain loops


@pytest.mark.parametrize(("ny", "nx"), [(200, 230), (97, 131)])
@pytest.mark.parametrize("turn", list(Turn))
def test_matches_naive_on_busy_skies(backend, ny, nx, turn):
    images = [sky.night_sky(ny, nx, seed=s, n_stars=60) for s in (4, 5)]
    bads = [sky.bad_plane(ny, nx, fraction=0.01, seed=5), None]
    coefficients = (1000.0, 20.0, -10.0, 5.0, -3.0, 8.0)
    turns = [turn, Turn.NONE]
    found = check(
        backend, images, bads, sigma=8.0, coefficients=coefficients, saturation=[25000.0, math.nan], turns=turns
    )
    assert found.n_maxima.min() > 10


@pytest.mark.parametrize("threshold", [7.0, 30.0, 1e6])
def test_maxima_are_above_8_sigma_whatever_the_threshold_of_sources_is(backend, threshold):
    images = [sky.night_sky(130, 160, seed=s, n_stars=40) for s in (4, 5)]
    found = check(backend, images, sigma=8.0, coefficients=(1000.0, *[0.0] * 5), settings=Settings(threshold=threshold))
    assert found.n_maxima.min() > 10


@pytest.mark.parametrize("name", ["decam masked columns", "decam bleed trail"])
def test_matches_naive_on_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    image, bad = image[:250, :200].copy(), None if bad is None else bad[:250, :200].copy()
    level = float(np.nanmedian(image))
    sigma = 1.4826 * float(np.nanmedian(np.abs(image - level)))
    check(backend, [image], [bad], sigma=sigma, coefficients=(level, 0, 0, 0, 0, 0))


@given(
    ny=st.integers(64, 100),
    nx=st.integers(64, 100),
    stamp_size=st.sampled_from([16, 22, 64]),
    high=st.integers(9, 12),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=8)
def test_small_whole_numbers_provoke_ties(backend, ny, nx, stamp_size, high, seed):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((ny, nx)) < 0.05, rng.integers(0, high, (ny, nx), endpoint=True), 0)
    bad = sky.bad_plane(ny, nx, fraction=0.05, seed=seed)
    check(backend, [sky.frozen(image, np.float32)], [bad], settings=Settings(stamp_size=stamp_size))


# By hand


def test_a_pair_is_counted_both_ways_where_there_is_room(backend):
    found = repeated(backend, [points(160, 160, (40, 40, 100.0), (75, 101, 50.0))])
    assert found.n_maxima.tolist() == [2]
    assert bins(found) == {(34, 60): 1}  # -35 is beyond the margin of 32
    found = repeated(backend, [points(160, 160, (40, 40, 100.0), (72, 101, 50.0))])
    assert bins(found) == {(32, 60): 1, (-32, -62): 1}


@pytest.mark.parametrize("turn", list(Turn))
def test_differences_are_turned_into_the_focal_plane(backend, turn):
    found = repeated(backend, [points(160, 160, (40, 40, 100.0), (50, 70, 50.0))], turns=[turn])
    dy, dx = {
        Turn.NONE: (10, 30),
        Turn.QUARTER: (30, -10),
        Turn.MIRRORED: (-10, 30),
        Turn.MIRRORED_QUARTER: (30, 10),
    }[turn]
    even = [(2 * (sign * dy // 2), 2 * (sign * dx // 2)) for sign in (1, -1)]
    assert bins(found) == dict.fromkeys(even, 1)


@pytest.mark.parametrize(("dy", "dx", "counts"), [(255, 0, 1), (256, 0, 0), (0, 255, 2), (0, 256, 1), (0, 257, 0)])
def test_differences_end_at_256_pixels(backend, dy, dx, counts):
    y, x = (20, 40) if dy else (40, 20)
    found = repeated(backend, [points(320, 320, (y, x, 100.0), (y + dy, x + dx, 50.0))])
    assert found.pairs.sum() == counts


@pytest.mark.parametrize(("height", "there"), [(8.0, 0), (8.001, 1)])
def test_a_maximum_is_above_8_sigma(backend, height, there):
    assert repeated(backend, [points(96, 96, (48, 48, height))]).n_maxima.tolist() == [there]


@pytest.mark.parametrize("dy", [-4, -3, 0, 3, 4])
@pytest.mark.parametrize("dx", [-4, -3, 3, 4])
@pytest.mark.parametrize("value", [50.0, 100.0])
def test_a_square_reaches_3_pixels_to_each_side(backend, dy, dx, value):
    found = repeated(backend, [points(128, 128, (60, 60, 100.0), (60 + dy, 60 + dx, value))])
    # Of equal neighbours the first counts.
    assert found.n_maxima.tolist() == [2 if max(abs(dy), abs(dx)) > 3 else 1]


@pytest.mark.parametrize(("dy", "dx"), [(-3, 3), (-1, 3), (0, 3), (3, -3), (3, 3)])
def test_equal_neighbours_at_the_edge_of_the_square_match_naive(backend, dy, dx):
    check(backend, [points(128, 128, (60, 60, 100.0), (60 + dy, 60 + dx, 100.0))])


def test_bad_pixels_make_no_maxima_and_outshine_nobody(backend):
    image = np.array(points(128, 128, (60, 60, 50.0), (60, 62, 100.0)))
    bad = np.zeros((128, 128), np.uint8)
    bad[60, 62] = Unfit.SOURCES
    found = repeated(backend, [image], [bad])
    assert found.n_maxima.tolist() == [1]
    bad[60, 62] = Unfit.BACKGROUND
    assert repeated(backend, [image], [bad]).n_maxima.tolist() == [1]
    for value in (np.nan, np.inf):
        image[60, 62] = value
        image[20, 20], image[20, 22] = 60.0, value
        assert repeated(backend, [image]).n_maxima.tolist() == [2]


def test_saturated_pixels_make_no_maxima_but_outshine(backend):
    image = points(128, 128, (60, 60, 100.0), (60, 62, 50.0), (90, 90, 99.0))
    assert repeated(backend, [image], saturation=[math.nan]).n_maxima.tolist() == [2]
    assert repeated(backend, [image], saturation=[100.0]).n_maxima.tolist() == [1]


@pytest.mark.parametrize(
    ("y", "x", "there"),
    [(2, 40, 0), (3, 40, 1), (40, 2, 0), (40, 3, 1), (124, 40, 1), (125, 40, 0), (40, 124, 1), (40, 125, 0)],
)
def test_a_square_must_lie_on_the_ccd(backend, y, x, there):
    assert repeated(backend, [points(128, 128, (y, x, 100.0))]).n_maxima.tolist() == [there]


def test_tiles_that_the_edge_cuts_off_have_no_maxima(backend):
    assert repeated(backend, [points(100, 100, (90, 50, 100.0), (98, 50, 100.0))]).n_maxima.tolist() == [1]


@pytest.mark.parametrize(("y", "x", "dy", "dx"), [(16, 21, 0, 1), (21, 16, 1, 0), (21, 21, 1, 1)])
def test_a_maximum_counts_in_one_tile_only(backend, y, x, dy, dx):
    """Tiles of 11 pixels, and a star whose brightest pixel is the first of its tile."""
    image = points(66, 66, (y, x, 50.0), (y + dy, x + dx, 100.0))
    assert repeated(backend, [image], settings=Settings(stamp_size=22)).n_maxima.tolist() == [1]


def test_a_tile_gives_its_first_four_maxima(backend):
    image = points(96, 96, *((34 + 5 * k, 50, 100.0 + k) for k in range(6)))
    found = repeated(backend, [image])
    assert found.n_maxima.tolist() == [4]
    assert max(dy for dy, _ in bins(found)) == 14  # 15 between the first and the fourth


def equal(n):
    return np.full(n, 100.0, np.float32)


def apart_by_the_last_bits(n):
    return np.float32(100.0) + np.arange(n, dtype=np.float32) * np.spacing(np.float32(100.0))


def of_all_sizes(n):
    return np.geomspace(9.0, 1e35, n).astype(np.float32)


def two_sizes_with_the_last_places_shared(n):
    """1000 bright ones, and 24 places for the others, which are equal."""
    return np.where(np.arange(n) < 1000, 200.0, 100.0).astype(np.float32)


def pairs_of_the_brightest(y, x, height, nx):
    """The pairs of a CCD, from the positions and heights of all maxima."""
    kept = np.lexsort((y * nx + x, -height.astype(float)))[: limits.MAXIMA_A_CCD]
    dy, dx = np.subtract.outer(y[kept], y[kept]), np.subtract.outer(x[kept], x[kept])
    near = (dy >= -32) & (dy < 256) & (dx >= -256) & (dx < 256) & ~np.eye(len(kept), dtype=bool)
    expected = np.zeros((144, 256), int)
    np.add.at(expected, ((dy[near] + 32) // 2, (dx[near] + 256) // 2), 1)
    return expected


@pytest.mark.parametrize(
    ("heights", "n"),
    [
        *((equal, n) for n in (0, 1, 1023, 1024, 1025, 1296)),
        (apart_by_the_last_bits, 1025),
        (apart_by_the_last_bits, 1296),
        (of_all_sizes, 1296),
        (two_sizes_with_the_last_places_shared, 1296),
    ],
)
def test_the_brightest_are_chosen_of_any_number_of_maxima_whatever_their_heights(backend, heights, n):
    """A maximum a tile, anywhere in it, so that the order of the tiles is not that of the pixels."""
    side, tile = 36, 16
    rng = np.random.default_rng(n)
    tiles = np.sort(rng.permutation(side * side)[:n])
    y, x = (tile * t + rng.integers(4, 12, n) for t in np.divmod(tiles, side))
    height = rng.permutation(heights(n))
    image = np.zeros((side * tile, side * tile), np.float32)
    image[y, x] = height
    image[0, 0] = np.nan
    found = repeated(backend, [sky.frozen(image)], settings=Settings(stamp_size=2 * tile))
    assert found.n_maxima.tolist() == [min(n, 1024)]
    np.testing.assert_array_equal(found.pairs, pairs_of_the_brightest(y, x, height, side * tile))


def test_four_maxima_of_every_tile_are_more_than_fit(backend):
    """Two CCDs of 18 x 18 tiles with four maxima each, and one without any between them."""
    n, space = 36, 8
    y, x = space * np.indices((n, n)).reshape(2, -1) + 4
    images, expected = np.zeros((3, n * space, n * space), np.float32), np.zeros((144, 256), int)
    for i in (0, 2):
        images[i, y, x] = np.random.default_rng(i).integers(9, 14, n * n)
        expected += pairs_of_the_brightest(y, x, images[i, y, x], n * space)
    found = repeated(backend, [sky.frozen(image) for image in images], settings=Settings(stamp_size=4 * space))
    assert found.n_maxima.tolist() == [1024, 0, 1024]
    np.testing.assert_array_equal(found.pairs, expected)


def test_a_stack_adds_its_ccds_and_leaves_out_damaged_and_unusable_ones(backend):
    images = [sky.night_sky(100, 140, seed=s, n_stars=30) for s in (1, 2, 3, 4)]
    background = hand_made(backend, 4, sigma=8.0, coefficients=(1000.0, 20, -10, 5, -3, 8), usable=[1, 1, 0, 1])
    one = hand_made(backend, 1, sigma=8.0, coefficients=(1000.0, 20, -10, 5, -3, 8))
    alone = [repeated(backend, [image], background=one) for image in images]
    found = repeated(backend, images, background=background, damaged=[-1, 0, -1, -1])
    np.testing.assert_array_equal(found.pairs, alone[0].pairs + alone[3].pairs)
    assert found.n_maxima.tolist() == [alone[0].n_maxima[0], 0, 0, alone[3].n_maxima[0]]
    assert found.pairs.dtype == np.int32


def test_exposures_of_a_stack_are_counted_apart(backend):
    """In any order of the CCDs, and with an exposure between them that has no CCD in the stack."""
    images = [sky.night_sky(100, 140, seed=s, n_stars=30) for s in (1, 2, 3, 4)]
    background = hand_made(backend, 4, sigma=8.0, coefficients=(1000.0, 20, -10, 5, -3, 8))
    one = hand_made(backend, 1, sigma=8.0, coefficients=(1000.0, 20, -10, 5, -3, 8))
    turns = [Turn.NONE, Turn.QUARTER, Turn.MIRRORED, Turn.NONE]
    alone = [
        repeated(backend, [image], background=one, turns=[turn]).pairs
        for image, turn in zip(images, turns, strict=True)
    ]
    assert all(pairs.any() for pairs in alone)
    found = repeated(backend, images, background=background, turns=turns, exposures=[2, 0, 2, 0])
    expected = [alone[1] + alone[3], np.zeros_like(alone[0]), alone[0] + alone[2]]
    np.testing.assert_array_equal(found.pairs, expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1e30])
def test_nothing_to_see(backend, value):
    found = repeated(backend, [np.full((70, 80), value, np.float32)])
    assert found.n_maxima.tolist() == [0] if value != 1e30 else [1]
    assert not found.pairs.any()


def test_sources_from_the_host_are_refused(backend):
    image = points(96, 96, (48, 48, 100.0))
    stack, background = stack_of(backend, [image]), hand_made(backend, 1)
    sources = replace(backend.sources(stack, background, DEFAULT), brightest=None)
    with pytest.raises(ValueError, match="brightest"):
        backend.repeats(stack, background, sources, *np.zeros((2, 1), np.int64), DEFAULT)
