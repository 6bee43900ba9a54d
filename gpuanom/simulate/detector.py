"""The effects of a detector: noise, cosmic rays, saturation and bleeding, bad columns, steps between amplifiers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles

SATURATION = 60_000.0  # electrons
READ_NOISE = 6.0  # electrons
COSMIC_RAY_DENSITY = 2 / 512**2
BAD_COLUMN, SATURATED, BLEED, COSMIC_RAY = 1, 3, 4, 5
"""Codes of the mask, the DECam Community Pipeline's."""

Codes = npt.NDArray[np.uint8]


def observed(
    expected: Doubles, rng: np.random.Generator, *, bleeding: bool, amplifier_step: float
) -> tuple[Doubles, Codes]:
    """Read out a scene: an image in electrons, and mask codes of the spoiled pixels.

    Parameters
    ----------
    expected : ndarray, (ny, nx) float64
        Expected electrons.
    rng : Generator
    bleeding : bool
        Whether charge above saturation runs along its column.
    amplifier_step : float
        Electrons by which the right half, read by another amplifier, is offset.

    Returns
    -------
    image : ndarray, (ny, nx) float64
        Not rounded, not clipped at 0.
    codes : ndarray, (ny, nx) uint8
    """
    image = rng.poisson(np.maximum(expected, 0)).astype(np.float64)
    codes = np.zeros(image.shape, dtype=np.uint8)
    _add_cosmic_rays(image, codes, rng)
    if bleeding:
        _bleed(image, codes)
    codes[image >= SATURATION] = SATURATED
    np.minimum(image, SATURATION, out=image)
    image += READ_NOISE * rng.standard_normal(image.shape, dtype=np.float32)
    image[:, image.shape[1] // 2 :] += amplifier_step
    return image, codes


def spoil_columns(image: Doubles, codes: Codes, per_thousand: float, rng: np.random.Generator) -> None:
    """Put bad columns into an image, in place: dead columns hold no electrons, hot columns a charge that is added.

    Each begins at a random pixel and runs to the last row.

    Parameters
    ----------
    image : ndarray, (ny, nx) float64
        In electrons.
    codes : ndarray, (ny, nx) uint8
        Mask codes of the image.
    per_thousand : float
        Bad columns among 1000 columns.
    rng : Generator
        The random numbers of the CCD, so that the same columns are bad in every exposure.
    """
    ny, nx = image.shape
    for _ in range(rng.poisson(per_thousand * nx / 1000)):
        column, start = int(rng.integers(nx)), int(rng.integers(ny // 2))
        charge = rng.uniform(500, 20_000) if rng.random() < 0.5 else 0.0
        image[start:, column] = np.minimum(image[start:, column] * bool(charge) + charge, SATURATION)
        codes[start:, column] = BAD_COLUMN


def _bleed(image: Doubles, codes: Codes) -> None:
    """Share the charge above saturation evenly with the pixels above and below."""
    for column in np.flatnonzero((image > SATURATION).any(axis=0)).tolist():
        values = image[:, column]
        full = np.flatnonzero(values > SATURATION)
        for run in np.split(full, np.flatnonzero(np.diff(full) > 1) + 1):
            excess = float((values[run] - SATURATION).sum())
            values[run] = SATURATION
            codes[run, column] = SATURATED
            edges = [int(run[0]) - 1, int(run[-1]) + 1]
            steps = (-1, 1)
            while excess > 0 and (edges[0] >= 0 or edges[1] < values.size):
                for side in (0, 1):
                    at = edges[side]
                    if excess > 0 and 0 <= at < values.size:
                        taken = min(excess, max(SATURATION - values[at], 0.0))
                        values[at] += taken
                        codes[at, column] = BLEED
                        excess -= taken
                        edges[side] += steps[side]


def _add_cosmic_rays(image: Doubles, codes: Codes, rng: np.random.Generator) -> None:
    """Short straight tracks of any direction, one pixel wide."""
    ny, nx = image.shape
    for _ in range(rng.poisson(COSMIC_RAY_DENSITY * image.size)):
        steps, angle = np.arange(0, rng.uniform(2, 15), 0.5), rng.uniform(0, math.pi)
        x = np.rint(rng.uniform(0, nx) + steps * math.cos(angle)).astype(np.int64)
        y = np.rint(rng.uniform(0, ny) + steps * math.sin(angle)).astype(np.int64)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        image[y[inside], x[inside]] += rng.uniform(500, 3000)
        codes[y[inside], x[inside]] = COSMIC_RAY
