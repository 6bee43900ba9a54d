"""Moments of sources and of their isophotes (METHOD.md 3, 3b) by hand; test_sources.py compares them with naive.py."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import sky
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.records import Unfit
from steps.harness import DEFAULT, check_sources, device, hand_made

ANGLES = [0, 30, 45, 60, 90, 120, 135, 150, -30]


def one_source(backend, *layers, ny=129, nx=131, settings=DEFAULT, bad=None, sigma=1.0):
    """The only source of a CCD of zeros with these layers: moments, isophote moments, number of isophote pixels."""
    image = sky.make(ny, nx, *layers, sky=0.0)
    found = check_sources(
        backend, [image], None if bad is None else [bad], hand_made(backend, 1, sigma=sigma), settings
    )
    assert found.y.size == 1
    return found.moments[0].tolist(), found.isophote_moments[0].tolist(), int(found.n_isophote[0])


def line(*pixels, height=10.0):
    """A centre of height 100 at (64, 65), and other pixels at offsets (row, column) from the centre."""
    return sky.dots([(64, 65, 100.0), *[(64 + j, 65 + i, height) for j, i in pixels]])


def degrees_apart(theta, degrees):
    """The difference of two orientations, in degrees."""
    return abs((math.degrees(theta) - degrees + 90) % 180 - 90)


# Angles


@pytest.mark.parametrize("degrees", ANGLES)
@pytest.mark.parametrize("profile", [sky.gaussian, sky.moffat])
def test_an_ellipse_has_its_angle(backend, degrees, profile):
    moments, isophote, _ = one_source(backend, profile(64, 65, 5000.0, 5.0, degrees=degrees, ratio=0.6))
    for q in (moments, isophote):
        theta = backend.to_host(backend.orientation(device(backend, np.array([q]))))[0]
        # Only whole pixels lie above a threshold: an ellipse of some 500 pixels keeps its angle to well under half a
        # degree. Along the axes of the grid the ellipse is symmetric, and its angle is exact but for rounding.
        assert degrees_apart(theta, degrees) < (1e-9 if degrees % 45 == 0 else 0.4)


@pytest.mark.parametrize("degrees", ANGLES)
def test_a_double_image_has_its_angle(backend, degrees):
    moments, _, _ = one_source(backend, sky.double(64, 65, 900.0, 12.0, degrees))
    # The pixels of the second image, at a distance of 12, determine the angle: half a pixel there is two degrees.
    assert degrees_apart(backend.to_host(backend.orientation(device(backend, np.array([moments]))))[0], degrees) < 2


def test_a_round_star_has_equal_moments(backend):
    moments, isophote, _ = one_source(backend, sky.gaussian(64, 65, 5000.0, 4.0))
    for q20, q02, q11 in (moments, isophote):
        assert abs(q20 - q02) <= 1e-12 * q20  # symmetric up to the last bit of exp, and summed in another order
        assert abs(q11) <= 1e-12 * q20


# Sums by hand


def test_sums_by_hand(backend):
    """x runs along columns: a pixel at (row +1, column +3) of height 10 adds 90 to Q20, 10 to Q02 and 30 to Q11."""
    six = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 3), (-2, 5)]
    moments, isophote, n = one_source(backend, line(*six))
    assert moments == [20 + 90 + 250, 20 + 10 + 40, 30 - 100]
    assert isophote == [20, 20, 0]
    assert n == 5


def test_the_last_bit_does_not_depend_on_the_place_in_the_stack(backend):
    """Rows of an odd width begin anywhere in a sector of memory, which decides what a thread of a GPU adds up."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 1.0, (129, 131)).astype(np.float32)
    image = (sky.make(129, 131, sky.gaussian(64, 65, 90.0, 5.0, degrees=20, ratio=0.7), sky=0.0) + noise).astype("f4")
    coefficients = (1 / 3, 1 / 7, 1 / 11, 1 / 13, 1 / 17, 1 / 19)  # else the sums would be exact
    alone = check_sources(backend, [image], None, hand_made(backend, 1, coefficients=coefficients))
    found = check_sources(backend, [image] * 8, None, hand_made(backend, 8, coefficients=coefficients))
    assert found.y.size == 8 * alone.y.size > 0
    for name in ("moments", "isophote_moments"):
        assert getattr(found, name).tobytes() == 8 * getattr(alone, name).tobytes()


