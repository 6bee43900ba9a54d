"""One FITS file's image HDUs and their pixels, through astropy, with every failure as an `InputError`."""

from __future__ import annotations

import gzip
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from gpuanom.errors import InputError
from gpuanom.fits.headers import Cards, card, number
from gpuanom.fits.quiet import quiet
from gpuanom.fits.scan import BLOCK, data_bytes, parse_header

_MOST_PIXELS = 2**31
_MOST_UNPACKED = 2**36  # no exposure comes near, and a gzip file that unpacks without end must not fill the disk
_CHUNK = 2**18  # a multiple of 4, and small enough for the processor's cache
# Packed tiles reach a few hundred (RICE), a thousand (GZIP) or more (a constant image in one HCOMPRESS tile); beneath
# this size a claim costs little memory and is believed.
_TILE_RATIO = 2000
_HARMLESS = 2**29

_AGAIN = "fetch it again"


@dataclass(frozen=True, eq=False)
class _Unit:
    """Where an HDU lies in the file, in bytes, and its header as it is stored (a compressed image's: its table's)."""

    start: int
    data: int
    size: int
    header: fits.Header

    @property
    def end(self) -> int:
        """End of the data, without padding."""
        return self.data + self.size


@dataclass(frozen=True, eq=False)
class Hdu:
    """An image HDU with pixels: number, image header, the same with the primary header behind it, and its place."""

    number: int
    header: fits.Header
    cards: Cards
    hdu: Any
    unit: _Unit | None


