"""Stamps, models and nights for the tests of the autoencoder: small, seeded, and made within a second."""

from __future__ import annotations

import numpy as np

import gpuanom
from gpuanom.autoencoder.model import FORMAT, NORMALISATION, Model, shapes, stamp_settings
from tests import sky

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)


def star_stamps(n, *, seed=0, double=0.0, size=64):
    """Noisy Gaussian stars divided by their central values, (n, size^2) float32; with a second star `double` pixels
    away.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size // 2
    stamps = np.empty((n, size * size), np.float32)
    for i in range(n):
        width = rng.uniform(1.5, 2.5)
        image = np.exp(-(x**2 + y**2) / (2 * width**2)) + rng.normal(0, 0.01, x.shape)
        if double:
            angle = rng.uniform(0, 2 * np.pi)
            dy, dx = double * np.sin(angle), double * np.cos(angle)
            image += 0.9 * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * width**2))
        stamps[i] = (image / image[size // 2, size // 2]).ravel()
    return sky.frozen(stamps, np.float32)


def model(*, seed=0, size=64, scale=0.05, **about):
    """A model with random weights."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in shapes(size)}
    settings = stamp_settings(QUICK.replace(stamp_size=size).measurement())
    told = {"kind": "autoencoder", "format": FORMAT, "stamp_size": size, "normalisation": NORMALISATION}
    return Model(weights, {**told, "settings": settings, **about})


def reconstructed(weights, stamps):
    """METHOD.md 7 in NumPy, in float64: the reconstructions and the latent features."""
    value = np.asarray(stamps, dtype=np.float64)
    latent = None
    for i in range(7):
        value = value @ weights[f"layers.{i}.weight"].astype(np.float64).T + weights[f"layers.{i}.bias"]
        if i < 6:
            value = np.maximum(value, 0.0)
        if i == 2:
            latent = value
    return value, latent
