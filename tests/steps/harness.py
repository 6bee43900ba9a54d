"""What the tests of the steps share: stacks, points, comparisons with their tolerances, and crops of real images."""

from __future__ import annotations

import functools
import warnings

import naive
import numpy as np
from astropy.io import fits
from sky import frozen

from gpuanom.records import Background, Ccd, Unfit
from gpuanom.settings import Settings

DEFAULT = Settings()


# Records in and out


def device(backend, array):
    """A read-only array in the memory of the backend."""
    frozen_array = frozen(array)
    return frozen_array if backend.name == "cpu" else backend.to_device(frozen_array)


def stack_of(backend, images, bads=None, saturation=None):
    """The stack of images of the same shape, each with its bad-pixel plane or None."""
    bads = [None] * len(images) if bads is None else bads
    levels = [float("nan")] * len(images) if saturation is None else saturation
    ccds = [
        Ccd(
            name=f"N{i + 1}",
            image=frozen(image, np.float32),
            bad=None if bad is None else frozen(bad, np.uint8),
            saturation=level,
        )
        for i, (image, bad, level) in enumerate(zip(images, bads, levels, strict=True))
    ]
    return backend.prepare(ccds, len(ccds))


def hand_made(backend, n_ccd, *, sigma=1.0, coefficients=(0.0,) * 6, usable=None):
    """A background with the given values: with zero coefficients v is the image, and truths are found by hand."""
    usable = np.ones(n_ccd, bool) if usable is None else np.asarray(usable, bool)
    c = np.array(np.broadcast_to(np.asarray(coefficients, float), (n_ccd, 6)))
    s = np.array(np.broadcast_to(np.asarray(sigma, float), (n_ccd,)))
    c[~usable], s[~usable] = np.nan, np.nan
    many = np.full(n_ccd, 1000)
    arrays = (frozen(a) for a in (c, s, many, many, usable))
    return Background(*(device(backend, a) for a in arrays))


def fitted(backend, stack, *, seed=0, settings=DEFAULT, n_fit=1000, n_sigma=2000):
    """The background that the backend fits at random points."""
    n_ccd, ny, nx = stack.shape
    fit = points(n_ccd, n_fit, ny, nx, seed=seed)
    noise = points(n_ccd, n_sigma, ny, nx, seed=seed + 1)
    return backend.background(stack, fit, noise, settings)


def points(n_ccd, n, ny, nx, *, seed, margin=0):
    """Random (y, x): with a margin (for patches) margin <= y <= ny - margin, otherwise on the whole CCD."""
    rng = np.random.default_rng(seed)
    high = (ny - margin, nx - margin) if margin else (ny - 1, nx - 1)
    drawn = np.stack([rng.integers(margin, h, (n_ccd, n), endpoint=True) for h in high], axis=-1)
    return frozen(drawn, np.int32)


def unfit(bad, step: Unfit):
    """The bool plane that the naive steps take, from a plane of bits."""
    return None if bad is None else (bad & step) != 0


# Comparisons


def assert_close(actual, expected, tolerance, *, rms):
    """Every difference is within its tolerance, and the root mean square of difference / tolerance is at most `rms`.

    A tolerance allows for the worst case. Rounding errors of many sums scatter far below the tolerance, but a bias does
    not: the second bound is there to find a bias.
    """
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    finite = np.broadcast_to(~np.isnan(expected), expected.shape)
    tolerance = np.broadcast_to(np.asarray(tolerance, float), expected.shape)[finite]
    error = actual[finite] - expected[finite]
    if error.size == 0:
        return
    worst = np.argmax(np.abs(error) - tolerance)
    assert np.all(np.abs(error) <= tolerance), f"off by {error[worst]:.3g}, tolerance {tolerance[worst]:.3g}"
    scaled = error[tolerance > 0] / tolerance[tolerance > 0]
    if scaled.size >= 6:  # with fewer values the root mean square says no more than the largest difference
        assert np.sqrt(np.mean(scaled**2)) <= rms, f"RMS of {np.sqrt(np.mean(scaled**2)):.3g} tolerances"


