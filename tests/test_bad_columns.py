"""A bad column or row is no satellite's trail; a trail of a star's width near the axes is one."""

from __future__ import annotations

import numpy as np
import pytest

from gpuanom.backends.choice import select
from gpuanom.records import LineBins
from gpuanom.statistics import lines

SIDE, LEFT = 8, 3.5
"""Side of the bins, and how much a pixel counts at most, in units of the noise."""


def bins(light):
    """Sums over bins of noise and light."""
    ny, nx = light.shape
    return np.minimum(light, LEFT).reshape(ny // SIDE, SIDE, nx // SIDE, SIDE).sum(axis=(1, 3)) / SIDE


def bad_columns(rng, shape, width, whole):
    """A bad column of so many pixels, along the whole CCD or, as in `simulate night`, from a row on."""
    light = np.zeros(shape)
    column, start = int(rng.integers(24, shape[1] - 24)), 0 if whole else int(rng.integers(shape[0] // 2))
    light[start:, column : column + width] = LEFT
    return light


def trail(rng, shape, angle):
    y, x = np.indices(shape)
    along, distance = np.radians(angle), rng.uniform(-60, 60)
    away = (y - shape[0] / 2) * np.cos(along) - (x - shape[1] / 2) * np.sin(along) - distance
    return 1.2 * np.exp(-(away**2) / 6)


def found(lights, rng):
    """Which of the images have a line that is a trail by itself, and the lines."""
    ny, nx = lights[0].shape
    planes = [np.rint(1000 * (rng.standard_normal((ny // SIDE, nx // SIDE)) + bins(light))) for light in lights]
    planes = np.array(planes).astype(np.int64)
    # Bins that are all alike have no line.
    ends = select("cpu").lines(LineBins(SIDE, planes, np.zeros_like(planes)))
    best = lines.find(ends, ny, nx)
    return lines.streaks(best), best


@pytest.mark.proof(shape=(512, 512))
@pytest.mark.proof(width=2)
@pytest.mark.parametrize("shape", [(256, 256), (512, 512), (512, 1024)])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("along_rows", [False, True])
def test_a_bad_column_is_no_trail(shape, width, whole, along_rows):
    rng = np.random.default_rng(2)
    lights = [bad_columns(rng, shape, width, whole) for _ in range(40)]
    assert np.count_nonzero(found([light.T if along_rows else light for light in lights], rng)[0]) <= 2


@pytest.mark.parametrize("angle", [86, -85, 83, 70, 4, -7])
@pytest.mark.parametrize("with_bad_column", [False, True])
def test_a_trail_near_an_axis_is_found(angle, with_bad_column):
    rng = np.random.default_rng(3)
    lights = [trail(rng, (256, 256), angle) for _ in range(20)]
    if with_bad_column:
        lights = [np.maximum(light, bad_columns(rng, light.shape, 1, True)) for light in lights]
    flags, best = found(lights, rng)
    # A bad column that is parallel to a trail within 5 degrees may hide the trail, as stripes do.
    assert np.count_nonzero(flags) >= (14 if with_bad_column else 18)
    off = (np.degrees(best[flags, 1]) - angle + 90) % 180 - 90
    assert np.median(np.abs(off)) < 3