class File:
    """An open FITS file; use it in a ``with`` statement.

    A gzipped file is unpacked to the folder for temporary files and checked to its end before anything is read.

    Raises
    ------
    InputError
        When the file cannot be opened as FITS.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                zipped = stream.read(2) == b"\x1f\x8b"
            if zipped:
                # Both handles outlive the name, so that nothing is left behind whatever happens to the process.
                with tempfile.NamedTemporaryFile(prefix="gpuanom-", suffix=".fits") as unpacked:
                    self._unpack(unpacked)
                    self._open(Path(unpacked.name))
            else:
                self._open(path)
        except InputError:
            raise
        except PermissionError:
            raise InputError("no permission to read it", file=path, remedy="change its permissions") from None
        except FileNotFoundError:
            raise InputError("does not exist any more", file=path, remedy="restore it") from None
        except Exception as error:  # astropy raises OSError, ValueError, VerifyError, zlib.error, EOFError ... here
            raise self._corrupt(f"cannot be opened: {_short(error)}") from None

    def _open(self, path: Path) -> None:
        self._raw: BinaryIO = path.open("rb")
        try:
            self._size = os.fstat(self._raw.fileno()).st_size
            with quiet():
                self._list = fits.open(path, mode="readonly", memmap=False, lazy_load_hdus=True)
        except BaseException:
            self._raw.close()
            raise

    def _unpack(self, target: Any) -> None:
        """Unpack a gzip file; reading to the end is what checks its CRC and its size."""
        count = 0
        with gzip.open(self.path) as stream:
            while True:
                try:
                    chunk = stream.read(_CHUNK)
                except (OSError, EOFError, zlib.error) as error:
                    raise self._corrupt(f"broken gzip file: {_short(error)}") from None
                count += len(chunk)
                if count > _MOST_UNPACKED:
                    raise self._corrupt(f"it unpacks to more than {_MOST_UNPACKED} bytes")
                try:
                    target.write(chunk)
                    if not chunk:
                        target.flush()
                        return
                except OSError as error:
                    message = f"cannot be unpacked to {tempfile.gettempdir()}: {error.strerror}"
                    remedy = "make room there, or set TMPDIR to a folder with room"
                    raise InputError(message, file=self.path, remedy=remedy) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()
        with quiet():
            self._list.close()

    def hdus(self) -> Iterator[Hdu | InputError]:
        """Yield the image HDUs that have pixels, and an error for what cannot be read as an HDU.

        The last error, if any, is what is wrong with the file's end: the number of the HDU that is cut off, or of the
        one that should follow.
        """
        primary: fits.Header | None = None
        last: _Unit | None = None
        index = 0
        while True:
            try:
                with quiet():
                    hdu = self._list[index]
                    header = hdu.header
                unit = self._unit(hdu, index)
                last = unit or last
            except IndexError:
                break
            except InputError as error:
                yield error
                return
            except Exception as error:  # whatever astropy raises for a header that makes no sense
                if last is not None:
                    break  # it may be the end
                yield self._corrupt(f"its header cannot be read: {_short(error)}", index)
                return
            if primary is None:
                primary = header
            if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
                try:
                    if self.shape(header, index):
                        yield Hdu(index, header, Cards(header, primary), hdu, unit)
                except InputError as error:
                    yield error
            elif "ZIMAGE" in header or "Corrupt" in type(hdu).__name__:
                yield self._corrupt("its header makes no sense", index)
            index += 1
        trouble = self._ending(index, last) or self._too_few(index, primary)
        if trouble:
            yield trouble

    def _unit(self, hdu: Any, index: int) -> _Unit | None:
        with quiet():
            info = hdu.fileinfo()
        if not info:
            return None
        start, data = int(info["hdrLoc"]), int(info["datLoc"])
        self._raw.seek(start)
        header = parse_header(self._raw.read(data - start), self.path, index)
        return _Unit(start, data, data_bytes(header, self.path, index), header)

    def shape(self, header: fits.Header, hdu: int) -> tuple[int, ...]:
        """Return the shape (..., ny, nx) that a header claims; empty where there are no pixels."""
        with quiet():
            try:
                sizes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
            except (KeyError, TypeError, ValueError, fits.VerifyError):
                raise self._corrupt("its NAXIS cards make no sense", hdu) from None
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise self._corrupt("its NAXIS cards make no sense", hdu)
        return tuple(reversed(sizes)) if all(sizes) else ()

    def pixels(self, item: Hdu) -> npt.NDArray[Any]:
        """Return the pixels of an HDU as astropy decodes them, BSCALE and BZERO applied, as (ny, nx).

        Raises
        ------
        InputError
            Status ``not_2d``, or ``corrupt``: cut off, undecodable, or of a size that the file cannot hold.
        """
        shape = self.shape(item.header, item.number)
        if len(shape) != 2:
            raise InputError(
                f"an image of {len(shape)} dimensions",
                file=self.path,
                hdu=item.number,
                remedy="only 2-D images can be scored",
                status="not_2d",
            )
        self._refuse_absurd(item, shape)
        self._check_sum(item)
        try:
            with quiet(), np.errstate(all="ignore"):
                data = item.hdu.data
        except Exception as error:  # decoders raise what they like: zlib.error, ValueError, struct.error, TypeError ...
            raise self._corrupt(f"its pixels cannot be read: {_short(error)}", item.number) from None
        if not isinstance(data, np.ndarray) or data.shape != shape:
            raise self._corrupt("its pixels are not what its header says", item.number)
        return data

    def release(self, item: Hdu) -> None:
        """Forget an HDU's pixels: astropy would keep them until the file is closed."""
        with quiet():
            del item.hdu.data

    def _refuse_absurd(self, item: Hdu, shape: tuple[int, ...]) -> None:
        """Compare a header's claim with the file's size before anything is allocated."""
        pixels = math.prod(shape)
        claimed = pixels * abs(int(number(Cards(item.header).get("BITPIX")))) // 8
        size = " x ".join(str(n) for n in reversed(shape))
        if pixels > _MOST_PIXELS:
            raise self._corrupt(f"its header claims {size} pixels", item.number)
        if isinstance(item.hdu, fits.CompImageHDU) and claimed > max(_HARMLESS, _TILE_RATIO * self._size):
            raise self._corrupt(f"its header claims {size} pixels in a file of {self._size} bytes", item.number)
        unit = item.unit
        if unit and unit.end > self._size:
            raise self._corrupt(f"cut off: {unit.end - self._size} bytes of its pixels are missing", item.number)

    def _check_sum(self, item: Hdu) -> None:
        """Hold an HDU's data against its DATASUM (FITS standard 4.0, appendix J).

        Programs that cut or change an image and copy its header leave a DATASUM that was never that of these data.
        The CHECKSUM tells them from damage: header and DATASUM agree with it as long as the header is as it was when
        the sums were taken.
        """
        unit = item.unit
        if unit is None:
            return
        try:
            wanted = int(card(unit.header, "DATASUM"))
        except (TypeError, ValueError):
            return
        if self._sum(unit.data, unit.size) == wanted:
            return
        if "CHECKSUM" in unit.header:
            whole = self._sum(unit.start, unit.data - unit.start) + wanted
            if _carried(whole) not in (0, 2**32 - 1):
                return
        raise self._corrupt("damaged: its data do not add up to its DATASUM", item.number)

    def _sum(self, start: int, size: int) -> int:
        """Ones' complement sum of big-endian 32-bit words."""
        total = 0
        self._raw.seek(start)
        while size > 0:
            chunk = self._raw.read(min(size, _CHUNK))
            if not chunk:
                break
            size -= len(chunk)
            if len(chunk) % 4:
                chunk += bytes(-len(chunk) % 4)
            total += int(np.frombuffer(chunk, ">u4").sum(dtype=np.uint64))
        return _carried(total)

    def _ending(self, count: int, last: _Unit | None) -> InputError | None:
        """What is wrong with the end of a file of so many HDUs: something is cut off or broken, or nothing.

        Astropy takes whatever it cannot read for the end of the file.
        """
        if last is None:
            return None
        if last.end > self._size:
            return self._corrupt("cut off; what follows is lost", count - 1)
        end = last.end + -last.end % BLOCK
        if end > self._size:
            return self._corrupt("cut off in the padding behind its last HDU; what follows is lost", count)
        self._raw.seek(end)
        while rest := self._raw.read(_CHUNK):
            if rest.startswith(b"XTENSION"):
                return self._corrupt("its header is cut off or makes no sense; what follows is lost", count)
            if rest.strip(b"\0 "):
                return self._corrupt("what follows its last HDU is no FITS", count)
        if self._size % BLOCK:
            return self._corrupt(f"its size is no multiple of {BLOCK} bytes; what follows is lost", count)
        return None

    def _too_few(self, count: int, primary: fits.Header | None) -> InputError | None:
        """Whether extensions are missing that the primary header's NEXTEND promises.

        A single CCD that someone took out of a file keeps the NEXTEND of the whole: one extension says nothing.
        """
        promised = None if primary is None else card(primary, "NEXTEND")
        if type(promised) is not int or count - 1 >= promised or count == 2:
            return None
        return self._corrupt(f"cut off: it has {count - 1} extensions, its NEXTEND says {promised}", count)

    def _corrupt(self, message: str, hdu: int | None = None) -> InputError:
        return InputError(message, file=self.path, hdu=hdu, remedy=_AGAIN, status="corrupt")


