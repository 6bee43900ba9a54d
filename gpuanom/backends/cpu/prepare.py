"""CCDs as a stack, the twin of kernels/prepare.cu: nothing to upload, and a single CCD is not copied."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpuanom.records import Ccd, CcdStack, CcdsTogether, FloatImage


def prepare(ccds: Iterable[Ccd | CcdsTogether], most: int) -> CcdStack:  # noqa: ARG001 - the protocol's signature
    """See `gpuanom.backends.protocol.Backend.prepare`."""
    single = [_single(ccd) for ccd in ccds]
    saturation = np.array([ccd.saturation for ccd in single], dtype=np.float32)
    if len(single) == 1:
        bad = single[0].bad
        return CcdStack(_pixels(single[0])[None], None if bad is None else bad[None], saturation)
    masked = any(ccd.bad is not None for ccd in single)
    blank = np.zeros(_pixels(single[0]).shape, dtype=np.uint8)
    return CcdStack(
        np.stack([_pixels(ccd) for ccd in single]),
        np.stack([blank if ccd.bad is None else ccd.bad for ccd in single]) if masked else None,
        saturation,
    )


def _single(ccd: Ccd | CcdsTogether) -> Ccd:
    if isinstance(ccd, CcdsTogether):
        raise TypeError("the CPU takes pixels; CCDs that were read together are for backends that decode images")
    return ccd


def _pixels(ccd: Ccd) -> FloatImage:
    if not isinstance(ccd.image, np.ndarray):
        raise TypeError(f"CCD {ccd.name}: the CPU takes pixels; encoded images are for backends that ask for them")
    return ccd.image
