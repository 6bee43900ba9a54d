"""Tile-compressed images in memory, and the decoding of tiles that are not Rice-coded.

Source: FITS standard 4.0, section 10.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import RawImage, RiceImage
from gpuanom.fits.decoding.encoded_images import damaged_tile, decode_raw, place
from gpuanom.records import FloatImage, Integers
from gpuanom.workspace import workspace

if TYPE_CHECKING:
    from gpuanom.fits.decoding.table_header import TableForm

RICE = ("RICE_1", "RICE_ONE")
GZIP = ("GZIP_1", "GZIP_2")
"""Values of ZCMPTYPE for the codes that gpuanom decodes."""


class AstropyOnlyError(Exception):
    """A form of image that gpuanom leaves to astropy; the message says which form."""


Places = tuple[Integers, Integers]
"""First byte of each tile within the heap, and number of bytes of each tile."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """A compressed image. Every number was checked against the file, except for the content of the tiles.

    Attributes
    ----------
    form : TableForm
        What the header says of the table.
    shape : tuple of int
        (ny, nx) of the image.
    table : ndarray, (n_bytes,) uint8
        The data of the HDU: rows, gap and heap; a view into the file, or what was read from there.
    places : Places
        Where COMPRESSED_DATA of each tile lies.
    gzipped, uncompressed : Places or None
        Where GZIP_COMPRESSED_DATA and UNCOMPRESSED_DATA lie, for tiles without COMPRESSED_DATA.
    seed, scale, zero, blank
        See `gpuanom.encoded.RiceImage`.
    """

    form: TableForm
    shape: tuple[int, int]
    table: npt.NDArray[np.uint8]
    places: Places
    gzipped: Places | None
    uncompressed: Places | None
    seed: int
    scale: npt.NDArray[np.float64]
    zero: npt.NDArray[np.float64]
    blank: Integers

    @property
    def heap(self) -> npt.NDArray[np.uint8]:
        """The heap of the table, in which the tiles lie."""
        return self.table[self.form.heap :]

    def rice(self, *, lent: bool = False, datasum: int | None = None) -> RiceImage:
        """Return a Rice-coded image for a decoder; tiles that are not Rice-coded are decoded.

        Parameters
        ----------
        lent : bool, optional
            Whether a backend lent the memory of the data.
        datasum : int, optional
            The DATASUM that a backend must compare all data of the HDU with; the image then has them all, not the
            heap alone.

        Raises
        ------
        InputError
            When one of these tiles is damaged; the message names it.
        """
        start, size = self.places
        decoded = tuple((int(t), self.fallback(int(t))) for t in np.flatnonzero(size == 0))
        if datasum is not None:
            start = start + self.form.heap
        return RiceImage(
            data=self.heap if datasum is None else self.table,
            shape=self.shape,
            tile=self.form.tile,
            start=start,
            size=size,
            bytepix=self.form.bytepix,
            blocksize=self.form.blocksize,
            quantised=self.form.quantised,
            dither=self.form.dither,
            seed=self.seed,
            scale=self.scale,
            zero=self.zero,
            blank=self.blank,
            decoded=decoded,
            lent=lent,
            datasum=datasum,
        )

    def decode_gzip(self, out: FloatImage) -> FloatImage:
        """Decode an image of GZIP_1 or GZIP_2 to float32 pixels, in `out` (ny, nx), which is returned.

        Raises
        ------
        InputError
            When a tile is damaged; the message names it.
        """
        size = self.places[1]
        for t in range(len(size)):
            if size[t] == 0:
                out[place(t, self.shape, self.form.tile)] = self.fallback(t)
            else:
                self._gzip_tile(t, out)
        return out

    def integers(self) -> npt.NDArray[np.int32]:
        """Return the integers of a Rice-coded integer image, (ny, nx) int32, without BSCALE and BZERO.

        Raises
        ------
        InputError
            When a tile is damaged; the message names it.
        AstropyOnlyError
            When the image is of another kind.
        """
        from gpuanom.fits.decoding import rice

        if self.form.code not in RICE or self.form.bitpix < 0 or not self.places[1].all():
            raise AstropyOnlyError(f"a plane of {self.form.code} and BITPIX {self.form.bitpix}")
        (ny, nx), (rows, columns) = self.shape, self.form.tile
        out = np.empty(self.shape, dtype=np.int32)
        damaged = rice.decode_integers(
            self.heap, *self.places, ny, nx, rows, columns, self.form.bytepix, self.form.blocksize,
            workspace("mask tile", (rows * columns,), np.int32), out.reshape(-1),
        )  # fmt: skip
        if damaged >= 0:
            raise damaged_tile(damaged, len(self.blank))
        return out

    def fallback(self, t: int) -> FloatImage:
        """Return the (rows, columns) pixels of a tile without COMPRESSED_DATA, which is stored as gzip or uncompressed.

        Raises
        ------
        InputError
            When the tile is damaged; the message names it.
        """
        shape = self._size(t)
        n, width = math.prod(shape), abs(self.form.bitpix) // 8
        if self.gzipped is not None and self.gzipped[1][t]:
            raw = self._inflated(self.gzipped, t, n * width)
        elif self.uncompressed is not None and self.uncompressed[1][t]:
            start, size = (int(numbers[t]) for numbers in self.uncompressed)
            raw = self.heap[start : start + size].tobytes()
        else:
            raise damaged_tile(t, len(self.blank), "holds nothing")
        if len(raw) != n * width:
            raise damaged_tile(t, len(self.blank), f"has {len(raw)} bytes instead of {n * width}")
        scale, zero = (1.0, 0.0) if self.form.quantised else (float(self.scale[t]), float(self.zero[t]))
        return _plain(raw, self.form.bitpix, shape, scale, zero, int(self.blank[t]))

    def _size(self, t: int) -> tuple[int, int]:
        y, x = place(t, self.shape, self.form.tile)
        return y.stop - y.start, x.stop - x.start

    def _inflated(self, places: Places, t: int, most: int) -> bytes:
        """Unpack a tile's gzip stream; it is damaged where it has more than `most` bytes."""
        start, size = int(places[0][t]), int(places[1][t])
        stream = zlib.decompressobj(47)  # gzip or zlib
        try:
            raw = stream.decompress(self.heap[start : start + size].data, most + 1)
        except zlib.error as error:
            raise damaged_tile(t, len(self.blank), f"cannot be unpacked ({error})") from None
        if len(raw) <= most and not stream.eof:
            raise damaged_tile(t, len(self.blank), "is cut off")
        return raw

    def _gzip_tile(self, t: int, out: FloatImage) -> None:
        """Decode a tile's COMPRESSED_DATA into an image."""
        from gpuanom.fits.decoding import dither

        rows, columns = self._size(t)
        n = rows * columns
        lossless = self.form.bitpix < 0 and not self.form.quantised
        most = abs(self.form.bitpix) // 8 if lossless else 8
        raw = self._inflated(self.places, t, n * most)
        width, rest = divmod(len(raw), n)
        if rest or width not in ((most,) if lossless else (1, 2, 4, 8)):
            raise damaged_tile(t, len(self.blank), f"has {len(raw)} bytes for {n} pixels")
        if self.form.code == "GZIP_2" and width > 1:  # the most significant bytes of all pixels come first
            raw = np.frombuffer(raw, np.uint8).reshape(width, n).T.tobytes()
        y, x = place(t, self.shape, self.form.tile)
        if not self.form.quantised:
            bitpix = self.form.bitpix if lossless else 8 * width
            values = _plain(raw, bitpix, (rows, columns), float(self.scale[t]), float(self.zero[t]), int(self.blank[t]))
            out[y, x] = values
            return
        q = np.frombuffer(raw, "u1" if width == 1 else f">i{width}").astype(np.int32)
        dither.pixels_of(
            q, t, rows, columns, self.form.dither, self.seed, self.scale[t], self.zero[t], self.blank[t],
            dither.RANDOM, dither.FIRST, out.reshape(-1), y.start * self.shape[1] + x.start, self.shape[1],
        )  # fmt: skip


def _plain(raw: bytes, bitpix: int, shape: tuple[int, int], scale: float, zero: float, blank: int) -> FloatImage:
    return decode_raw(RawImage(np.frombuffer(raw, np.uint8), shape, bitpix, scale, zero, blank))
