"""Tests that need a real card, and comparisons with filters of another library: `pytest --require-gpu`.

All other tests of tests/ run on the card too. The comparisons also run without a card, where `cupyx.scipy.ndimage` is
SciPy.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import Ccd
from gpuanom.settings import Settings
from tests import device, naive, sky

QUICK = Settings(sigma_points=2000, gradient_points=600)


def images(n, ny, nx):
    """Busy skies of the same shape; if nx is odd, their rows begin at every possible place in a sector."""
    return [sky.night_sky(ny, nx, seed=s, n_stars=ny * nx // 8000) for s in range(n)]


def clean(n, ny, nx):
    """Skies without bad pixels: the filters of the library have no masks and would spread bad values."""
    return [sky.make(ny, nx, sky.plane(40, -30), sky.stars(20, seed=s), noise=8.0, seed=s) for s in range(n)]


def ccds(n, ny, nx):
    """The CCDs of a stack, one of them with a mask and one with NaN pixels only."""
    planes: list = [None] * n
    planes[1] = sky.bad_plane(ny, nx, fraction=0.01, seed=1)
    pictures = images(n, ny, nx)
    if n > 2:
        pictures[2] = np.full((ny, nx), np.nan, np.float32)
    return [Ccd(f"N{i}", picture, bad) for i, (picture, bad) in enumerate(zip(pictures, planes, strict=True))]


def drawn(n_ccd, n, ny, nx, margin, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(margin, (ny - margin, nx - margin), (n_ccd, n, 2), dtype=np.int32)


def every_step(gpu, stack, settings):
    """The results of each step for a stack, on the host."""
    n, ny, nx = stack.shape
    background = gpu.background(
        stack,
        drawn(n, 2 * settings.background_points, ny, nx, 0, 1),
        drawn(n, 2 * settings.sigma_points, ny, nx, 0, 2),
        settings,
    )
    sources = gpu.sources(stack, background, settings)
    gradients = gpu.gradients(stack, drawn(n, 2 * settings.gradient_points, ny, nx, 10, 3), background, settings)
    turns = np.zeros(n, np.int64)
    angles = gpu.orientation(sources.isophote_moments), gpu.gradient_orientation(gradients.dx, gradients.dy)
    histograms = [
        gpu.histogram(theta, record.ccd, turns, settings.bins)
        for theta, record in zip(angles, (sources, gradients), strict=True)
    ]
    reference = gpu.to_device(np.full(settings.bins, 1.0 / settings.bins))
    return gpu.to_host(
        (
            background,
            sources,
            gradients,
            histograms,
            gpu.divergence(histograms[1].counts, reference),
            gpu.stamps(stack, background, sources, settings),
            (patterns := gpu.patterns(stack, background, settings)),
            gpu.profiles(patterns[1]),
            gpu.lines(patterns[2]),
            gpu.shapes(stack, background, sources, settings),
            gpu.repeats(stack, background, sources, turns, np.arange(len(turns)) // 2, settings),
        )
    )


def arrays(record):
    """The arrays of a record, or of a list of records, in order."""
    if isinstance(record, np.ndarray):
        yield record
    elif isinstance(record, list | tuple):
        for part in record:
            yield from arrays(part)
    elif dataclasses.is_dataclass(record):
        yield from arrays([getattr(record, field.name) for field in dataclasses.fields(record)])


def of_ccds(measured):
    """The measurements, with each CCD's own rows of what its stack contributes to the statistics of the exposure.

    The pairs of sources of all CCDs come last: those are counted together for the CCDs of a stack.
    """
    found, stacks = [], dict.fromkeys(ccd.parts.stack for ccd in measured)
    for ccd in measured:
        of_stack, number, _ = ccd.parts
        row = of_stack.rows.get(number)
        stack = None if row is None else of_stack.parts
        shared = [] if stack is None else list(arrays(dataclasses.replace(stack, stars=None)))
        found += [dataclasses.replace(ccd, parts=None), [array[row] for array in shared]]
        found += [] if stack is None else [stack.stars.of_ccds([row])]
    return [*found, sum(of_stack.maxima[0].pairs for of_stack in stacks)]


def bits(record):
    """The bytes of all arrays, so that any two results differ that differ in a bit, even in the bits of a NaN."""
    return [(array.dtype.str, array.shape, array.tobytes()) for array in arrays(record)]


# The same bits, whatever else runs on the card


@pytest.mark.card
def test_every_step_repeated_gives_the_same_bits(gpu):
    stack = gpu.prepare(ccds(4, 1022, 1025), 4)
    settings = Settings()
    expected = bits(every_step(gpu, stack, settings))
    assert len(expected) > 20
    for _ in range(20):
        assert bits(every_step(gpu, stack, settings)) == expected


@pytest.mark.card
def test_the_cards_own_order_of_blocks_changes_nothing(gpu):
    """With two streams at once the blocks of each find other multiprocessors free than those of a single stream."""
    stack, settings = gpu.prepare(ccds(4, 1022, 1025), 4), Settings()
    expected = bits(every_step(gpu, stack, settings))
    other = gpu.lanes(2)[1]
    points = [drawn(4, 2 * n, 1022, 1025, 0, n) for n in (settings.background_points, settings.sigma_points)]
    for _ in range(5):
        with other.working():
            busy = [other.background(stack, *points, settings) for _ in range(20)]
        assert bits(every_step(gpu, stack, settings)) == expected
        other.to_host(busy)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_measurements_have_the_same_bits_however_many_ccds_share_a_launch(gpu, monkeypatch, together):
    shape = (1022, 1025) if device.is_off() else (130, 161)
    settings = Settings() if device.is_off() else QUICK
    given = ccds(5, *shape)
    expected = bits(of_ccds(measure_ccds("e", given, settings, gpu)))
    monkeypatch.setattr(type(gpu), "group_size", lambda *_: together)
    assert bits(of_ccds(measure_ccds("e", given, settings, gpu))) == expected


# Comparisons with filters of another library


@pytest.mark.parametrize("size", [2, 10, 30])
def test_gradients_are_those_of_the_librarys_uniform_filter(gpu, size):
    """The mean filter of the library, followed by eqs. 6 and 7 at each point, gives the result of our single filter."""
    import cupy
    from cupyx.scipy import ndimage

    pictures, settings = clean(2, 150, 171), QUICK.replace(smooth_size=size)
    stack = gpu.prepare([Ccd(str(i), p) for i, p in enumerate(pictures)], 2)
    background = gpu.background(stack, drawn(2, 2000, 150, 171, 0, 1), drawn(2, 4000, 150, 171, 0, 2), settings)
    points = drawn(2, 200, 150, 171, settings.patch_size // 2, 3)
    found = gpu.to_host(gpu.gradients(stack, points, background, settings))
    for i, picture in enumerate(pictures):
        smoothed = cupy.asnumpy(ndimage.uniform_filter(cupy.asarray(picture.astype(float)), size=size))
        expected = np.array([naive.gradient(smoothed, y, x) for y, x in points[i]])
        mine = found.ccd == i
        # The running sums of the library carry an error of 1e-16 of the largest pixel from each mean to the next, and a
        # gradient adds up 110 differences of such means.
        for name, wanted in (("dx", expected[:, 0]), ("dy", expected[:, 1])):
            assert np.abs(getattr(found, name)[mine] - wanted).max() <= 1e-11 * np.abs(picture).max()


@pytest.mark.parametrize("stamp_size", [16, 64])
def test_sources_are_where_the_librarys_maximum_filter_finds_peaks(gpu, stamp_size):
    import cupy
    from cupyx.scipy import ndimage

    settings = QUICK.replace(stamp_size=stamp_size)
    pictures, half = clean(2, 330, 351), stamp_size // 2
    stack = gpu.prepare([Ccd(str(i), p) for i, p in enumerate(pictures)], 2)
    background = gpu.background(stack, drawn(2, 2000, 330, 351, 0, 1), drawn(2, 4000, 330, 351, 0, 2), settings)
    found, about = gpu.to_host((gpu.sources(stack, background, settings), background))
    for i, picture in enumerate(pictures):
        c0, c1, c2, c3, c4, c5 = about.coefficients[i]
        y, x = (2.0 * np.arange(n) / (n - 1) - 1.0 for n in picture.shape)
        y = y[:, None]
        v = cupy.asarray(picture - (c0 + c1 * x + c2 * y + c3 * x * x + c4 * x * y + c5 * y * y))
        brightest = cupy.asnumpy(v == ndimage.maximum_filter(v, size=stamp_size))
        above = cupy.asarray((cupy.asnumpy(v) > settings.above_threshold * about.sigma[i]).astype(float))
        pixels = np.rint(cupy.asnumpy(ndimage.uniform_filter(above, size=stamp_size)) * stamp_size**2)
        peaks = brightest & (cupy.asnumpy(v) > settings.threshold * about.sigma[i]) & (pixels > settings.above_pixels)
        inside = np.s_[half : 331 - half, half : 352 - half]
        expected = np.argwhere(peaks[inside]) + half
        mine = found.ccd == i
        assert len(expected) > 5
        assert np.array_equal(np.stack([found.y[mine], found.x[mine]], 1), expected)
        assert found.n_above[mine].tolist() == pixels[expected[:, 0], expected[:, 1]].tolist()
