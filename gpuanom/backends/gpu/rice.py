"""RICE-compressed images to pixels, straight into the stack: launcher of kernels/rice.cu (METHOD.md 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.checksum import ALIGNMENT, compare_sums
from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.staging import lent_room
from gpuanom.encoded import N_RANDOM, BytesOnDisk, RiceImage, RiceImages, random_numbers
from gpuanom.records import Array

RICE = Kernel("rice", "rice")
WARP = 32
WARPS = 4
MOST_PIXELS = 2**31 - 64
"""Of a CCD: kernels number pixels as int, and this one goes on by 32 at a time."""

Upload = Callable[..., None]
"""Copies a host array, of any type and alignment, to a device array of as many bytes: `Staging.upload`."""


def decode(images: Iterable[tuple[int, RiceImage]], stack: Array, upload: Upload | None = None) -> Array:
    """Decode compressed images into their places in a stack: one launch for all.

    Parameters
    ----------
    images : iterable of (int, RiceImage)
        Place in the stack, each at most once, and image; each is on its way before the next one is asked for.
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
    most : int
        How many images are expected; the same holds for the numbers of their tiles.
    """

    def __init__(self, upload: Upload | None = None, n_bytes: int = 0, most: int = 1) -> None:
        self._upload = upload or _upload
        self._data = cupy.empty(n_bytes, np.uint8) if n_bytes else None
        self._used = 0
        self._shape: tuple[int, int] | None = None
        self._wanted: list[tuple[int, ...]] = []
        self._places: set[int] = set()
        self._first = [0]
        self._most = most
        # The numbers of all tiles: start, size and blank; scale and zero.
        self._wholes, self._reals = _Columns(3, np.int64), _Columns(2, np.float64)
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
        self._check(place, image, (image.seed,))
        tiles = (image.start[None], image.size[None], image.blank, image.scale[None], image.zero[None])
        wholes = self._put(tiles, image.data.size)
        begin = self._send(image.data, image.on_disk, image.lent)
        if image.datasum is not None:
            self._sums.append((place, begin, image.data.nbytes, image.datasum))
        if image.decoded:
            pixels = [np.asarray(tile, dtype=np.float32).reshape(-1) for _, tile in image.decoded]
            numbers = [self._first[-1] + number for number, _ in image.decoded]
            wholes[1, numbers] = [-tile.nbytes for tile in pixels]
            ends = np.cumsum([tile.nbytes for tile in pixels])
            wholes[0, numbers] = ends + wholes[1, numbers] + self._send(np.concatenate(pixels))
        self._added(place, image, (image.seed,), len(image.start))

    def add_several(self, place: int, images: RiceImages) -> None:
        """Send the bytes of images that were read together to the device, by one copy.

        Parameters
        ----------
        place : int
            Of the first of their CCDs in the stack; the others follow.
        images : RiceImages
            May be let go as soon as this returns.
        """
        self._check(place, images, images.seeds)
        self._put((images.start, images.size, images.blank, images.scale, images.zero), images.data.size)
        begin = self._send(images.data, None, images.lent)
        self._sums += [
            (of_image, begin + first, n_bytes, datasum)
            for of_image, (first, n_bytes, datasum) in enumerate(images.sums, place)
            if datasum is not None
        ]
        self._added(place, images, images.seeds, images.start.shape[1])

    def _put(self, tiles: tuple[npt.NDArray[Any], ...], n_bytes: int) -> npt.NDArray[Any]:
        """Put the numbers of images' tiles, whose data come next, behind others; return all whole numbers."""
        at, (n, n_tiles) = self._first[-1], tiles[0].shape
        up_to, expected = at + n * n_tiles, self._most * n_tiles
        wholes, reals = self._wholes.up_to(up_to, expected), self._reals.up_to(up_to, expected)
        from gpuanom.backends.tile_numbers import (
            put_tiles,  # imports Numba, which is for `loops` while the driver starts
        )

        if not put_tiles(*tiles, n_bytes, self._next(), at, wholes, reals):
            raise ValueError("a tile lies outside the data")
        return wholes

    def _added(self, place: int, image: RiceImage | RiceImages, seeds: Sequence[int], n_tiles: int) -> None:
        self._shape = image.shape
        form, first = (*image.tile, image.bytepix, image.blocksize, image.dither), self._first[-1] + n_tiles
        self._first += range(first, first + len(seeds) * n_tiles, n_tiles)
        self._places.update(range(place, place + len(seeds)))
        self._wanted += [(of_image, *form, seed) for of_image, seed in enumerate(seeds, place)]

    def decode(self, stack: Array, damaged: Array | None = None) -> Array:
        """Decode the images that were sent; see `decode`. `damaged` names the CCDs that are known to be damaged."""
        n_ccd, ny, nx = stack.shape
        damaged = cupy.full(n_ccd, -1, np.int32) if damaged is None else damaged
        if not self._wanted:
            return damaged
        if self._shape != (ny, nx):
            raise ValueError(f"images of {self._shape} for a stack of {(ny, nx)}")
        if max(self._places) >= n_ccd:
            raise ValueError(f"an image for a place beyond the stack's {n_ccd} CCDs")
        # One copy for all integers of the tiles, one for their real numbers, one for the images'.
        start, size, blank = self._on_device(*self._wholes.joined(self._first[-1]))
        scale, zero = self._on_device(*self._reals.joined(self._first[-1]))
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

    def _check(self, place: int, image: RiceImage | RiceImages, seeds: Sequence[int]) -> None:
        """Refuse an image for which the kernel would read or write outside of its arrays."""
        ny, nx = image.shape
        rows, columns = image.tile
        if self._shape not in (None, image.shape):
            raise ValueError(f"an image of {ny} x {nx} among some of {self._shape}")
        if place < 0 or not self._places.isdisjoint(range(place, place + len(seeds))):
            raise ValueError(f"place {place} is none, or taken")
        n_tiles = _tiles_of_form(image.shape, image.tile, image.blocksize, image.bytepix, image.dither)
        if image.dither and not 1 <= min(seeds) <= max(seeds) <= N_RANDOM:
            raise ValueError(f"ZDITHER0 {min(seeds)} to {max(seeds)}")
        shape = (len(seeds), n_tiles) if isinstance(image, RiceImages) else (n_tiles,)
        shapes = (image.start.shape, image.size.shape, image.scale.shape, image.zero.shape)
        if image.blank.shape != (n_tiles,) or shapes != (shape,) * 4:
            raise ValueError(f"numbers for other than {n_tiles} tiles")
        for number, tile in () if isinstance(image, RiceImages) else image.decoded:
            y, x = number // -(-nx // columns) * rows, number % -(-nx // columns) * columns
            if not 0 <= number < n_tiles or tile.shape != (min(rows, ny - y), min(columns, nx - x)):
                raise ValueError(f"pixels of shape {tile.shape} for tile {number}")

    def _next(self) -> int:
        """The byte where the next array will begin."""
        return -(-self._used // ALIGNMENT) * ALIGNMENT

    def _send(self, host: npt.NDArray[Any], on_disk: BytesOnDisk | None = None, lent: bool = False) -> int:
        """Upload an array behind those that were; the byte where it begins."""
        begin = self._next()
        end = begin + host.nbytes
        if self._data is None:
            self._data = cupy.empty(max(end, 1), np.uint8)
        elif end > self._data.size:
            # Twice as much, so that what has arrived is moved a few times at most, at the speed of the device's memory.
            larger = cupy.empty(max(end, 2 * self._data.size), np.uint8)
            larger[: self._used] = self._data[: self._used]
            self._data = larger
        if host.nbytes:
            self._upload(host, self._data[begin:end], on_disk, lent)
        self._used = end
        return begin

    def _on_device(self, host: npt.NDArray[Any], lent: bool = False) -> Array:
        target = cupy.empty(host.shape, host.dtype)
        self._upload(host, target, None, lent)
        return target


@lru_cache(maxsize=256)
def _tiles_of_form(shape: tuple[int, int], tile: tuple[int, int], blocksize: int, bytepix: int, dither: int) -> int:
    """Return the number of tiles of an image, once it is known that the kernel takes such an image."""
    (ny, nx), (rows, columns) = shape, tile
    if not 0 < ny * nx <= MOST_PIXELS:
        raise ValueError(f"an image of {ny} x {nx} pixels")
    if not (0 < rows < 2**31 and 0 < columns < 2**31 and 0 < blocksize < 2**31):
        raise ValueError(f"tiles of {rows} x {columns} pixels in blocks of {blocksize}")
    if bytepix not in (1, 2, 4) or dither not in (0, 1, 2):
        raise ValueError(f"BYTEPIX {bytepix}, dither {dither}")
    return -(-ny // rows) * -(-nx // columns)


class _Columns:
    """Numbers of the tiles of all images, in memory from which they are copied while the host goes on.

    Parameters
    ----------
    n_rows : int
    kind : NumPy type
        Of 8 bytes.
    """

    def __init__(self, n_rows: int, kind: type[np.generic]) -> None:
        self._n_rows, self._kind, self._lent = n_rows, kind, False
        self._numbers: npt.NDArray[Any] = np.empty((n_rows, 0), kind)

    def up_to(self, n: int, expected: int) -> npt.NDArray[Any]:
        """Return the memory, (n_rows, n or more), with the numbers that it had; so many columns may be wanted."""
        if n > self._numbers.shape[1]:
            before, width = self._numbers, max(n, expected, 2 * self._numbers.shape[1])
            room = lent_room(self._n_rows * width * 8)
            self._numbers, self._lent = room.memory.view(self._kind).reshape(self._n_rows, width), room.lent
            self._numbers[:, : before.shape[1]] = before
        return self._numbers

    def joined(self, n: int) -> tuple[npt.NDArray[Any], bool]:
        """Return the first n columns, (n_rows, n), and whether their memory is lent."""
        if n == self._numbers.shape[1]:
            return self._numbers, self._lent
        return np.ascontiguousarray(self._numbers[:, :n]), False


def _upload(host: npt.NDArray[Any], target: Array, _on_disk: BytesOnDisk | None = None, _lent: bool = False) -> None:
    """Copy a host array to the device, without pinned memory."""
    source = np.ascontiguousarray(host).reshape(-1).view(np.uint8)
    target.reshape(-1).view(np.uint8).set(source)


_random: dict[int, Array] = {}
_lock = threading.Lock()


def _random_on_device() -> Array:
    """`random_numbers` on the current device, for all of its streams: sent and waited for once in a process."""
    device = cupy.cuda.Device().id
    with _lock:
        if device not in _random:
            _random[device] = cupy.asarray(random_numbers())
            cupy.cuda.get_current_stream().synchronize()
        return _random[device]
