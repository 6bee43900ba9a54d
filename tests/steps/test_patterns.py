"""Maps, profiles and spectra of the residual sky, both backends against naive_patterns and against known answers."""

from __future__ import annotations

from types import SimpleNamespace

import naive_patterns
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sky import frozen

from gpuanom.backends import pattern_layout
from gpuanom.backends.choice import select
from gpuanom.records import Unfit
from steps.harness import DEFAULT, fitted, hand_made, real_crop, stack_of, unfit

EXACT = (
    *("map_sum", "map_count", "map_usable", "row_sum", "row_count", "column_sum", "column_count", "bin_sum"),
    *("faint_bin_sum", "n_fine", "n_coarse", "crosstalk_sum", "crosstalk_count", "crosstalk_masked"),
)


def measured(backend, stack, background):
    """All that the step adds up, on the host: what it keeps, the sums of rows and columns, and the bins."""
    found = {}
    for record in backend.to_host(backend.patterns(stack, background, DEFAULT)):
        found.update(vars(record))
    return SimpleNamespace(**found)


def check_patterns(backend, images, bads, background, saturation=None):
    """All that the step adds up, against naive's, for the same background; returns it on the host."""
    stack = stack_of(backend, images, bads, saturation)
    found = measured(backend, stack, background)
    background, cells = backend.to_host(background), pattern_layout.MOST_MAP_CELLS
    for i, image in enumerate(images):
        if not background.usable[i]:
            for name in EXACT:
                assert not getattr(found, name)[i].any(), name
            assert not found.fine_power[i].any()
            assert not found.coarse_power[i].any()
            continue
        plane = unfit(None if bads is None else bads[i], Unfit.BACKGROUND)
        level = float("nan") if saturation is None else saturation[i]
        expected = naive_patterns.measured(image, plane, background.coefficients[i], background.sigma[i], level, cells)
        for name in EXACT:
            np.testing.assert_array_equal(getattr(found, name)[i], expected[name], name)
        for name in ("fine_power", "coarse_power"):
            # 1e-12 of the largest power: a transform of 16384 terms rounds by some 1e-15 of its largest number.
            largest = expected[name].max()
            np.testing.assert_allclose(getattr(found, name)[i], expected[name], rtol=0, atol=1e-12 * largest)
    return found