def check_background(backend, images, bads, fit, noise, settings=DEFAULT):
    """Compare the background of a stack with that of naive.py; returns the backend's background on the host."""
    found = backend.to_host(backend.background(stack_of(backend, images, bads), fit, noise, settings))
    bads = [None] * len(images) if bads is None else bads
    for i, (image, bad) in enumerate(zip(images, bads, strict=True)):
        plane = unfit(bad, Unfit.BACKGROUND)
        c, sigma, usable = naive.fit_background(
            image,
            plane,
            fit[i],
            noise[i],
            n_fit=settings.background_points,
            n_sigma=settings.sigma_points,
            clip_fraction=settings.clip_fraction,
            minimum_points=settings.minimum_points,
        )
        taken = naive.first_usable(image, plane, fit[i], settings.background_points)
        assert found.n_points[i] == len(taken)
        assert found.n_sigma_points[i] == len(naive.first_usable(image, plane, noise[i], settings.sigma_points))
        assert bool(found.usable[i]) == usable
        # 1e-12 of the typical pixel: sums of 800 terms, condition number near 30, 1e-16 each (backends/protocol.py).
        scale = naive.median([abs(float(image[p])) for p in taken]) if usable else 0.0
        assert_close(found.coefficients[i], c, 1e-12 * scale, rms=0.3)
        # sigma comes from the difference of pixels and polynomial: the same absolute error, three times over.
        assert_close(found.sigma[i], sigma, 4e-12 * scale, rms=0.3)
    return found


def check_sources(backend, images, bads, background, settings=DEFAULT, saturation=None):
    """Compare sources with those of naive.py for the same background; returns the backend's on the host."""
    stack = stack_of(backend, images, bads, saturation)
    found = backend.to_host(backend.sources(stack, background, settings))
    background = backend.to_host(background)
    bads = [None] * len(images) if bads is None else bads
    expected, moments, isophotes, values, sizes = [], [], [], [], []
    for i, (image, bad) in enumerate(zip(images, bads, strict=True)):
        spoilt = ~np.isfinite(image) if bad is None else ~np.isfinite(image) | (bad != 0)
        assert found.n_bad[i] == np.count_nonzero(spoilt)
        if not background.usable[i]:
            continue
        c, sigma = background.coefficients[i], float(background.sigma[i])
        plane = unfit(bad, Unfit.SOURCES)
        for y, x, n_above in naive.find_sources(
            image,
            plane,
            c,
            sigma,
            threshold=settings.threshold,
            stamp_size=settings.stamp_size,
            above_threshold=settings.above_threshold,
            above_pixels=settings.above_pixels,
        ):
            expected.append((i, y, x, n_above))
            values.append(naive.subtracted(image, c)[y, x])
            size_and_fraction = {"stamp_size": settings.stamp_size, "moment_fraction": settings.moment_fraction}
            moments.append(naive.moments(image, plane, c, y, x, **size_and_fraction))
            lowest = settings.isophote_threshold
            *sums, size = naive.isophote_moments(
                image, plane, c, sigma, y, x, isophote_threshold=lowest, **size_and_fraction
            )
            isophotes.append(sums)
            sizes.append(size)
    got = list(zip(*(getattr(found, name).tolist() for name in ("ccd", "y", "x", "n_above")), strict=True))
    assert got == expected
    assert found.n_sources.tolist() == [sum(e[0] == i for e in expected) for i in range(len(images))]
    assert found.n_isophote.tolist() == sizes
    # v has the same bits on every backend, since the order of operations is fixed (naive.background_value).
    assert found.value.tolist() == values
    for actual, pairs in ((found.moments, moments), (found.isophote_moments, isophotes)):
        assert actual.shape == (len(expected), 3)
        if pairs:
            sums, magnitudes = np.array(pairs).transpose(1, 0, 2)
            # 1e-12 of the sum of the magnitudes of the terms: 4096 additions with 2.2e-16 each, and two products for
            # each term. With any reasonable order the errors are a hundredth of that.
            assert_close(actual, sums, 1e-12 * magnitudes, rms=0.03)
    return found


