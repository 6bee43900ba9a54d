"""CCDs as a stack on the device: uploads, and launches kernels/prepare.cu (METHOD.md 6)."""

from __future__ import annotations

from collections.abc import Iterable

import cupy
import numpy as np

from gpuanom.backends.gpu import rice
from gpuanom.backends.gpu.checksum import compare_sums
from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.staging import Staging
from gpuanom.encoded import RawImage, RiceImage, RiceImages
from gpuanom.errors import InputError
from gpuanom.records import Array, Ccd, CcdStack, CcdsTogether

PIXELS = Kernel("prepare", "prepare_pixels")
THREADS = 256


def prepare(ccds: Iterable[Ccd | CcdsTogether], most: int, staging: Staging | None = None) -> CcdStack:
    """See `gpuanom.backends.protocol.Backend.prepare`; each CCD is on its way before the next one is asked for."""
    staging = staging or Staging()
    images = bad = raw = damaged = None
    saturation: list[float] = []
    tiles: rice.TileUpload | None = None
    for item in ccds:
        i = len(saturation)
        arrived, image = (item.ccds, item.images) if isinstance(item, CcdsTogether) else ([item], item.image)
        if images is None:
            images = cupy.empty((most, *_counted(*image.shape)), np.float32)
        if isinstance(image, RiceImage | RiceImages):
            if tiles is None:
                # Room for all at once, as CCDs of one exposure compress much alike.
                tiles = rice.TileUpload(staging.upload, int(1.1 * most * image.data.nbytes / len(arrived)), most)
            if isinstance(image, RiceImages):
                tiles.add_several(i, image)
            else:
                tiles.add(i, image)
        elif isinstance(image, RawImage):
            if raw is None:
                raw = cupy.empty(images[0].nbytes, np.uint8)
            # The stream keeps the order: these bytes are converted before the next CCD's take their place.
            staging.upload(image.data, raw[: image.data.nbytes], image.on_disk, image.lent)
            if image.datasum is not None:
                damaged = cupy.full(most, -1, np.int32) if damaged is None else damaged
                compare_sums(raw, [(i, 0, image.data.nbytes, image.datasum)], damaged)
            pixels(raw[: image.data.nbytes], image, images[i])
        else:
            staging.upload(image, images[i])
        for ccd in arrived:
            if ccd.bad is not None:
                if bad is None:
                    bad = cupy.zeros(images.shape, np.uint8)
                staging.upload(ccd.bad, bad[len(saturation)])
            saturation.append(ccd.saturation)
    if images is None:
        raise ValueError("a stack of no CCDs")
    n = len(saturation)
    damaged = None if damaged is None else damaged[:n]
    return CcdStack(
        images=images[:n],
        bad=None if bad is None else bad[:n],
        saturation=cupy.asarray(np.array(saturation, dtype=np.float32)),
        damaged=tiles.decode(images[:n], damaged) if tiles else damaged,
    )


def _counted(ny: int, nx: int) -> tuple[int, int]:
    """The shape of a CCD whose pixels can be counted; others are refused before a kernel takes one for another."""
    if ny * nx > rice.MOST_PIXELS:
        remedy = "--device cpu measures it, or cut it into parts"
        raise InputError(f"{nx} x {ny} pixels are too many for the CUDA backend", remedy=remedy, status="too_large")
    return ny, nx


def pixels(raw: Array, image: RawImage, out: Array) -> None:
    """Convert the bytes of an uncompressed image.

    Parameters
    ----------
    raw : device array, (n,) uint8
        `image.data`, beginning at a multiple of 4.
    image : RawImage
    out : device array, (ny, nx) float32

    Raises
    ------
    ValueError
        When sizes or BITPIX are not what the kernel takes.
    """
    if image.bitpix not in (16, 32, -32):
        raise ValueError(f"BITPIX {image.bitpix} is converted on the host")
    ny, nx = image.shape
    if out.shape != (ny, nx):
        raise ValueError(f"{ny} x {nx} pixels into an array of {out.shape}")
    if raw.size != ny * nx * abs(image.bitpix) // 8:
        raise ValueError(f"{raw.size} bytes are not {ny} x {nx} pixels of {abs(image.bitpix)} bits")
    if raw.data.ptr % 4:
        raise ValueError("the bytes do not begin at a multiple of 4")
    # A thread takes a pixel: neighbouring threads read neighbouring words.
    PIXELS(
        (-(-out.size // THREADS),), (THREADS,), raw, image.bitpix, image.bscale, image.bzero, image.blank, out.size, out
    )
