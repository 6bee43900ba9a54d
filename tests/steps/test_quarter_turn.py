"""All steps together: a quarter turn of the sky turns its histograms by 90 degrees, and a mirror reverses them."""

from __future__ import annotations

import numpy as np
import pytest
import sky

from steps.harness import DEFAULT, hand_made, points, stack_of

NY, NX = 330, 360
BINS = DEFAULT.bins


def field():
    """Stars whose light ends within their stamps.

    At a distance of 9 pixels a star is below 0.02 of its peak. For the faintest star that is 30, and the faint stripes
    and the noise stay below 30.
    """
    rng = np.random.default_rng(12)
    spots = [(y + rng.uniform(-4, 4), x + rng.uniform(-4, 4)) for y in range(50, 300, 72) for x in range(50, 330, 72)]
    stars = [
        sky.gaussian(y, x, rng.uniform(1500, 3000), 3.0, degrees=rng.uniform(-90, 90), ratio=0.6) for y, x in spots
    ]
    return np.array(sky.make(NY, NX, *stars, sky.stripes(60, 20, 3.0), noise=2.0, seed=4))


def turned(image):
    return np.rot90(image)


def mirrored(image):
    return image[:, ::-1]


def pixels_turned(p):
    """The positions to which rot90 takes pixels: row nx-1-x, column y."""
    return np.stack([NX - 1 - p[..., 1], p[..., 0]], axis=-1)


def patches_turned(p):
    """The positions to which rot90 takes points whose patch, of even size, is centred half a pixel before the point."""
    return np.stack([NX - p[..., 1], p[..., 0]], axis=-1)


def pixels_mirrored(p):
    return np.stack([p[..., 0], NX - 1 - p[..., 1]], axis=-1)


def patches_mirrored(p):
    return np.stack([p[..., 0], NX - p[..., 1]], axis=-1)


def histograms(backend, image, fit, noise, drawn, threshold):
    """The four histograms of a CCD, in the order of KINDS."""
    stack = stack_of(backend, [image])
    settings = DEFAULT.replace(threshold=threshold)
    background = backend.background(stack, fit, noise, settings)
    sources = backend.sources(stack, background, settings)
    gradients = backend.gradients(stack, drawn, background, settings)
    none = np.zeros(1, np.int64)
    angles = [
        (backend.orientation(sources.moments), sources.ccd),
        (backend.orientation(sources.isophote_moments), sources.ccd),
        (backend.gradient_orientation(gradients.dx, gradients.dy), gradients.ccd),
        (backend.gradient_orientation(gradients.flat_dx, gradients.flat_dy), gradients.ccd),
    ]
    return [backend.to_host(backend.histogram(theta, ccd, none, BINS)) for theta, ccd in angles]


@pytest.mark.parametrize("move", ["turn", "mirror"])
def test_the_histograms_move_with_the_sky(backend, move):
    fit, noise = points(1, 1000, NY, NX, seed=1), points(1, 5000, NY, NX, seed=2)
    drawn = points(1, 3000, NY, NX, seed=3, margin=10)
    # 10 sigma, so that stripes and noise give no sources.
    image = field()
    before = histograms(backend, image, fit, noise, drawn, 10.0)
    if move == "turn":
        after = histograms(
            backend, turned(image), pixels_turned(fit), pixels_turned(noise), patches_turned(drawn), 10.0
        )
    else:
        after = histograms(
            backend, mirrored(image), pixels_mirrored(fit), pixels_mirrored(noise), patches_mirrored(drawn), 10.0
        )
    for kind, (a, b) in enumerate(zip(before, after, strict=True)):
        expected = np.roll(a.counts[0], BINS // 2) if move == "turn" else a.counts[0][::-1]
        np.testing.assert_array_equal(b.counts[0], expected, err_msg=str(kind))
        assert a.counts.sum() == (3000 if kind > 1 else 16)
        # cos 2(theta + 90 degrees) = -cos 2 theta; a mirror keeps the cosine and changes the sign of the sine. Each
        # angle carries the rounding of the fit, at most about 1e-12.
        sign = (-1, -1) if move == "turn" else (1, -1)
        n = a.counts.sum()
        assert abs(b.cosine[0] - sign[0] * a.cosine[0]) < 1e-9 * n
        assert abs(b.sine[0] - sign[1] * a.sine[0]) < 1e-9 * n


def test_a_known_shear_shows_in_both_source_histograms(backend):
    """The direction of the whole field is recovered through all steps."""
    stars = [
        sky.gaussian(y, x, 2000.0, 3.0, degrees=33.0, ratio=0.7) for y in range(50, 300, 72) for x in range(50, 330, 72)
    ]
    image = sky.make(NY, NX, *stars, noise=2.0, seed=5)
    fit, noise = points(1, 1000, NY, NX, seed=1), points(1, 5000, NY, NX, seed=2)
    found = histograms(backend, image, fit, noise, points(1, 300, NY, NX, seed=3, margin=10), 10.0)
    for h in found[:2]:
        assert np.argmax(h.counts[0]) == 12  # 30 to 40 degrees
        angle = np.degrees(0.5 * np.arctan2(h.sine[0], h.cosine[0]))
        assert abs(angle - 33) < 1  # 16 bright stars, each with an error of a degree or two


def test_unusable_ccds_reach_no_histogram(backend):
    image = field()
    stack = stack_of(backend, [image, image])
    background = hand_made(backend, 2, sigma=2.0, coefficients=(1000, 0, 0, 0, 0, 0), usable=[False, True])
    drawn = points(2, 300, NY, NX, seed=3, margin=10)
    gradients = backend.gradients(stack, drawn, background, DEFAULT)
    sources = backend.sources(stack, background, DEFAULT)
    turns = np.zeros(2, np.int64)
    for theta, ccd in (
        (backend.orientation(sources.moments), sources.ccd),
        (backend.gradient_orientation(gradients.dx, gradients.dy), gradients.ccd),
    ):
        counts = backend.to_host(backend.histogram(theta, ccd, turns, BINS)).counts
        assert counts[0].sum() == 0
        assert counts[1].sum() > 0
