"""One FITS file's image HDUs and their pixels, through astropy, with every failure as an `InputError`."""

from __future__ import annotations

import gzip
import math
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
from gpuanom.fits.headers import Cards, number
from gpuanom.fits.quiet import quiet
from gpuanom.fits.scan import BLOCK

_MOST_PIXELS = 2**31
_GZIP_RATIO = 1100  # deflate cannot pack better than 1032 : 1
# Packed tiles reach a few hundred (RICE), a thousand (GZIP) or more (a constant image in one HCOMPRESS tile); beneath
# this size a claim costs little memory and is believed.
_TILE_RATIO = 2000
_HARMLESS = 2**29

_AGAIN = "fetch it again"


@dataclass(frozen=True, eq=False)
class Hdu:
    """An image HDU with pixels: number, image header, and the same with the primary header behind it."""

    number: int
    header: fits.Header
    cards: Cards
    hdu: Any


class File:
    """An open FITS file; use it in a ``with`` statement.

    Raises
    ------
    InputError
        When the file cannot be opened as FITS.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._size = path.stat().st_size
            with path.open("rb") as stream:
                self._zipped = stream.read(2) == b"\x1f\x8b"
            with quiet():
                self._list = fits.open(path, mode="readonly", memmap=False, lazy_load_hdus=True)
        except PermissionError:
            raise InputError("no permission to read it", file=path, remedy="change its permissions") from None
        except FileNotFoundError:
            raise InputError("does not exist any more", file=path, remedy="restore it") from None
        except Exception as error:  # astropy raises OSError, ValueError, VerifyError, zlib.error, EOFError ... here
            raise self._corrupt(f"cannot be opened: {_short(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with quiet():
            self._list.close()

    def hdus(self) -> Iterator[Hdu | InputError]:
        """Yield the image HDUs that have pixels, and an error for what cannot be read as an HDU."""
        primary: fits.Header | None = None
        end = 0
        index = 0
        while True:
            try:
                with quiet():
                    hdu = self._list[index]
                    header = hdu.header
                    end = self._end(hdu, end)
            except IndexError:
                break
            except Exception as error:  # whatever astropy raises for a header that makes no sense
                yield self._corrupt(f"its header cannot be read: {_short(error)}", index)
                return
            if primary is None:
                primary = header
            if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
                try:
                    if self.shape(header, index):
                        yield Hdu(index, header, Cards(header, primary), hdu)
                except InputError as error:
                    yield error
            elif "ZIMAGE" in header or "Corrupt" in type(hdu).__name__:
                yield self._corrupt("its header makes no sense", index)
            index += 1
        trouble = self._leftover(index, end)
        if trouble:
            yield trouble

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
        if isinstance(item.hdu, fits.CompImageHDU):
            if claimed > max(_HARMLESS, _TILE_RATIO * self._size):
                raise self._corrupt(f"its header claims {size} pixels in a file of {self._size} bytes", item.number)
        elif self._zipped:
            if claimed > _GZIP_RATIO * self._size:
                raise self._corrupt(f"its header claims {size} pixels in a file of {self._size} bytes", item.number)
        else:
            start = int((item.hdu.fileinfo() or {}).get("datLoc", 0))
            if start + claimed > self._size:
                missing = start + claimed - self._size
                raise self._corrupt(f"cut off: {missing} bytes of its pixels are missing", item.number)

    def _end(self, hdu: Any, end: int) -> int:
        info = hdu.fileinfo()
        return end if not info else max(end, int(info["datLoc"]) + int(info["datSpan"]))

    def _leftover(self, count: int, end: int) -> InputError | None:
        """What follows the last HDU that astropy could read: an HDU that is cut off or broken, or nothing.

        Astropy takes a header that it cannot read, and in a gzipped file whatever is cut off, for the end of the file.
        """
        try:
            with self.path.open("rb") as plain:
                if not self._zipped:
                    plain.seek(end)
                    following = plain.read(BLOCK)
                elif self._unzipped_size(plain) == end % 2**32:
                    return None  # without unpacking it once more
                else:
                    with gzip.open(plain) as stream:
                        stream.seek(end)
                        following = stream.read(BLOCK)
        except (OSError, EOFError, zlib.error):
            return self._corrupt("cut off or broken; what follows is lost", count)
        if not following.startswith(b"XTENSION"):
            return None  # padding, or the special records that FITS allows at the end
        return self._corrupt("its header is cut off or makes no sense; what follows is lost", count)

    def _unzipped_size(self, plain: BinaryIO) -> int:
        """Return what a gzip file says of its unpacked size, modulo 2^32: its last four bytes (RFC 1952)."""
        plain.seek(max(0, self._size - 4))
        size = int.from_bytes(plain.read(4), "little")
        plain.seek(0)
        return size

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


def _short(error: Exception) -> str:
    """Return an exception's first line: some of astropy's fill a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