def check_gradients(backend, images, bads, drawn, background, settings=DEFAULT):
    """Compare the backend's gradients with those of naive.py; returns the backend's gradients on the host."""
    found = backend.to_host(backend.gradients(stack_of(backend, images, bads), drawn, background, settings))
    background = backend.to_host(background)
    bads = [None] * len(images) if bads is None else bads
    ccd, expected, flat, largest = [], [], [], []
    half = settings.smooth_size // 2 + settings.gradient_reach
    for i, (image, bad) in enumerate(zip(images, bads, strict=True)):
        if not background.usable[i]:
            continue
        size = {
            "wanted": settings.gradient_points,
            "smooth_size": settings.smooth_size,
            "reach": settings.gradient_reach,
        }
        plane, c = unfit(bad, Unfit.GRADIENTS), background.coefficients[i]
        image_gradients = naive.gradients(image, plane, drawn[i], **size)
        fit = naive.gradients(image, plane, drawn[i], coefficients=c, **size)
        for (y, x, dx, dy), (_, _, fit_dx, fit_dy) in zip(image_gradients, fit, strict=True):
            patch = image[y - half : y + half, x - half : x + half].astype(float)
            sky = naive.background_value(c, y, x, *image.shape)
            ccd.append(i)
            expected.append((dx, dy))
            flat.append((dx - fit_dx, dy - fit_dy))
            largest.append(max(np.abs(patch).max(), abs(sky)))
    assert found.ccd.tolist() == ccd
    assert found.n_points.tolist() == [ccd.count(i) for i in range(len(images))]
    # 1e-12 of the largest magnitude in the patch: the two derivative sums have a total weight of 25 (11 x 2.28), and
    # each term at most about a hundred roundings of 1.1e-16 on either side. Together that is 6e-13 at worst, and a
    # tenth of that in practice.
    reach = settings.gradient_reach
    weight = (2 * reach + 1) * sum(1 / d for d in range(1, reach + 1)) / 25
    tolerance = 1e-12 * weight * np.array(largest).reshape(-1, 1)
    assert_close(np.stack([found.dx, found.dy], 1), np.reshape(expected, (-1, 2)), tolerance, rms=0.1)
    assert_close(np.stack([found.flat_dx, found.flat_dy], 1), np.reshape(flat, (-1, 2)), tolerance, rms=0.1)
    return found


# Real images


REAL = {
    "ngts trailed": ("ngts/J17490840-001.fit", 0, (slice(300, 620), slice(300, 640))),
    "vircam corner": ("vircam/image_5.fits", 1, (slice(0, 300), slice(0, 310))),
    "vircam trail": ("vircam/image_6.fits", 1, (slice(900, 1200), slice(800, 1120))),
    "panoptes bayer": ("panoptes/solved.fits.fz", 1, (slice(200, 500), slice(150, 470))),
    "decam masked columns": ("decam_cutouts/testcase4__c4d_170316_062107_ooi_z_ls9.N2.fits", 1, ...),
    "decam masked edge": ("decam_cutouts/testcase4__c4d_170419_042827_ooi_z_ls9.S1.fits", 1, ...),
    "decam bleed trail": ("decam_cutouts/testcase6__c4d_181104_072440_ooi_g_ls9.S4.fits", 1, ...),
    "kids tiny values": ("kids_viking/r.fits", 1, (slice(1000, 1320), slice(500, 800))),
    "viking tiny values": ("kids_viking/Zim1.fits", 1, (slice(100, 400), slice(100, 390))),
    "decam cosmic rays": ("decam_sfft/DEC-OBS04a.mini.fits", 0, ...),
    "decam donut": ("decam_donut/DECam_00236392.S4.0001.stamp.fits", 0, (slice(0, 400), slice(50, 450))),
    "hsc": ("hsc_suprime_sdss/HSC-0908120-056-small.fits", 1, ...),
    "90prime": ("mosaic_90prime/mzlsbass2__k4m_160319_075112_ooi_zd_ls9.CCD3.fits", 1, ...),
}


@functools.cache  # crops are small, and unpacking a file takes long
def real_crop(folder, name):
    """A crop of a real image, float32, and its bad-pixel plane (None where no mask lies beside the file).

    Code 1 of the Community Pipeline is bad for all steps, 4 and 5 (bleed trail, cosmic ray) are bad for two steps, and
    3 (saturated) for one step.
    """
    file, hdu, crop = REAL[name]
    image = _pixels(folder / file, hdu)[crop]
    mask = folder / file.replace("_ooi_", "_ood_")
    if mask.name == (folder / file).name:
        return frozen(image, np.float32), None
    codes = _pixels(mask, hdu)[crop]
    bits = np.full(int(codes.max()) + 1, Unfit.BACKGROUND)
    bits[0], bits[1:2], bits[4:6] = 0, 7, Unfit.BACKGROUND | Unfit.SOURCES
    bad = bits[codes]
    return frozen(image, np.float32), frozen(bad, np.uint8)


def _pixels(path, hdu):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of astropy about odd headers do not matter here
        return fits.getdata(path, hdu)
