"""Stamps for the autoencoder (METHOD.md 7) against their definition, bit for bit."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import sky

from gpuanom.records import Unfit
from steps.harness import DEFAULT, REAL, fitted, hand_made, real_crop, stack_of, unfit


def expected_stamps(images, bads, background, sources, size):
    stamps = []
    for i, y, x in zip(sources.ccd, sources.y, sources.x, strict=True):
        image, bad = images[i], bads[i]
        usable = naive.usable_pixels(image, unfit(bad, Unfit.SOURCES))
        v = naive.subtracted(np.where(usable, image, 0), background.coefficients[i])
        window = slice(y - size // 2, y + size // 2), slice(x - size // 2, x + size // 2)
        stamps.append(np.where(usable, v / v[y, x], 0)[window])
    return np.array(stamps, np.float32).reshape(-1, size, size)


def check_stamps(backend, images, bads, background, settings=DEFAULT):
    stack = stack_of(backend, images, bads)
    sources = backend.sources(stack, background, settings)
    stamps = backend.to_host(backend.stamps(stack, background, sources, settings))
    assert stamps.dtype == np.float32
    background, sources = backend.to_host(background), backend.to_host(sources)
    expected = expected_stamps(images, bads, background, sources, settings.stamp_size)
    np.testing.assert_array_equal(stamps, expected)
    half = settings.stamp_size // 2
    assert np.all(stamps[:, half, half] == 1)
    return stamps


@pytest.mark.parametrize("stamp_size", [16, 30, 64])
def test_stamps_of_a_stack(backend, stamp_size):
    images = [sky.night_sky(150, 160, seed=s) for s in range(3)]
    bads = [None, sky.bad_plane(150, 160, fraction=0.1, seed=1), None]
    background = fitted(backend, stack_of(backend, images, bads))
    stamps = check_stamps(backend, images, bads, background, DEFAULT.replace(stamp_size=stamp_size))
    assert len(stamps) > 3
    assert np.isfinite(stamps).all()


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_stamps_of_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    check_stamps(backend, [image], [bad], fitted(backend, stack_of(backend, [image], [bad])))


def test_bad_pixels_are_0(backend):
    image = np.array(sky.make(130, 130, sky.gaussian(64, 64, 100.0), sky=0.0))
    bad = np.zeros(image.shape, np.uint8)
    image[60, 60], image[60, 61], image[60, 62] = np.nan, np.inf, -np.inf
    bad[61, 60], bad[61, 61] = Unfit.SOURCES, Unfit.GRADIENTS
    stamps = check_stamps(backend, [image], [bad], hand_made(backend, 1))
    assert stamps[0, 28, 28:31].tolist() == [0, 0, 0]
    assert stamps[0, 29, 28] == 0
    assert stamps[0, 29, 29] > 0


def test_no_sources_no_stamps(backend):
    image = sky.make(130, 130, sky=0.0)
    assert check_stamps(backend, [image], [None], hand_made(backend, 1)).shape == (0, 64, 64)
    unusable = hand_made(backend, 1, usable=[False])
    assert check_stamps(backend, [image], [None], unusable).shape == (0, 64, 64)
