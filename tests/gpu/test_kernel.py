"""The module that checks launches: the real CuPy would accept most of these, and read or write the wrong memory."""

from __future__ import annotations

import numpy as np
import pytest

from tests import device


@pytest.fixture
def kernel():
    with device.installed():
        from gpuanom.backends.gpu.kernel import Kernel

        yield Kernel("orientation", "orientation_gradients")


def arrays(n=4):
    import cupy

    return [cupy.zeros(n, np.float64) for _ in range(3)]


GRID, BLOCK = (1,), (256,)


def test_a_good_launch(kernel):
    dx, dy, theta = arrays()
    kernel(GRID, BLOCK, dx, dy, 4, theta)
    assert np.isnan(theta.get()).all()


def test_an_empty_grid_launches_nothing(kernel, monkeypatch):
    monkeypatch.setattr(type(kernel), "function", lambda _self: pytest.fail("launched"))
    dx, dy, theta = arrays()
    kernel((0,), BLOCK, dx, dy, 0, theta)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda a: [a[0].astype(np.float32), *a[1:], 4], TypeError, "argument dx: float64 is wanted, not float32"),
        (lambda a: [np.zeros(4), *a[1:], 4], TypeError, "a device array is wanted, not ndarray"),
        (lambda a: [None, *a[1:], 4], TypeError, "a device array is wanted, not NoneType"),
        (lambda a: [*arrays(8)[:1], a[1], a[2][::2], 4], ValueError, "argument theta: the array is not C-contiguous"),
        (lambda a: [*a, 2**63], ValueError, "does not fit int"),
        (lambda a: [*a, -(2**63) - 1], ValueError, "does not fit int"),
        (lambda a: [*a, 4.0], TypeError, "a whole number is wanted, not 4.0"),
        (lambda a: [*a], TypeError, "takes 4 arguments, not 3"),
    ],
)
def test_arguments_are_held_against_the_signature(kernel, change, kind, message):
    good = arrays()
    kernel(GRID, BLOCK, *good[:2], 4, good[2])  # what is remembered of it makes nothing else right
    dx, dy, *others = change(arrays())
    with pytest.raises(kind, match=message):
        kernel(GRID, BLOCK, dx, dy, *others[::-1])  # the number stands before the array that is written


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((2**31,), BLOCK, 0),
        ((1, 65536), BLOCK, 0),
        ((-1,), BLOCK, 0),
        (GRID, (1025,), 0),
        (GRID, (0,), 0),
        (GRID, (32, 33), 0),
        (GRID, (1, 1, 65), 0),
        (GRID, BLOCK, 48 * 1024 + 1),
        (GRID, BLOCK, -1),
    ],
)
def test_geometry_is_held_against_the_limits(kernel, grid, block, shared):
    dx, dy, theta = arrays()
    with pytest.raises(ValueError, match="kernel orientation_gradients"):
        kernel(grid, block, dx, dy, 4, theta, shared=shared)


def test_arrays_of_another_device_are_refused(kernel):
    import cupy
    from cpudevice import settings

    before, settings.devices = settings.devices, 2
    try:
        dx, dy, theta = arrays()
        with cupy.cuda.Device(1), pytest.raises(ValueError, match="is on device 0, the launch on device 1"):
            kernel(GRID, BLOCK, dx, dy, 4, theta)
    finally:
        settings.devices = before
