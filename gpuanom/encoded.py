"""Images as a file holds them, checked but not decoded, as they are sent to a GPU in place of pixels.

Every offset, size and number in these records was checked against the file when the record was
made. A decoder may therefore trust the description of the bytes, but not the bytes themselves,
which may be damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gpuanom.set_at_once import set_at_once

NO_BLANK = 2**62
"""Stands for an image without a blank value: no stored integer can be this large."""

N_RANDOM = 10000
"""Number of random numbers in the table of the dithering methods."""


@cache
def random_numbers() -> npt.NDArray[np.float32]:
    """Return the random numbers of subtractive dithering, (`N_RANDOM`,) float32, read-only (FITS 4.0, appendix I)."""
    numbers, seed = np.empty(N_RANDOM, dtype=np.float32), 1
    for i in range(N_RANDOM):
        seed = 16807 * seed % 2147483647
        numbers[i] = seed / 2147483647
    assert seed == 1043618065  # the check that the standard gives
    numbers.flags.writeable = False
    return numbers


@dataclass(frozen=True)
class BytesOnDisk:
    """Where bytes lie on disk.

    Attributes
    ----------
    path : str
        The file.
    offset : int
        The first byte, counted from the beginning of the file.
    is_unchanged : callable
        Whether the file is still the one whose headers were read; asked after its bytes have been read.
    """

    path: str
    offset: int
    is_unchanged: Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Room:
    """Memory that a file is read into.

    Attributes
    ----------
    memory : ndarray, (n,) uint8
        To be written.
    lent : bool
        Whether a backend lent it, which copies from there while the host goes on: it is kept by
        the backend until the copy is done.
    """

    memory: npt.NDArray[np.uint8]
    lent: bool = False


GiveRoom = Callable[[int], Room]
"""A function that gives memory for a number of bytes; it may be called from any thread."""


@dataclass(frozen=True, eq=False)
class RawImage:
    """An uncompressed image: the big-endian numbers of a FITS image, row by row.

    Attributes
    ----------
    data : ndarray, (n,) uint8
        The n = ny nx |bitpix| / 8 bytes of the numbers: a view into the file, or of the bytes that
        were read from there, which may be unaligned.
    shape : tuple of int
        (ny, nx).
    bitpix : int
        16, 32 (two's complement) or -32 (float32).
    bscale, bzero : float
        Pixel = stored number x bscale + bzero, in the image's unit.
    blank : int
        The stored integer that means "no value"; `NO_BLANK` where there is none.
    on_disk : BytesOnDisk, optional
        Where `data` lies on disk, if a GPU may read the bytes without a check by the host.
    lent : bool, optional
        Whether `data` lies in memory that the backend lent, see `Room`.
    datasum : int, optional
        The DATASUM that the backend must compare `data` with (FITS 4.0, appendix J), which then are
        all data of the HDU. None where there is no sum, or the host has compared it.
    """

    data: npt.NDArray[np.uint8]
    shape: tuple[int, int]
    bitpix: int
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int = NO_BLANK
    on_disk: BytesOnDisk | None = None
    lent: bool = False
    datasum: int | None = None


@dataclass(frozen=True, eq=False)
class RiceImage:
    """A RICE_1-compressed image: where its tiles lie and how their integers become pixels (FITS 4.0, section 10).

    Tiles are numbered in FITS order, the first axis fastest; tiles at the upper edges of the image
    may be smaller.

    Attributes
    ----------
    data : ndarray, (n_bytes,) uint8
        The heap of the table, or all data of its HDU: a view into the file, or of the bytes that
        were read from there, which may be unaligned.
    shape, tile : tuple of int
        (ny, nx) of the image and of a whole tile.
    start, size : ndarray, (n_tiles,) int64
        First byte of each tile within `data`, and its number of bytes; size 0 for tiles that are
        in `decoded`.
    bytepix, blocksize : int
        BYTEPIX (1, 2 or 4) and BLOCKSIZE of the Rice code.
    quantised : bool
        Whether the integers are quantised floats; otherwise they are the pixels of an integer
        image.
    dither : int
        0 (none), 1 or 2 for SUBTRACTIVE_DITHER_1 and _2; 0 for integer images.
    seed : int
        ZDITHER0, 1 to 10000.
    scale, zero : ndarray, (n_tiles,) float64
        ZSCALE and ZZERO of quantised floats, BSCALE and BZERO of integer images.
    blank : ndarray, (n_tiles,) int64
        The integer that means "no value" in each tile; `NO_BLANK` where there is none.
    decoded : tuple of (int, ndarray)
        Tiles that are not Rice-coded, such as constant rows: number of the tile, and (rows,
        columns) float32 pixels.
    on_disk, lent, datasum
        See `RawImage`.
    """

    data: npt.NDArray[np.uint8]
    shape: tuple[int, int]
    tile: tuple[int, int]
    start: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    bytepix: int
    blocksize: int
    quantised: bool
    dither: int
    seed: int
    scale: npt.NDArray[np.float64]
    zero: npt.NDArray[np.float64]
    blank: npt.NDArray[np.int64]
    decoded: tuple[tuple[int, npt.NDArray[np.float32]], ...] = ()
    on_disk: BytesOnDisk | None = None
    lent: bool = False
    datasum: int | None = None


@set_at_once
@dataclass(frozen=True, eq=False)
class RiceImages:
    """RICE_1-compressed images of one form that follow each other in a file, in one piece of memory.

    Attributes
    ----------
    data : ndarray, (n_bytes,) uint8
        All data of the images' HDUs, and what lies between these.
    shape, tile, bytepix, blocksize, quantised, dither, lent
        See `RiceImage`; the same for all images.
    start, size : ndarray, (n, n_tiles) int64
        First byte of each tile of each image within `data`, and its number of bytes, at least 1.
    seeds : sequence of int
        ZDITHER0 of each image, 1 to 10000.
    scale, zero : ndarray, (n, n_tiles) float64
        See `RiceImage`, for each image.
    blank : ndarray, (n_tiles,) int64
        See `RiceImage`; the same for all images.
    sums : sequence of (int, int, int or None)
        For each image: the first byte of its HDU's data within `data`, a multiple of 16; their number of bytes; and
        the DATASUM that the backend must compare these with, see `RiceImage`.
    """

    data: npt.NDArray[np.uint8]
    shape: tuple[int, int]
    tile: tuple[int, int]
    start: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    bytepix: int
    blocksize: int
    quantised: bool
    dither: int
    seeds: Sequence[int]
    scale: npt.NDArray[np.float64]
    zero: npt.NDArray[np.float64]
    blank: npt.NDArray[np.int64]
    lent: bool
    sums: Sequence[tuple[int, int, int | None]]
