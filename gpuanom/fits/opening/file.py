"""A FITS file mapped to memory, its image HDUs, and checks of their data; every failure is an `InputError`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import GiveRoom, Room
from gpuanom.errors import FETCH_AGAIN, InputError, corrupt
from gpuanom.fits.headers.hdus import FileHeaders, Hdu
from gpuanom.fits.headers.scanned import ScannedHeader
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening.checksum import datasum_of, datasums_of, fold_carry, ones_complement_sum, same_sum
from gpuanom.fits.opening.first_headers import BLOCK
from gpuanom.fits.opening.hdu_list import list_hdus
from gpuanom.fits.opening.memory_map import DamagedError, Mapping, OpenFile, prefault
from gpuanom.records.attributes import attributes
from gpuanom.settings import NO_CHECKSUM
from gpuanom.system import patiently, refused

_MOST_PIXELS = 2**31 - 1  # pixels are counted in 32 bits
# Largest ratio of claimed to stored bytes: RICE tiles reach a few hundred, GZIP a thousand, and a
# constant image in one HCOMPRESS tile more. A claim below `_HARMLESS` bytes takes little memory
# and is not questioned.
_TILE_RATIO = 2000
_HARMLESS = 2**29


class File:
    """A FITS file mapped to memory. It need not be closed: it is closed when no view of its bytes is left.

    A file that is packed as a whole (gzip, bzip2, xz) is unpacked to the folder for temporary
    files and checked to its end before anything is read.

    Parameters
    ----------
    path : Path
    checksum : bool, optional
        Whether the data of images must agree with their DATASUM.

    Attributes
    ----------
    path : Path
    size : int
        Number of bytes of the unpacked file.
    plain : bool
        Whether the file on disk is mapped; False for a packed file, whose unpacked copy is mapped.

    Raises
    ------
    InputError
        When the file cannot be opened as FITS: status ``corrupt`` where its bytes show why,
        ``unreadable`` where the system refuses to open it.
    """

    def __init__(self, path: Path, checksum: bool = True) -> None:
        self.path = path
        self.checksum = checksum
        self._listed: tuple[Hdu | InputError, ...] | None = None
        self._images: list[Hdu] | None = None
        self._headers: FileHeaders | None = None
        self._shapes: dict[Any, tuple[int, int]] = {}
        try:
            self._mapping = Mapping(path)
        except DamagedError as error:
            raise self.corrupt(short(error)) from None
        self.plain, self.size = self._mapping.plain, self._mapping.size
        self.prefault(0, BLOCK)
        if self.bytes[:9] != b"SIMPLE  =":
            raise self.corrupt("cannot be opened: not a FITS file")

    @property
    def bytes(self) -> mmap:
        """The file, unpacked and mapped to memory.

        Raises
        ------
        InputError
            When the file was closed and cannot be opened again.
        """
        try:
            return self._mapping.view()
        except DamagedError as error:
            raise self.corrupt(short(error)) from None

    def prefault(self, start: int, stop: int, hdu: int | None = None) -> None:
        """Have the system read a part of the mapped file, so that a part which it cannot read is an error.

        Parameters
        ----------
        start, stop : int
            First byte, and the byte behind the last.
        hdu : int, optional
            Number of the HDU, for the error.

        Raises
        ------
        InputError
            Status ``corrupt`` where the file was cut off, or ``unreadable``.
        """
        view = self.bytes
        try:
            patiently(lambda: prefault(view, start, stop))
        except OSError as error:
            raise self.refused(error, stop, hdu) from None

    def refused(self, error: OSError, stop: int, hdu: int | None) -> InputError:
        """Return the error for bytes up to `stop` that the system did not give, with the number of the HDU if known."""
        if self.bytes.size() < min(stop, self.size):
            return self.corrupt("the file was cut off while it was open", hdu)
        return refused(error, self.path).at(self.path, hdu)

    def hdus(self) -> tuple[Hdu | InputError, ...]:
        """Return the image HDUs that have pixels, and an error for what cannot be read as an HDU.

        The last error, if any, says what is wrong with the end of the file. It has the number of
        the HDU that is cut off, or of the HDU that should follow.
        """
        if self._listed is None:
            with self._mapping.header_reader() as reader:
                self._listed = tuple(list_hdus(self, reader))
        return self._listed

    def images(self) -> list[Hdu]:
        """Return the image HDUs that have pixels."""
        if self._images is None:
            self._images = [item for item in self.hdus() if isinstance(item, Hdu)]
        return self._images

    def headers(self) -> FileHeaders:
        """Return the headers of `images`."""
        if self._headers is None:
            self._headers = FileHeaders.of(self.images())
        return self._headers

    def image_shape(self, item: Hdu) -> tuple[int, int]:
        """Return the shape (ny, nx) of an HDU's image, after every check that needs no pixels.

        Further axes of length one (NAXIS3 = 1) are left out.

        Raises
        ------
        InputError
            Status ``cube`` (more than one slice), ``not_2d`` (one axis), or ``corrupt``: cut off,
            or of a size that the file cannot hold.
        """
        # What is claimed of one CCD is mostly claimed of all, and need not be judged again.
        claim = item.claimed_shape, item.bitpix, item.compressed
        known = self._shapes.get(claim)
        if known is not None and item.stored.end <= self.size:
            return known
        shape = item.claimed_shape
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
        return self._shapes.setdefault(claim, (shape[0], shape[1]))

    def image_shapes(self) -> list[tuple[int, int]]:
        """Return what `image_shape` returns for each of `images`; raises its error where one of them is refused."""
        images = self.images()
        claims = list(zip(*attributes(images, "claimed_shape", "bitpix", "compressed"), strict=True))
        # Of images that claim the same, the last one ends last in the file.
        shapes = {claim: self.image_shape(item) for claim, item in dict(zip(claims, images, strict=True)).items()}
        return [shapes[claim] for claim in claims]

    def _refuse_absurd(self, item: Hdu, shape: tuple[int, ...]) -> None:
        """Compare a header's claim with the file's size before anything is allocated."""
        pixels = math.prod(shape)
        if not math.isfinite(item.bitpix) or not int(item.bitpix):
            raise self.corrupt("its BITPIX card makes no sense", item.number)
        claimed = pixels * abs(int(item.bitpix)) // 8
        if item.compressed and claimed > max(_HARMLESS, _TILE_RATIO * self.size):
            size = " x ".join(str(n) for n in reversed(shape))
            raise self.corrupt(f"its header claims {size} pixels in a file of {self.size} bytes", item.number)
        if item.stored.end > self.size:
            missing = item.stored.end - self.size
            raise self.corrupt(f"cut off: {missing} bytes of its pixels are missing", item.number)
        if pixels > _MOST_PIXELS:
            size = " x ".join(str(n) for n in reversed(shape))
            raise InputError(
                f"an image of {size} pixels is too large",
                file=self.path,
                hdu=item.number,
                remedy=f"images of up to {_MOST_PIXELS} pixels can be measured: cut it into parts",
                status="too_large",
            )

    def check(self, item: Hdu, *, prefault: bool = True, compare: bool = True) -> None:
        """Compare an HDU's data with its DATASUM (FITS standard 4.0, appendix J), unless `checksum` is False.

        A program that changes an image and copies its header leaves a DATASUM that does not fit.
        This is no damage, and the CHECKSUM shows it: header and DATASUM agree with the CHECKSUM
        only if the header was not changed since both sums were written. A sum whose card is blank,
        or is no whole number of 32 bits, is not defined.

        Parameters
        ----------
        item : Hdu
        prefault : bool, optional
            Whether the data will be read on the host, so that the system should read them now.
        compare : bool, optional
            Whether to compare them with the DATASUM; otherwise only their presence is checked.

        Raises
        ------
        InputError
            Status ``corrupt``: the data are cut off, or do not agree with the sum. Status
            ``unreadable``: the system cannot read them.
        """
        stored = item.stored
        try:
            size = patiently(self.bytes.size)
        except OSError as error:
            raise refused(error, self.path) from None
        if size < stored.end:  # reading mapped pages beyond the end of the file would end the process
            raise self.corrupt("the file was cut off while it was open", item.number)
        wanted = self.expected_datasum(item) if compare else None
        if prefault or wanted is not None:
            self.prefault(stored.start, stored.end, item.number)
        if wanted is not None:
            self._compare(item, wanted, self._sum(stored.data_start, stored.data_size))

    def read(self, item: Hdu, room: GiveRoom, *, compare: bool = True) -> Room:
        """Read an HDU's data into memory, and compare them with its DATASUM as `check` does.

        Nothing of the data is mapped, so that a file which is cut off meanwhile is an error like
        others.

        Parameters
        ----------
        item : Hdu
        room : callable
            Gives the memory.
        compare : bool, optional
            Whether to compare them with the DATASUM.

        Returns
        -------
        Room
            With the data, read-only, without padding.

        Raises
        ------
        InputError
            As `check`.
        """
        stored = item.stored
        given = room(stored.data_size)
        try:
            whole = self._mapping.read(stored.data_start, given.memory)
        except OSError as error:
            raise refused(error, self.path).at(self.path, item.number) from None
        if not whole:
            raise self.corrupt("the file was cut off while it was open", item.number)
        given.memory.flags.writeable = False
        if compare:
            self.compare_read(item, given.memory)
        return given

    def open_again(self) -> OpenFile | None:
        """Open the file to be read apart from the mapping; None where it is packed, has changed or cannot be opened."""
        return self._mapping.open_again()

    def is_same(self, file: OpenFile) -> bool:
        """Whether a file from `open_again` is as it was at first, neither written to nor cut off since."""
        return self._mapping.is_same(file)

    def refuse_change(self) -> None:
        """Raise an InputError where the file was written to, or replaced, since it was opened."""
        self._mapping.refuse_change()

    def is_unchanged(self) -> bool:
        """Whether `refuse_change` raises nothing."""
        try:
            self.refuse_change()
        except InputError:
            return False
        return True

    def compare_read(self, item: Hdu, data: npt.NDArray[np.uint8]) -> None:
        """Compare an HDU's data, as they were read, with its DATASUM; see `check` for the error."""
        wanted = self.expected_datasum(item)
        if wanted is not None:
            self._compare(item, wanted, ones_complement_sum(data))

    def expected_datasum(self, item: Hdu) -> int | None:
        """Return the DATASUM that an HDU's data must have; None where there is none, or sums are not compared."""
        return datasum_of(card(item.stored.header, "DATASUM")) if self.checksum else None

    def expected_datasums(self, headers: Sequence[ScannedHeader]) -> list[int | None]:
        """Return what `expected_datasum` returns for each of several HDUs, whose headers are of one layout."""
        return datasums_of(headers) if self.checksum else [None] * len(headers)

    def _compare(self, item: Hdu, wanted: int, found: int) -> None:
        """Raise an error where the sum of an HDU's data is not the wanted one, unless its CHECKSUM explains that."""
        stored = item.stored
        if same_sum(found, wanted):
            return
        if card(stored.header, "CHECKSUM"):  # a blank card means that the sum is not defined
            self.prefault(stored.start, stored.data_start, item.number)
            whole = self._sum(stored.start, stored.data_start - stored.start) + wanted
            if not same_sum(fold_carry(whole), 0):
                return
        raise InputError(
            "damaged: its data do not add up to its DATASUM",
            file=self.path,
            hdu=item.number,
            remedy=f"{FETCH_AGAIN}; if a program changed the pixels on purpose: {NO_CHECKSUM} reads them as they are",
            status="corrupt",
        )

    def _sum(self, start: int, size: int) -> int:
        """Return the ones' complement sum of a part of the file, as big-endian 32-bit words."""
        return ones_complement_sum(np.frombuffer(self.bytes, np.uint8, size, start))

    def corrupt(self, message: str, hdu: int | None = None) -> InputError:
        """Return the error for damage in this file.

        Parameters
        ----------
        message : str
            What is wrong.
        hdu : int, optional
            Number of the HDU.

        Returns
        -------
        InputError
            Status ``corrupt``.
        """
        return corrupt(message, self.path, hdu)

    def at(self, item: Hdu, error: InputError) -> InputError:
        """Return an error of a function that knows neither file nor HDU with both; any other error as it is.

        Parameters
        ----------
        item : Hdu
            The HDU that the function looked at.
        error : InputError
        """
        return error if error.file is not None else error.at(self.path, item.number)


def short(error: Exception) -> str:
    """Return the first line of an exception's text: some of astropy's texts fill a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
