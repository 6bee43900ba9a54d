"""CCDs as a stack, the twin of kernels/prepare.cu: nothing to upload, and a single CCD is not copied."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpuanom.records import Ccd, CcdStack, FloatImage


def prepare(ccds: Iterable[Ccd], most: int) -> CcdStack:  # noqa: ARG001 - the protocol's signature
    """See `gpuanom.backends.protocol.Backend.prepare`."""
    ccds = list(ccds)
    saturation = np.array([ccd.saturation for ccd in ccds], dtype=np.float32)
    if len(ccds) == 1:
        bad = ccds[0].bad
        return CcdStack(_pixels(ccds[0])[None], None if bad is None else bad[None], saturation)
    masked = any(ccd.bad is not None for ccd in ccds)
    blank = np.zeros(_pixels(ccds[0]).shape, dtype=np.uint8)
    return CcdStack(
        np.stack([_pixels(ccd) for ccd in ccds]),
        np.stack([blank if ccd.bad is None else ccd.bad for ccd in ccds]) if masked else None,
        saturation,
    )


def _pixels(ccd: Ccd) -> FloatImage:
    if not isinstance(ccd.image, np.ndarray):
        raise TypeError(f"CCD {ccd.name}: the CPU takes pixels; encoded images are for backends that ask for them")
    return ccd.image
