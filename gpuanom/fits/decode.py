"""Images as a file holds them (`gpuanom.encoded`) to float32 pixels: the truth for whatever decodes them elsewhere."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gpuanom.buffers import ThreadBuffer
from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.records import FloatImage

_integers = ThreadBuffer(np.int32)
_images = ThreadBuffer(np.float32)


def decode_raw(image: RawImage, out: FloatImage | None = None) -> FloatImage:
    """Convert an uncompressed image: float32(float64(stored) bscale + bzero), blank integers to NaN.

    Parameters
    ----------
    image : RawImage
        `bitpix` may also be 8, 64 and -64, which the GPU does not take.
    out : ndarray, (ny, nx) float32, C-contiguous, optional
        Memory to write to.

    Returns
    -------
    ndarray, (ny, nx) float32
        float32 images with bscale 1 and bzero 0 keep their bits.
    """
    from gpuanom.fits import byteorder as words

    out = np.empty(image.shape, dtype=np.float32) if out is None else out
    flat = _flat(out, image.shape)
    data = image.data
    width = abs(image.bitpix) // 8
    if data.ctypes.data % width:
        data = data.copy()
    numbers = data.view(f"u{width}")
    if len(numbers) != len(flat):
        raise ValueError(f"{len(numbers)} numbers for {len(flat)} pixels")
    scale, zero = float(image.bscale), float(image.bzero)
    if image.bitpix == -32 and scale == 1.0 and zero == 0.0:
        words.swap_32(numbers, flat.view(np.uint32))
    elif image.bitpix < 0:
        {-32: words.from_single, -64: words.from_double}[image.bitpix](numbers, scale, zero, flat)
    else:
        convert = {8: words.from_8, 16: words.from_16, 32: words.from_32, 64: words.from_64}[image.bitpix]
        convert(numbers, scale, zero, image.blank, flat)
    return out


def decode_rice(image: RiceImage, out: FloatImage | None = None) -> FloatImage:
    """Decode and dequantise a RICE_1-compressed image (FITS 4.0, sections 10.2 and 10.4.1).

    Equal to the bit to astropy and cfitsio: float64 products and sums, each rounded, and float32 at the end.

    Parameters
    ----------
    image : RiceImage
    out : ndarray, (ny, nx) float32, C-contiguous, optional
        Memory to write to.

    Returns
    -------
    ndarray, (ny, nx) float32

    Raises
    ------
    InputError
        Status ``corrupt``: a tile is damaged; the message names it. `out` is then filled in part.
    """
    from gpuanom.fits import dither, rice

    out = np.empty(image.shape, dtype=np.float32) if out is None else out
    (ny, nx), (rows, columns) = image.shape, image.tile
    damaged = rice.decode_tiles(
        image.data, image.start, image.size, 0, len(image.start), ny, nx, rows, columns, image.bytepix,
        image.blocksize, image.dither, image.seed, image.scale, image.zero, image.blank, dither.RANDOM, dither.FIRST,
        scratch(rows * columns * min(2, len(image.start))), _flat(out, image.shape),
    )  # fmt: skip
    if damaged >= 0:
        raise damaged_tile(damaged, len(image.start))
    for tile, pixels in image.decoded:
        out[place(tile, image.shape, image.tile)] = pixels
    return out


def damaged_tile(tile: int, n: int, what: str = "is damaged") -> InputError:
    """What is said of a tile, by its number, from 0."""
    return InputError(f"tile {tile} of {n} {what}", remedy="fetch it again", status="corrupt")


def place(tile: int, shape: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a tile of (rows, columns) `size` in an image."""
    across = -(-shape[1] // size[1])
    y, x = tile // across * size[0], tile % across * size[1]
    return slice(y, min(y + size[0], shape[0])), slice(x, min(x + size[1], shape[1]))


def scratch(n: int) -> npt.NDArray[np.int32]:
    """Memory for at least n integers, the calling thread's own: a later call returns the same memory."""
    return _integers.at_least(n)


def workspace(shape: tuple[int, int]) -> FloatImage:
    """Memory for an image, the calling thread's own: a later call returns the same memory."""
    return _images.of_shape(shape)


def _flat(out: FloatImage, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"{out.dtype} {out.shape} is no memory for a float32 image of {shape}")
    return out.reshape(math.prod(shape))
