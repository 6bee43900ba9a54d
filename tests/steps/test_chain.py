"""One exposure through all steps, from pixels to the stored counts, against naive.py alone."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import sky

from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import Ccd, Turn, Unfit
from steps.harness import DEFAULT, REAL, real_crop, unfit


def naive_angles(exposure, ccd, settings):
    """The four lists of orientations of a CCD in the axes of the CCD; None when the CCD is unusable."""
    ny, nx = ccd.image.shape

    def drawn(purpose, wanted, margin=0):
        return naive.points(settings.seed, exposure, ccd.name, purpose, wanted * settings.draws, ny, nx, margin)

    image = ccd.image
    c, sigma, usable = naive.fit_background(
        image,
        unfit(ccd.bad, Unfit.BACKGROUND),
        drawn("background", settings.background_points),
        drawn("sigma", settings.sigma_points),
        n_fit=settings.background_points,
        n_sigma=settings.sigma_points,
    )
    if not usable:
        return None
    bad = unfit(ccd.bad, Unfit.SOURCES)
    source, isophote = [], []
    for y, x, _ in naive.find_sources(image, bad, c, sigma):
        source.append(naive.orientation(*naive.moments(image, bad, c, y, x)[0]))
        sums, _, n = naive.isophote_moments(image, bad, c, sigma, y, x)
        isophote.append(naive.orientation(*sums) if n >= 5 else math.nan)
    bad = unfit(ccd.bad, Unfit.GRADIENTS)
    points = drawn("gradients", settings.gradient_points, 10)
    image_gradients = naive.gradients(image, bad, points, wanted=settings.gradient_points)
    fit = naive.gradients(image, bad, points, wanted=settings.gradient_points, coefficients=c)
    background = [naive.gradient_orientation(dx, dy) for _, _, dx, dy in image_gradients]
    flat = [naive.gradient_orientation(a[2] - b[2], a[3] - b[3]) for a, b in zip(image_gradients, fit, strict=True)]
    return source, isophote, background, flat


def check_exposure(backend, ccds, settings):
    measured = measure_ccds("exposure", ccds, settings, backend)
    assert [m.name for m in measured] == [c.name for c in ccds]
    for ccd, m in zip(ccds, measured, strict=True):
        angles = naive_angles("exposure", ccd, settings)
        if angles is None:
            assert m.status != "ok"
            assert m.counts.sum() == 0
            continue
        assert m.status == "ok"
        quarter, mirrored = bool(ccd.turn & 1), bool(ccd.turn & 2)
        for kind, thetas in enumerate(angles):
            turned = [naive.turned(t, quarter, mirrored) for t in thetas if not math.isnan(t)]
            # An angle within rounding of the edge of a bin could fall into either bin; among a few hundred angles there
            # is none.
            assert m.counts[kind].tolist() == naive.histogram(turned, settings.bins), kind
            assert m.cosine[kind] == pytest.approx(math.fsum(math.cos(2 * t) for t in turned), abs=1e-7 * len(turned))
            assert m.sine[kind] == pytest.approx(math.fsum(math.sin(2 * t) for t in turned), abs=1e-7 * len(turned))
        assert m.n_sources == len(angles[0])
        assert m.n_without_orientation == sum(math.isnan(t) for t in angles[0])
        assert m.n_isophote == sum(not math.isnan(t) for t in angles[1])
        assert m.n_gradients == len(angles[2])
    return measured


QUICK = DEFAULT.replace(sigma_points=2000, gradient_points=300)


def test_an_exposure_of_all_kinds_of_ccds(backend):
    ny, nx = 200, 230
    bad = sky.bad_plane(ny, nx, fraction=0.0005, seed=1)
    nothing = sky.frozen(np.full((ny, nx), np.nan), np.float32)
    ccds = [
        Ccd("N1", sky.night_sky(ny, nx, seed=1)),
        Ccd("N2", sky.night_sky(ny, nx, seed=2), bad, turn=Turn.QUARTER),
        Ccd("N3", nothing),
        Ccd("N4", sky.night_sky(150, 150, seed=3), turn=Turn.MIRRORED_QUARTER),
        Ccd("N10", sky.night_sky(ny, nx, seed=4), turn=Turn.MIRRORED),
    ]
    measured = check_exposure(backend, ccds, QUICK)
    assert sum(m.n_sources for m in measured) > 15
    assert sum(m.n_isophote for m in measured) < sum(m.n_sources for m in measured)


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    check_exposure(backend, [Ccd("1", image, bad)], QUICK)
