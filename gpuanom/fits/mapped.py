"""A FITS file mapped to memory: its image HDUs, and whether they are whole; every failure is an `InputError`."""

from __future__ import annotations

import gzip
import math
import mmap
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.errors import InputError
from gpuanom.fits.cards import CompressedImage, Scanned, find_end
from gpuanom.fits.headers import Cards, card, number
from gpuanom.fits.scan import BLOCK, data_bytes

_MOST_PIXELS = 2**31
_MOST_UNPACKED = 2**36  # no exposure comes near, and a gzip file that unpacks without end must not fill the disk
_CHUNK = 2**18  # a multiple of 4, and small enough for the processor's cache
_MOST_HEADER = 2000 * BLOCK  # 72,000 cards: no real header comes near
_MOST_HDUS = 10_000
# Packed tiles reach a few hundred (RICE), a thousand (GZIP) or more (a constant image in one HCOMPRESS tile); beneath
# this size a claim costs little memory and is believed.
_TILE_RATIO = 2000
_HARMLESS = 2**29

_AGAIN = "fetch it again"


@dataclass(frozen=True, eq=False)
class Unit:
    """Where an HDU lies in the file, in bytes, and its header as it is stored (a compressed image's: its table's)."""

    start: int
    data: int
    size: int
    header: Scanned

    @property
    def end(self) -> int:
        """End of the data, without padding."""
        return self.data + self.size


@dataclass(frozen=True, eq=False)
class Hdu:
    """An image HDU with pixels: number, image header, the same with the primary header behind it, and its place."""

    number: int
    header: Scanned | CompressedImage
    cards: Cards
    unit: Unit

    @property
    def compressed(self) -> bool:
        """Whether its image is held by a table."""
        return isinstance(self.header, CompressedImage)


