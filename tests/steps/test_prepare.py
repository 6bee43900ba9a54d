"""A stack holds its CCDs unchanged and in order: image, mask and saturation level."""

from __future__ import annotations

import numpy as np
import pytest

from gpuanom.records import Ccd
from tests import sky


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (64, 64), (65, 130)])
@pytest.mark.parametrize("masked", [(), (0,), (1,), (0, 2)])
@pytest.mark.parametrize("n_ccd", [1, 3])
def test_stack_is_its_ccds(backend, shape, masked, n_ccd):
    ny, nx = shape
    ccds = [
        Ccd(
            str(i),
            sky.make(ny, nx, sky.dots([(0, 0, np.nan)]), noise=5.0, seed=i),
            sky.bad_plane(ny, nx, fraction=0.3, seed=i) if i in masked else None,
            saturation=float("nan") if i == 1 else 1000.0 + i,
        )
        for i in range(n_ccd)
    ]
    stack = backend.prepare(iter(ccds), n_ccd + 2)
    assert stack.shape == (n_ccd, ny, nx)
    np.testing.assert_array_equal(backend.to_host(stack.images), np.stack([ccd.image for ccd in ccds]))
    np.testing.assert_array_equal(
        backend.to_host(stack.saturation), np.array([ccd.saturation for ccd in ccds], np.float32)
    )
    if any(ccd.bad is not None for ccd in ccds):
        blank = np.zeros(shape, np.uint8)
        planes = np.stack([blank if c.bad is None else c.bad for c in ccds])
        np.testing.assert_array_equal(backend.to_host(stack.bad), planes)
    else:
        assert stack.bad is None