def sky(shape, *, seed=0, stars=0, level=1000.0, noise=30.0):
    """White noise, with round stars that are brighter than 4 sigma."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = level + noise * rng.standard_normal(shape)
    for _ in range(stars):
        at = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += rng.uniform(200, 5000) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)
    return image.astype(np.float32)


def masks(shape, seed, share=0.02):
    """A plane of bits with single bad pixels, a bad column and a bad corner."""
    rng = np.random.default_rng(seed)
    bad = np.where(rng.random(shape) < share, rng.integers(1, 8, shape), 0).astype(np.uint8)
    bad[:, shape[1] // 3] = 7
    bad[: shape[0] // 4, : shape[1] // 5] = Unfit.BACKGROUND
    return frozen(bad, np.uint8)


def test_stars_and_masks(backend):
    shape = (150, 203)
    images = [sky(shape, seed=1, stars=9), sky(shape, seed=2), sky(shape, seed=3, stars=3)]
    bads = [masks(shape, 1), None, masks(shape, 3, 0.3)]
    background = hand_made(backend, 3, sigma=(30.0, 29.0, 31.0), coefficients=[(1000.0, 3.0, -2.0, 1.0, 0.5, -4.0)])
    found = check_patterns(backend, images, bads, background, [float("nan"), 6000.0, 6000.0])
    assert np.all(found.map_count.sum(axis=(1, 2)) > 0)
    assert found.map_count[0].sum() < found.map_usable[0].sum()


def test_masked_places_near_the_bright_pixel_are_its_own_light(backend):
    """A place that is mirrored by exactly 64 pixels counts, and one by 62 does not: both pass for sources."""
    image = sky((96, 203), seed=5)
    for row, column in ((20, 133), (60, 132)):
        image[row, column], image[row, 202 - column] = 50000.0, 2000.0
    background = hand_made(backend, 1, sigma=30.0, coefficients=(1000.0, *5 * (0,)))
    found = check_patterns(backend, [frozen(image)], None, background, [60000.0])
    assert found.crosstalk_masked.tolist() == [1]


def test_parts_of_both_spectra(backend):
    """The smallest CCD that has parts of both kinds; its sides are no multiples of 4 or 32."""
    image = sky((515, 642), seed=4, stars=4)
    found = check_patterns(backend, [image], None, hand_made(backend, 1, sigma=30.0, coefficients=(1000.0, *5 * (0,))))
    assert (found.n_fine[0], found.n_coarse[0]) == (20, 2)


def test_cells_of_the_map_that_are_larger_than_32_pixels(backend, monkeypatch):
    """As on CCDs of over 2,048 cells: a block then adds up the rows of a cell of the map in several turns.

    The launch is long enough to be kept for ThreadSanitizer, which alone notices a barrier missing between two turns.
    """
    monkeypatch.setattr(pattern_layout, "MOST_MAP_CELLS", 8)
    shape = (300, 430)
    background = hand_made(backend, 2, sigma=30.0, coefficients=(1000.0, 3.0, -2.0, 1.0, 0.5, -4.0))
    images, bads = [sky(shape, seed=s, stars=5) for s in (9, 10)], [masks(shape, 9), None]
    found = check_patterns(backend, images, bads, background, [6000.0, 6000.0])
    assert found.map_sum.shape == (2, 2, 3)  # cells of 160 x 160 pixels


def test_what_is_not_finite_is_bad(backend):
    image = sky((131, 140), seed=5, stars=2)
    image[3, 4], image[50, 60:70], image[100, 1], image[101] = np.nan, np.inf, -np.inf, 3e38
    check_patterns(backend, [image], None, hand_made(backend, 1, sigma=30.0, coefficients=(1000.0, *5 * (0,))), [9e4])


def test_a_ccd_without_background_has_no_patterns(backend):
    images = [sky((64, 70)), np.full((64, 70), np.nan, np.float32), sky((64, 70), seed=2)]
    everything = np.full((64, 70), 7, np.uint8)
    background = hand_made(backend, 3, sigma=30.0, coefficients=(1000.0, *5 * (0,)), usable=[True, False, True])
    found = check_patterns(backend, images, [None, None, everything], background)
    assert found.map_usable[2].sum() == 0


@pytest.mark.parametrize("shape", [(64, 64), (65, 67), (130, 66), (66, 129)])
def test_odd_shapes(backend, shape):
    check_patterns(backend, [sky(shape, seed=6, stars=2)], [masks(shape, 7)], fitted_to(backend, shape))


def fitted_to(backend, shape):
    return hand_made(backend, 1, sigma=30.0, coefficients=(1000.0, *5 * (0,)))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(64, 80), st.integers(64, 90)),
    scale=st.sampled_from([1e-12, 1.0, 1e9]),
    share=st.sampled_from([0.0, 0.05, 0.9]),
)
def test_random_images(backend, seed, shape, scale, share):
    image = (sky(shape, seed=seed, stars=seed % 4) * np.float32(scale)).astype(np.float32)
    background = hand_made(backend, 1, sigma=28.0 * scale, coefficients=(1000.0 * scale, scale, *4 * (0,)))
    check_patterns(backend, [image], [masks(shape, seed, share)], background, [4000.0 * scale])


@pytest.mark.parametrize("name", ["vircam trail", "decam bleed trail", "kids tiny values"])
def test_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    image = image[:200, :180]
    bad = None if bad is None else frozen(bad[:200, :180], np.uint8)
    stack = stack_of(backend, [image], [bad])
    check_patterns(backend, [image], [bad], fitted(backend, stack))


@pytest.mark.parametrize("nx", [65535, 65540, 131076])
def test_pixels_of_very_wide_rows_are_counted(nx):
    """Rows are counted in 16 bits, a part of the row at a time. The cells of sources are not counted."""
    backend = select("cpu")
    image = np.zeros((64, nx), dtype=np.float32)
    image[30, :40:3] = 7.0
    background = hand_made(backend, 1)
    found = measured(backend, stack_of(backend, [image]), background)
    assert found.row_count[0, 0] == nx
    assert found.row_count.sum() == found.column_count.sum() == found.map_count.sum() < 64 * nx
    assert found.map_usable.sum() == 64 * nx


def test_backgrounds_that_differ_in_their_last_bits_give_equal_patterns(backend):
    image = sky((140, 150), seed=8, stars=3)
    c = np.array([1000.123, 3.3, -2.1, 1.7, 0.3, -4.4])
    stack = stack_of(backend, [image])
    one, other = (
        measured(backend, stack, hand_made(backend, 1, sigma=s, coefficients=a))
        for s, a in ((30.01, c), (30.01 * (1 + 1e-14), c * (1 + 1e-14)))
    )
    for name in (*EXACT, "fine_power", "coarse_power"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_ccds_of_a_stack_are_measured_apart(backend):
    """Alone, or in a stack with others: the same bits."""
    images = [sky((140, 150), seed=s, stars=s) for s in range(3)]

    def of_stack(images):
        background = hand_made(backend, len(images), sigma=30.0, coefficients=(1000.0, *5 * (0,)))
        return measured(backend, stack_of(backend, images), background)

    together = of_stack(images)
    for i, image in enumerate(images):
        alone = of_stack([image])
        for name in (*EXACT, "fine_power", "coarse_power"):
            np.testing.assert_array_equal(getattr(together, name)[i], getattr(alone, name)[0])


@pytest.mark.parametrize(("n", "shape"), [(9, (128, 131)), (2, (517, 645))])
def test_cpu_and_gpu_give_the_same_bits(gpu, n, shape):
    """Powers too: of a part alone, and of many parts of both kinds, masked ones among them."""
    images = [sky(shape, seed=s, stars=s % 3) for s in range(n)]
    bads = [None if s % 2 == 0 else masks(shape, s) for s in range(n)]
    found = []
    for backend in (select("cpu"), gpu):
        background = hand_made(backend, n, sigma=30.0, coefficients=(1000.0, 2.0, -3.0, 1.0, 0.5, 0.25))
        found.append(measured(backend, stack_of(backend, images, bads), background))
    for name in (*EXACT, "fine_power", "coarse_power"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    assert found[0].fine_power.any()
