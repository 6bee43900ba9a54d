"""CCDs as a stack on the device: uploads, and launches kernels/prepare.cu (METHOD.md 6)."""

from __future__ import annotations

from collections.abc import Iterable

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.encoded import RawImage
from gpuanom.encoded import NO_BLANK, RawImage, RiceImage
from gpuanom.gpu import rice
from gpuanom.gpu.kernel import Kernel
from gpuanom.gpu.staging import Staging
from gpuanom.records import Array, Ccd, CcdStack

PIXELS = Kernel("prepare", "prepare_pixels")
MASK = Kernel("prepare", "prepare_mask")
THREADS = 256


def prepare(ccds: Iterable[Ccd], most: int, staging: Staging | None = None) -> CcdStack:
    """See `gpuanom.backend.Backend.prepare`; each CCD is on its way before the next one is asked for."""
    staging = staging or Staging()
    images = bad = None
    saturation: list[float] = []
    compressed = rice.Tiles(staging.upload)
    for i, ccd in enumerate(ccds):
        if images is None:
            images = cupy.empty((most, *ccd.image.shape), np.float32)
            plain = Raw(images)
        if isinstance(ccd.image, RiceImage):
            compressed.add(i, ccd.image)
        elif isinstance(ccd.image, RawImage):
            plain.add(i, ccd.image, staging)
        else:
            staging.upload(ccd.image, images[i])
        if ccd.bad is not None:
            if bad is None:
                bad = cupy.zeros(images.shape, np.uint8)
            staging.upload(ccd.bad, bad[i])
        saturation.append(ccd.saturation)
    if images is None:
        raise ValueError("a stack of no CCDs")
    n = len(saturation)
    plain.decode()
    return CcdStack(
        images=images[:n],
        bad=None if bad is None else bad[:n],
        saturation=cupy.asarray(np.array(saturation, dtype=np.float32)),
        damaged=compressed.decode(images[:n]) if compressed.n_images else None,
    )


class Raw:
    """Uncompressed images of a stack: their bytes as the file has them, on their way to become pixels.

    Parameters
    ----------
    images : device array, (n_ccd, ny, nx) float32
        The stack. Numbers of 32 bits are put where their pixels will be, and need no other memory.
    """

    def __init__(self, images: Array) -> None:
        self._images = images
        self._bytes: dict[int, Array] = {-32: images, 32: images}
        self._places: dict[int, list[int]] = {}
        n_ccd = images.shape[0]
        self._bscale, self._bzero = np.ones(n_ccd), np.zeros(n_ccd)
        self._blank = np.full(n_ccd, NO_BLANK)

    def add(self, place: int, image: RawImage, staging: Staging) -> None:
        """Send an image's bytes to the device.

        Parameters
        ----------
        place : int
            Of its CCD in the stack.
        image : RawImage
        staging : Staging

        Raises
        ------
        ValueError
            When the image is not what the stack holds.
        """
        n_ccd, ny, nx = self._images.shape
        if image.bitpix not in (16, 32, -32):
            raise ValueError(f"BITPIX {image.bitpix} is converted on the host")
        if image.shape != (ny, nx) or image.data.nbytes != ny * nx * abs(image.bitpix) // 8:
            raise ValueError(f"{image.data.nbytes} bytes are not {ny} x {nx} pixels of {abs(image.bitpix)} bits")
        if image.bitpix not in self._bytes:
            self._bytes[image.bitpix] = cupy.empty((n_ccd, ny, nx), np.int16)
        staging.upload(image.data, self._bytes[image.bitpix][place])
        self._places.setdefault(image.bitpix, []).append(place)
        self._bscale[place], self._bzero[place], self._blank[place] = image.bscale, image.bzero, image.blank

    def decode(self) -> None:
        """Convert what was sent: a launch for all images of a BITPIX."""
        n_pixels = self._images[0].size
        for bitpix, places in self._places.items():
            # A pixel a thread: nothing is shared, and neighbours read neighbouring words.
            PIXELS(
                (-(-n_pixels // THREADS), len(places)),
                (THREADS,),
                self._bytes[bitpix].reshape(-1).view(np.uint8),
                bitpix,
                cupy.asarray(np.array(places, dtype=np.int32)),
                cupy.asarray(self._bscale),
                cupy.asarray(self._bzero),
                cupy.asarray(self._blank),
                n_pixels,
                self._images,
            )


def mask(codes: Array, table: npt.NDArray[np.uint8]) -> None:
    """Replace quality codes, uint8 on the device, by the `Unfit` bits that a table of 256 has for them."""
    if table.shape != (256,):
        raise ValueError("the table must have 256 entries")
    # A pixel a thread; the table stays in the cache.
    MASK((-(-codes.size // THREADS),), (THREADS,), codes, cupy.asarray(table), codes.size)