def test_the_stamp_holds_minus_32_and_plus_31(backend):
    near = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)]
    base = one_source(backend, line(*near))[0]
    for (j, i), held in {
        (-32, 0): True,
        (31, 0): True,
        (32, 0): False,
        (-33, 0): False,
        (0, -32): True,
        (0, 31): True,
        (0, 32): False,
        (0, -33): False,
        (-32, -32): True,
        (31, 31): True,
        (-32, 32): False,
    }.items():
        moments = one_source(backend, line(*near, (j, i)))[0]
        added = [10.0 * i * i, 10.0 * j * j, 10.0 * i * j] if held else [0, 0, 0]
        assert moments == [a + b for a, b in zip(base, added, strict=True)], (j, i)


@pytest.mark.parametrize(("height", "counts"), [(2.0, False), (2.0 + 2**-22, True), (-50.0, False)])
def test_only_pixels_above_two_percent_of_the_centre_count(backend, height, counts):
    """The centre is 100, so that I0 = 2 exactly; with sigma = 0.5 the limit of the isophote, 2 sigma = 1, is lower."""
    near = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)]
    at_limit = sky.dots([(64, 67, height), (70, 65, height)])
    moments, isophote, n = one_source(backend, line(*near), at_limit, sigma=0.5)
    assert moments == [40 + counts * height * 4, 40 + counts * height * 36, 0]
    assert isophote == [40 + counts * height * 4, 40, 0]
    assert n == 7 + counts


@pytest.mark.parametrize(("height", "counts"), [(8.0, False), (8.0 + 2**-20, True), (5.0, False)])
def test_the_isophote_keeps_to_two_sigma(backend, height, counts):
    """Sigma = 4: pixels from 2 to 8 are above I0 = 2 and count in section 3, but not in 3b."""
    near = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)]
    moments, isophote, n = one_source(backend, line(*near), sky.dots([(64, 67, height)]), sigma=4.0)
    assert moments == [40 + height * 4, 40, 0]
    assert isophote == [40 + counts * height * 4, 40, 0]
    assert n == 7 + counts


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 50.0])
def test_bad_pixels_add_nothing(backend, value):
    bad = np.zeros((129, 131), np.uint8)
    bad[64, 67] = Unfit.SOURCES if np.isfinite(value) else 0
    near = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)]
    moments, isophote, n = one_source(backend, line(*near), sky.dots([(64, 67, value)]), bad=bad)
    assert moments == isophote == [40, 40, 0]
    assert n == 7


@pytest.mark.parametrize("bits", [Unfit.BACKGROUND, Unfit.GRADIENTS])
def test_bits_of_other_steps_take_nothing_away(backend, bits):
    bad = np.full((129, 131), bits, np.uint8)
    near = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1)]
    assert one_source(backend, line(*near), bad=bad) == ([40, 40, 0], [40, 40, 0], 7)


# Connectivity


FIVE = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def test_diagonals_do_not_connect(backend):
    _, isophote, n = one_source(backend, line(*FIVE, (2, 1), (2, 2), (3, 2)))
    assert (isophote, n) == ([20, 20, 0], 5)
    _, isophote, n = one_source(backend, line(*FIVE, (2, 1), (1, 1), (2, 2), (3, 2)))
    assert n == 9


@pytest.mark.parametrize("near", [[(0, 1), (0, 2), (1, 0)], [(0, 1), (0, 2), (1, 0), (1, 1)]])
def test_four_and_five_connected_pixels(backend, near):
    """With fewer than five pixels there is no isophotal angle; the number of pixels shows that."""
    apart = [(10, 10), (12, 10), (14, 10), (16, 10)]
    assert one_source(backend, line(*near, *apart))[2] == len(near) + 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 10.0])