class File:
    """A FITS file mapped to memory. Nothing is to be closed: the file is let go with the last view of its bytes.

    A gzipped file is unpacked to the folder for temporary files and checked to its end before anything is read.

    Attributes
    ----------
    path : Path
    bytes : mmap
        The file, unpacked.
    size : int
        Its bytes.
    plain : bool
        Whether the file on disk is what is mapped; not so if it is gzipped.

    Raises
    ------
    InputError
        When the file cannot be opened as FITS.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plain = True
        self._listed: tuple[Hdu | InputError, ...] | None = None
        try:
            with path.open("rb") as stream:
                if stream.read(2) != b"\x1f\x8b":
                    self._map(stream)
                else:
                    # The mapping outlives the name, so that nothing is left behind whatever happens to the process.
                    self.plain = False
                    with tempfile.NamedTemporaryFile(prefix="gpuanom-", suffix=".fits") as unpacked:
                        self._unpack(unpacked)
                        self._map(unpacked)
        except InputError:
            raise
        except PermissionError:
            raise InputError("no permission to read it", file=path, remedy="change its permissions") from None
        except FileNotFoundError:
            raise InputError("does not exist any more", file=path, remedy="restore it") from None
        except (OSError, ValueError) as error:  # ValueError: nothing to map
            raise self.corrupt(f"cannot be opened: {short(error)}") from None
        if self.bytes[:9] != b"SIMPLE  =":
            raise self.corrupt("cannot be opened: not a FITS file")

    def _map(self, stream: Any) -> None:
        self.bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.bytes)

    def _unpack(self, target: Any) -> None:
        """Unpack a gzip file; reading to the end is what checks its CRC and its size."""
        count = 0
        with gzip.open(self.path) as stream:
            while True:
                try:
                    chunk = stream.read(_CHUNK)
                except (OSError, EOFError, zlib.error) as error:
                    raise self.corrupt(f"broken gzip file: {short(error)}") from None
                count += len(chunk)
                if count > _MOST_UNPACKED:
                    raise self.corrupt(f"it unpacks to more than {_MOST_UNPACKED} bytes")
                try:
                    target.write(chunk)
                    if not chunk:
                        target.flush()
                        return
                except OSError as error:
                    message = f"cannot be unpacked to {tempfile.gettempdir()}: {error.strerror}"
                    remedy = "make room there, or set TMPDIR to a folder with room"
                    raise InputError(message, file=self.path, remedy=remedy) from None

    def hdus(self) -> tuple[Hdu | InputError, ...]:
        """Return the image HDUs that have pixels, and an error for what cannot be read as an HDU.

        The last error, if any, is what is wrong with the file's end: the number of the HDU that is cut off, or of the
        one that should follow.
        """
        if self._listed is None:
            self._listed = tuple(self._scan())
        return self._listed

    def _scan(self) -> Iterator[Hdu | InputError]:
        primary: Scanned | None = None
        last: Unit | None = None
        index = start = 0
        while start < self.size and index < _MOST_HDUS:
            if index and self.bytes[start : start + 8] != b"XTENSION":
                break  # FITS allows special records after the last HDU
            end = find_end(self.bytes, start, min(start + _MOST_HEADER, self.size))
            data = end + (start - end) % BLOCK
            if end < 0 or data > self.size:
                if last is None:
                    yield self.corrupt("its header cannot be read: it is cut off", index)
                    return
                break
            try:
                header = Scanned(self.bytes[start:end])
                last = Unit(start, data, data_bytes(header, self.path, index), header)
                if primary is None:
                    primary = header
                image = self._image_header(header, index)
                if image is not None and self.shape(image, index):
                    yield Hdu(index, image, Cards(image, primary), last)
            except InputError as error:
                yield error
                if last is None or last.start != start:  # where the next one starts cannot be told
                    return
            start = last.end + -last.end % BLOCK
            index += 1
        trouble = self._ending(index, last) or self._too_few(index, primary)
        if trouble:
            yield trouble

    def _image_header(self, header: Scanned, index: int) -> Scanned | CompressedImage | None:
        """The header of the image that an HDU holds; None where it holds none."""
        if not index:
            return header if card(header, "SIMPLE") is True else None
        kind = card(header, "XTENSION")
        if kind in ("BINTABLE", "A3DTABLE") and card(header, "ZIMAGE"):
            return CompressedImage(header)
        if "ZIMAGE" in header:
            raise self.corrupt("its header makes no sense", index)
        return header if kind == "IMAGE" else None

    def shape(self, header: Scanned | CompressedImage, hdu: int) -> tuple[int, ...]:
        """Return the shape (..., ny, nx) that a header claims; empty where there are no pixels."""
        count = card(header, "NAXIS")
        sizes = [card(header, f"NAXIS{axis}") for axis in range(1, count + 1)] if _is_count(count, 999) else [None]
        if not all(_is_count(size) for size in sizes):
            raise self.corrupt("its NAXIS cards make no sense", hdu)
        return tuple(int(size) for size in reversed(sizes) if size is not None) if all(sizes) else ()

    def image_shape(self, item: Hdu) -> tuple[int, int]:
        """Return the shape (ny, nx) of an HDU's image, after all that can be checked without reading pixels.

        Axes of length one behind the first two (NAXIS3 = 1) say nothing about the pixels and are left out.

        Raises
        ------
        InputError
            Status ``cube`` (more than one slice), ``not_2d`` (one axis), or ``corrupt``: cut off, or of a size that
            the file cannot hold.
        """
        shape = self.shape(item.header, item.number)
        n_slices = math.prod(shape[:-2])
        if n_slices > 1:
            raise InputError(
                f"a cube of {n_slices} slices ({' x '.join(str(n) for n in reversed(shape))} pixels), not one image",
                file=self.path,
                hdu=item.number,
                remedy="write each slice, or their sum, to a 2-D image of its own and score those",
                status="cube",
            )
        shape = shape[-2:]
        if len(shape) != 2:
            raise InputError(
                f"an image of {len(shape)} dimensions",
                file=self.path,
                hdu=item.number,
                remedy="only 2-D images can be scored",
                status="not_2d",
            )
        self._refuse_absurd(item, shape)
        return shape[0], shape[1]

    def _refuse_absurd(self, item: Hdu, shape: tuple[int, ...]) -> None:
        """Compare a header's claim with the file's size before anything is allocated."""
        pixels = math.prod(shape)
        bits = number(card(item.header, "BITPIX"))
        if not math.isfinite(bits):
            raise self.corrupt("its BITPIX card makes no sense", item.number)
        claimed = pixels * abs(int(bits)) // 8
        size = " x ".join(str(n) for n in reversed(shape))
        if pixels > _MOST_PIXELS:
            raise self.corrupt(f"its header claims {size} pixels", item.number)
        if item.compressed and claimed > max(_HARMLESS, _TILE_RATIO * self.size):
            raise self.corrupt(f"its header claims {size} pixels in a file of {self.size} bytes", item.number)
        if item.unit.end > self.size:
            missing = item.unit.end - self.size
            raise self.corrupt(f"cut off: {missing} bytes of its pixels are missing", item.number)

    def check(self, item: Hdu) -> None:
        """Hold an HDU's data against its DATASUM (FITS standard 4.0, appendix J).

        Programs that cut or change an image and copy its header leave a DATASUM that was never that of these data.
        The CHECKSUM tells them from damage: header and DATASUM agree with it as long as the header is as it was when
        the sums were taken.
        """
        unit = item.unit
        if self.bytes.size() < unit.end:  # mapped pages that the file has lost would end the process
            raise self.corrupt("the file was cut off while it was open", item.number)
        try:
            wanted = int(card(unit.header, "DATASUM"))
        except (TypeError, ValueError, OverflowError):
            return
        if self._sum(unit.data, unit.size) == wanted:
            return
        if "CHECKSUM" in unit.header:
            whole = self._sum(unit.start, unit.data - unit.start) + wanted
            if _carried(whole) not in (0, 2**32 - 1):
                return
        raise self.corrupt("damaged: its data do not add up to its DATASUM", item.number)

    def _sum(self, start: int, size: int) -> int:
        """Ones' complement sum of big-endian 32-bit words."""
        from gpuanom.fits import words

        whole = size // 4
        rest = self.bytes[start + 4 * whole : start + size].ljust(4, b"\0")
        return _carried(
            int(words.total(np.frombuffer(self.bytes, np.uint32, whole, start))) + int.from_bytes(rest, "big")
        )

    def _ending(self, count: int, last: Unit | None) -> InputError | None:
        """What is wrong with the end of a file of so many HDUs: something is cut off or broken, or nothing."""
        if last is None:
            return None
        if last.end > self.size:
            return self.corrupt("cut off; what follows is lost", count - 1)
        end = last.end + -last.end % BLOCK
        if end > self.size:
            return self.corrupt("cut off in the padding behind its last HDU; what follows is lost", count)
        for at in range(end, self.size, _CHUNK):
            rest = self.bytes[at : at + _CHUNK]
            if rest.startswith(b"XTENSION"):
                return self.corrupt("its header is cut off or makes no sense; what follows is lost", count)
            if rest.strip(b"\0 "):
                return self.corrupt("what follows its last HDU is no FITS", count)
        if self.size % BLOCK:
            return self.corrupt(f"its size is no multiple of {BLOCK} bytes; what follows is lost", count)
        return None

    def _too_few(self, count: int, primary: Scanned | None) -> InputError | None:
        """Whether extensions are missing that the primary header's NEXTEND promises.

        A single CCD that someone took out of a file keeps the NEXTEND of the whole: one extension says nothing.
        """
        promised = None if primary is None else card(primary, "NEXTEND")
        if type(promised) is not int or count - 1 >= promised or count == 2:
            return None
        return self.corrupt(f"cut off: it has {count - 1} extensions, its NEXTEND says {promised}", count)

    def corrupt(self, message: str, hdu: int | None = None) -> InputError:
        """An error of status ``corrupt`` in this file."""
        return InputError(message, file=self.path, hdu=hdu, remedy=_AGAIN, status="corrupt")


def _is_count(value: Any, most: int = 2**62) -> bool:
    return type(value) is int and 0 <= value <= most


def _carried(total: int) -> int:
    """Add what is above 32 bits to what is below, until nothing is above."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def short(error: Exception) -> str:
    """Return an exception's first line: some of astropy's fill a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
