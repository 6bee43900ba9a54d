"""Images as a file holds them (`gpuanom.encoded`) decoded to float32 pixels: the reference for GPU decoders."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import RawImage, RiceImage
from gpuanom.errors import InputError, corrupt
from gpuanom.records import FloatImage
from gpuanom.workspace import workspace


def decode_raw(image: RawImage, out: FloatImage | None = None) -> FloatImage:
    """Convert an uncompressed image: float32(float64(stored) x bscale + bzero); blank integers become NaN.

    Parameters
    ----------
    image : RawImage
        `bitpix` may also be 8, 64 or -64, which GPU backends do not decode.
    out : ndarray, (ny, nx) float32, C-contiguous, optional
        Memory to write to.

    Returns
    -------
    ndarray, (ny, nx) float32
        float32 images with bscale 1 and bzero 0 keep their bits.

    Raises
    ------
    ValueError
        When the number of bytes is not that of the shape, or when `out` is not such an array.
    """
    from gpuanom.fits.decoding import byteorder

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
        byteorder.swap_32(numbers, flat.view(np.uint32))
    elif image.bitpix < 0:
        {-32: byteorder.from_single, -64: byteorder.from_double}[image.bitpix](numbers, scale, zero, flat)
    else:
        convert = {8: byteorder.from_8, 16: byteorder.from_16, 32: byteorder.from_32, 64: byteorder.from_64}[
            image.bitpix
        ]
        convert(numbers, scale, zero, image.blank, flat)
    return out


def decode_rice(image: RiceImage, out: FloatImage | None = None) -> FloatImage:
    """Decode and dequantise a RICE_1-compressed image (FITS 4.0, sections 10.2 and 10.4.1).

    The pixels have the same bits as those of astropy and CFITSIO: products and sums are float64,
    each rounded, and the result is rounded to float32.

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
        Status ``corrupt``: a tile is damaged, which the message names. `out` is then filled in
        part.
    ValueError
        When `out` is not such an array.
    """
    from gpuanom.fits.decoding import dither, rice

    out = np.empty(image.shape, dtype=np.float32) if out is None else out
    (ny, nx), (rows, columns) = image.shape, image.tile
    damaged = rice.decode_tiles(
        image.data, image.start, image.size, 0, len(image.start), ny, nx, rows, columns, image.bytepix,
        image.blocksize, image.dither, image.seed, image.scale, image.zero, image.blank, dither.RANDOM, dither.FIRST,
        workspace("rice tiles", (rows * columns * min(2, len(image.start)),), np.int32), _flat(out, image.shape),
    )  # fmt: skip
    if damaged >= 0:
        raise damaged_tile(damaged, len(image.start))
    for tile, pixels in image.decoded:
        out[place(tile, image.shape, image.tile)] = pixels
    return out


def damaged_tile(tile: int, n: int, fault: str = "is damaged") -> InputError:
    """Return the error for a tile that is damaged.

    Parameters
    ----------
    tile, n : int
        Number of the tile, from 0, and number of the image's tiles.
    fault : str, optional
        What is wrong with the tile.

    Returns
    -------
    InputError
        Status ``corrupt``, without file and HDU.
    """
    return corrupt(f"tile {tile} of {n} {fault}")


def place(tile: int, shape: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the image that a tile covers.

    Parameters
    ----------
    tile : int
        Number of the tile, from 0, the first axis fastest.
    shape : tuple of int
        (ny, nx) of the image.
    size : tuple of int
        (rows, columns) of a whole tile.

    Returns
    -------
    tuple of 2 slices
        Rows and columns.
    """
    across = -(-shape[1] // size[1])
    y, x = tile // across * size[0], tile % across * size[1]
    return slice(y, min(y + size[0], shape[0])), slice(x, min(x + size[1], shape[1]))


def _flat(out: FloatImage, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"{out.dtype} {out.shape} is no memory for a float32 image of {shape}")
    return out.reshape(math.prod(shape))