def test_a_bad_pixel_cuts_the_connection(backend, value):
    bad = np.zeros((129, 131), np.uint8)
    bad[64, 70] = Unfit.SOURCES if np.isfinite(value) else 0
    arm = [(0, i) for i in range(1, 20)]
    cut = sky.dots([(64, 70, value)])
    moments, isophote, n = one_source(backend, line(*arm), cut, bad=bad)
    assert n == 5
    assert isophote == [10.0 * sum(i * i for i in range(1, 5)), 0, 0]
    assert moments == [10.0 * sum(i * i for i in range(1, 20) if i != 5), 0, 0]


def test_the_stamp_cuts_the_connection(backend):
    """An arm leaves the stamp on one row and comes back on another row: only its first half is connected."""
    arm = [(0, i) for i in range(1, 35)] + [(1, 34), (2, 34)] + [(2, i) for i in range(10, 34)]
    assert one_source(backend, line(*arm))[2] == 1 + 31
    arm = [(0, -i) for i in range(1, 35)] + [(1, -34), (2, -34)] + [(2, -i) for i in range(10, 34)]
    assert one_source(backend, line(*arm))[2] == 1 + 32


def spiral(turns):
    """Offsets of a square spiral, one pixel wide with gaps of one pixel: the longest path for the flood fill."""
    j = i = 0
    step, out = 2, []
    for turn in range(turns):
        dj, di = [(0, 1), (1, 0), (0, -1), (-1, 0)][turn % 4]
        for _ in range(step):
            j, i = j + dj, i + di
            out.append((j, i))
        step += 2 * (turn % 2)
    return out


def test_a_spiral_is_one_isophote(backend):
    arm = spiral(29)
    assert max(max(abs(j), abs(i)) for j, i in arm) <= 31
    assert one_source(backend, line(*arm))[2] == len(arm) + 1


@pytest.mark.parametrize("stamp_size", [16, 30, 62, 64])
def test_a_full_stamp_is_one_isophote(backend, stamp_size):
    """Every pixel is set, so that the 64-bit words of rows have no gap: no bit may leak from edge to edge."""
    settings = DEFAULT.replace(stamp_size=stamp_size)
    image = np.full((64, 64), 10.0, np.float32)
    image[32, 32] = 100.0
    found = check_sources(backend, [image], None, hand_made(backend, 1), settings)
    assert found.n_isophote.tolist() == [stamp_size**2]
    image[:, 33] = 0.0
    found = check_sources(backend, [image], None, hand_made(backend, 1), settings)
    assert found.n_isophote.tolist() == [stamp_size * (stamp_size // 2 + 1)]


@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.4, 0.55, 0.6, 0.65, 0.8, 0.95]),
    stamp_size=st.sampled_from([16, 30, 64]),
)
def test_ragged_isophotes(backend, seed, share, stamp_size):
    """Near the percolation threshold, 0.593, connected pixels form long and winding paths."""
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((70, 75)) < share, rng.integers(3, 10, (70, 75)), 0).astype(np.float32)
    image[33, 34] = 40.0
    bad = rng.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 4], image.shape).astype(np.uint8)
    bad[33, 34] = 0
    found = check_sources(backend, [image], [bad], hand_made(backend, 1), DEFAULT.replace(stamp_size=stamp_size))
    assert found.y.size >= 1


def test_a_higher_isophote_than_the_source_has_no_pixels(backend):
    """This needs special settings; the centre itself is then below the threshold of the isophote."""
    settings = DEFAULT.replace(isophote_threshold=200.0)
    _, isophote, n = one_source(backend, line(*FIVE, (1, 1), (1, -1)), settings=settings)
    assert (isophote, n) == ([0, 0, 0], 0)


def test_naive_by_hand():
    """A check of naive.py by hand."""
    image = np.zeros((64, 64), np.float32)
    image[32, 32], image[33, 35], image[32, 33] = 100.0, 10.0, 5.0
    sums, magnitudes = naive.moments(image, None, (0,) * 6, 32, 32)
    assert sums == (95.0, 10.0, 30.0)
    assert magnitudes == (95.0, 10.0, 30.0)
    sums, _, n = naive.isophote_moments(image, None, (0,) * 6, 1.0, 32, 32)
    assert (sums, n) == ((5.0, 0.0, 0.0), 2)
