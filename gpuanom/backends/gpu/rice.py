"""RICE-compressed images to pixels, straight into the stack: launcher of kernels/rice.cu (METHOD.md 6)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.checksum import ALIGNMENT, compare_sums
from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.staging import lent_room
from gpuanom.encoded import N_RANDOM, BytesOnDisk, RiceImage, random_numbers
from gpuanom.records import Array
from gpuanom.tile_bounds import lie_within

RICE = Kernel("rice", "rice")
WARP = 32
WARPS = 4
MOST_PIXELS = 2**31 - 64
"""Of an image: the kernel numbers them as int, and goes on by 32 at a time."""

Upload = Callable[..., None]
"""Copies a host array, of any type and alignment, to a device array of as many bytes: `Staging.upload`."""


def decode(images: Iterable[tuple[int, RiceImage]], stack: Array, upload: Upload | None = None) -> Array:
    """Decode compressed images into their places in a stack: one launch for all.

    Parameters
    ----------
    images : iterable of (int, RiceImage)
        BytesOnDisk in the stack, each at most once, and image; each is on its way before the next one is asked for.
    stack : device array, (n_ccd, ny, nx) float32
        Written where an image is given, else left alone.
    upload : callable, optional
        See `Upload`; `Staging.upload` sends bytes through pinned memory.

    Returns
    -------
    device array, (n_ccd,) int32
        The first damaged tile of each CCD, whose pixels, like those of other damaged ones, are NaN; -1 for none.

    Raises
    ------
    ValueError
        When an image has another shape than the stack, or describes what the format does not know.
    """
    tiles = TileUpload(upload)
    for place, image in images:
        tiles.add(place, image)
    return tiles.decode(stack)


class TileUpload:
    """The compressed images of a stack on their way to the device.

    Parameters
    ----------
    upload : callable, optional
        See `Upload`.
    n_bytes : int
        Room that is made for them at first; there will be more where they need it.
    """

    def __init__(self, upload: Upload | None = None, n_bytes: int = 0) -> None:
        self._upload = upload or _upload
        self._data = cupy.empty(n_bytes, np.uint8) if n_bytes else None
        self._used = 0
        self._shape: tuple[int, int] | None = None
        self._wanted: list[tuple[int, ...]] = []
        self._places: set[int] = set()
        self._first = [0]
        self._whole: list[tuple[npt.NDArray[np.int64], ...]] = []  # start, size, blank
        self._real: list[tuple[npt.NDArray[np.float64], ...]] = []  # scale, zero
        self._sums: list[tuple[int, int, int, int]] = []

    def add(self, place: int, image: RiceImage) -> None:
        """Send an image's bytes to the device.

        Parameters
        ----------
        place : int
            Of its CCD in the stack.
        image : RiceImage
            May be let go as soon as this returns.
        """
        self._check(place, image)
        begin = self._send(image.data, image.place, image.lent)
        if image.datasum is not None:
            self._sums.append((place, begin, image.data.nbytes, image.datasum))
        start, size = image.start + begin, image.size
        if image.decoded:
            size = size.copy()
            pixels = [np.asarray(tile, dtype=np.float32).reshape(-1) for _, tile in image.decoded]
            numbers = [number for number, _ in image.decoded]
            size[numbers] = [-tile.nbytes for tile in pixels]
            start[numbers] = np.cumsum(size[numbers]) * -1 + size[numbers] + self._send(np.concatenate(pixels))
        self._shape = image.shape
        self._whole.append((start, size, image.blank))
        self._real.append((image.scale, image.zero))
        self._first.append(self._first[-1] + len(start))
        self._places.add(place)
        self._wanted.append((place, *image.tile, image.bytepix, image.blocksize, image.dither, image.seed))

    def decode(self, stack: Array, damaged: Array | None = None) -> Array:
        """Decode what was sent; see `decode` for argument and result. `damaged` holds what is known already."""
        n_ccd, ny, nx = stack.shape
        damaged = cupy.full(n_ccd, -1, np.int32) if damaged is None else damaged
        if not self._wanted:
            return damaged
        if self._shape != (ny, nx):
            raise ValueError(f"images of {self._shape} for a stack of {(ny, nx)}")
        if max(place for place, *_ in self._wanted) >= n_ccd:
            raise ValueError(f"an image for a place beyond the stack's {n_ccd} CCDs")
        # One copy for all integers of the tiles, one for their real numbers, one for the images'.
        start, size, blank = self._columns_on_device(self._whole, np.int64)
        scale, zero = self._columns_on_device(self._real, np.float64)
        wanted = self._on_device(np.array(self._wanted, dtype=np.int32))
        first = self._on_device(np.array(self._first, dtype=np.int64))
        most = int(np.diff(self._first).max())
        # A thread takes a tile. The tiles of two images are never in one block.
        RICE(
            (-(-most // (WARPS * WARP)), len(self._wanted)),
            (WARP, WARPS),
            self._data,
            start,
            size,
            scale,
            zero,
            blank,
            wanted,
            first,
            _random_on_device(),
            ny,
            nx,
            stack,
            damaged,
        )
        if self._sums:
            compare_sums(self._data, self._sums, damaged)
        return damaged

    def _check(self, place: int, image: RiceImage) -> None:
        """Refuse what would make the kernel read or write where it must not."""
        ny, nx = image.shape
        rows, columns = image.tile
        if self._shape not in (None, image.shape) or not 0 < ny * nx <= MOST_PIXELS:
            raise ValueError(f"an image of {ny} x {nx} among some of {self._shape}")
        if place < 0 or place in self._places:
            raise ValueError(f"place {place} is none, or taken")
        if not (0 < rows < 2**31 and 0 < columns < 2**31 and 0 < image.blocksize < 2**31):
            raise ValueError(f"tiles of {rows} x {columns} pixels in blocks of {image.blocksize}")
        if image.bytepix not in (1, 2, 4) or image.dither not in (0, 1, 2):
            raise ValueError(f"BYTEPIX {image.bytepix}, dither {image.dither}")
        if image.dither and not 1 <= image.seed <= N_RANDOM:
            raise ValueError(f"ZDITHER0 {image.seed}")
        n_tiles = -(-ny // rows) * -(-nx // columns)
        if any(len(a) != n_tiles for a in (image.start, image.size, image.scale, image.zero, image.blank)):
            raise ValueError(f"numbers for other than {n_tiles} tiles")
        if not lie_within(image.start, image.size, image.data.size):
            raise ValueError("a tile lies outside the data")
        for number, tile in image.decoded:
            y, x = number // -(-nx // columns) * rows, number % -(-nx // columns) * columns
            if not 0 <= number < n_tiles or tile.shape != (min(rows, ny - y), min(columns, nx - x)):
                raise ValueError(f"pixels of shape {tile.shape} for tile {number}")

    def _send(self, host: npt.NDArray[Any], place: BytesOnDisk | None = None, lent: bool = False) -> int:
        """Upload an array behind those that were; the byte where it begins."""
        begin = -(-self._used // ALIGNMENT) * ALIGNMENT
        end = begin + host.nbytes
        if self._data is None:
            self._data = cupy.empty(max(end, 1), np.uint8)
        elif end > self._data.size:
            # Twice as much, so that what has arrived is moved a few times at most, at the speed of the device's memory.
            larger = cupy.empty(max(end, 2 * self._data.size), np.uint8)
            larger[: self._used] = self._data[: self._used]
            self._data = larger
        if host.nbytes:
            self._upload(host, self._data[begin:end], place, lent)
        self._used = end
        return begin

    def _on_device(self, host: npt.NDArray[Any], lent: bool = False) -> Array:
        target = cupy.empty(host.shape, host.dtype)
        self._upload(host, target, None, lent)
        return target

    def _columns_on_device(self, columns: list[tuple[npt.NDArray[Any], ...]], kind: type[np.generic]) -> Array:
        """The columns of all images, one behind the other: as many rows as an image has columns."""
        shape = len(columns[0]), sum(len(image[0]) for image in columns)
        # Put together in pinned memory, from which they are copied while the host goes on.
        room = lent_room(math.prod(shape) * np.dtype(kind).itemsize)
        joined = room.memory.view(kind).reshape(shape)
        for row, parts in zip(joined, zip(*columns, strict=True), strict=True):
            np.concatenate(parts, out=row)
        return self._on_device(joined, room.lent)


def _upload(host: npt.NDArray[Any], target: Array, _place: BytesOnDisk | None = None, _lent: bool = False) -> None:
    """Without pinned memory."""
    source = np.ascontiguousarray(host).reshape(-1).view(np.uint8)
    target.reshape(-1).view(np.uint8).set(source)


_random: dict[int, Array] = {}
_lock = threading.Lock()


def _random_on_device() -> Array:
    """The same on the current device, for all of its streams: waited for when it is sent, once a process."""
    device = cupy.cuda.Device().id
    with _lock:
        if device not in _random:
            _random[device] = cupy.asarray(random_numbers())
            cupy.cuda.get_current_stream().synchronize()
        return _random[device]