def to_float32(pixels: npt.NDArray[Any], item_blank: float) -> npt.NDArray[np.float32]:
    """Copy pixels to native float32, C-contiguous, blank pixels to NaN.

    Parameters
    ----------
    pixels : ndarray, (ny, nx)
        Any numbers, any byte order. float64 beyond float32's range becomes infinite, which the steps count as bad.
    item_blank : float
        Value of the pixels without value in an integer image; NaN where there is none.

    Returns
    -------
    ndarray, (ny, nx) float32
    """
    with np.errstate(over="ignore", invalid="ignore"):
        image = np.array(pixels, dtype=np.float32, order="C")
    if pixels.dtype.kind in "iu" and math.isfinite(item_blank):
        image[pixels == item_blank] = np.nan
    return image


def blank_value(header: fits.Header) -> float:
    """Return the physical value of BLANK; NaN when there is none.

    Read before the pixels: astropy drops the card when it scales them, and leaves unsigned integers unscaled.
    """
    cards = Cards(header)
    scale, zero = cards.get("BSCALE"), cards.get("BZERO")
    blank = number(cards.get("BLANK"))
    return blank * (1.0 if scale is None else number(scale)) + (0.0 if zero is None else number(zero))


def _carried(total: int) -> int:
    """Add what is above 32 bits to what is below, until nothing is above."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _short(error: Exception) -> str:
    """Return an exception's first line: some of astropy's fill a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
