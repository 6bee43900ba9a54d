"""CCDs as a stack on the device: uploads, and launches kernels/prepare.cu (METHOD.md 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.gpu.kernel import Kernel
from gpuanom.gpu.staging import Staging
from gpuanom.records import Array, Ccd, CcdStack

PIXELS = Kernel("prepare", "prepare_pixels")
MASK = Kernel("prepare", "prepare_mask")
THREADS = 256
NO_BLANK = 2**62
"""Beyond every integer that a file can hold."""


def prepare(ccds: Iterable[Ccd], most: int, staging: Staging | None = None) -> CcdStack:
    """See `gpuanom.backend.Backend.prepare`; each CCD is on its way before the next one is asked for."""
    staging = staging or Staging()
    images = bad = None
    saturation = []
    for i, ccd in enumerate(ccds):
        if images is None:
            images = cupy.empty((most, *ccd.image.shape), np.float32)
        if not isinstance(ccd.image, np.ndarray):
            raise TypeError(f"CCD {ccd.name}: encoded images are not decoded here yet")
        staging.upload(ccd.image, images[i])
        if ccd.bad is not None:
            if bad is None:
                bad = cupy.zeros(images.shape, np.uint8)
            staging.upload(ccd.bad, bad[i])
        saturation.append(ccd.saturation)
    if images is None:
        raise ValueError("a stack of no CCDs")
    n = len(saturation)
    return CcdStack(images[:n], None if bad is None else bad[:n], cupy.asarray(np.array(saturation, dtype=np.float32)))


def pixels(
    raw: Array,
    bitpix: int,
    shape: tuple[int, int, int],
    bscale: npt.NDArray[np.float64],
    bzero: npt.NDArray[np.float64],
    blank: Sequence[int | None],
) -> Array:
    """Pixels from the raw bytes of FITS image data.

    Parameters
    ----------
    raw : device array, (n,) uint8
        Big-endian numbers of all CCDs, one after the other.
    bitpix : int
        FITS's: 16, 32 or -32.
    shape : tuple of int
        (n_ccd, ny, nx).
    bscale, bzero : host ndarray, (n_ccd,)
        1 and 0 where the header has none.
    blank : sequence of int or None
        The integer that stands for no value, of each CCD.

    Returns
    -------
    device array, (n_ccd, ny, nx) float32
    """
    n_ccd, ny, nx = shape
    if bitpix not in (16, 32, -32):
        raise ValueError(f"BITPIX {bitpix} is converted on the host")
    if raw.size != n_ccd * ny * nx * abs(bitpix) // 8:
        raise ValueError(f"{raw.size} bytes are not {n_ccd} x {ny} x {nx} pixels of {abs(bitpix)} bits")
    images = cupy.empty(shape, np.float32)
    # A pixel a thread: nothing is shared, and neighbours read neighbouring words.
    PIXELS(
        (-(-ny * nx // THREADS), n_ccd),
        (THREADS,),
        raw,
        bitpix,
        cupy.asarray(np.asarray(bscale, dtype=np.float64)),
        cupy.asarray(np.asarray(bzero, dtype=np.float64)),
        cupy.asarray(np.array([NO_BLANK if b is None else b for b in blank], dtype=np.int64)),
        ny * nx,
        images,
    )
    return images


def mask(codes: Array, table: npt.NDArray[np.uint8]) -> None:
    """Replace quality codes, uint8 on the device, by the `Unfit` bits that a table of 256 has for them."""
    if table.shape != (256,):
        raise ValueError("the table must have 256 entries")
    # A pixel a thread; the table stays in the cache.
    MASK((-(-codes.size // THREADS),), (THREADS,), codes, cupy.asarray(table), codes.size)
