"""An HDU of a file: its header, and where it lies; and the headers of all image HDUs of a file together.

The records of HDUs are not changed after they are made. They are not frozen, since a frozen record takes two to three
times as long to make, and an exposure has hundreds of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any

from gpuanom.fits.headers.card_places import WIDTH
from gpuanom.fits.headers.kept_answers import tables_of_one_layout
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader, found_in_all, is_of_the_table
from gpuanom.fits.headers.values import Cards

_NUMBERS = re.compile(
    r"^= +([+-]?(?:[0-9]{1,20}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[Ee][+-]?[0-9]{1,2})?) *(?:/.*)?$", re.MULTILINE
)
"""The value of a card, in one of the usual forms of a number."""


@dataclass(eq=False)
class StoredHdu:
    """Where an HDU lies in its file, and the header as the file holds it: of a compressed image that of the table.

    Attributes
    ----------
    start, data_start : int
        First byte of the HDU, and of the data.
    data_size : int
        Number of bytes of the data, without padding.
    header : ScannedHeader
    """

    start: int
    data_start: int
    data_size: int
    header: ScannedHeader

    @property
    def end(self) -> int:
        """The byte behind the data, without padding."""
        return self.data_start + self.data_size


@dataclass(eq=False)
class Hdu:
    """An image HDU with pixels.

    Attributes
    ----------
    number : int
        Number of the HDU in the file.
    header : ScannedHeader or CompressedImageHeader
        Header of the image.
    primary : ScannedHeader
        Primary header of the file.
    stored : StoredHdu
        Where the HDU lies in the file.
    claimed_shape : tuple of int
        (..., ny, nx) as the header claims; `gpuanom.fits.opening.file.File.image_shape` checks the claim.
    bitpix : float
        BITPIX of the image, which is checked there, too; NaN where that makes no sense.
    compressed : bool
        Whether the image is tile-compressed, in a table.
    """

    number: int
    header: ScannedHeader | CompressedImageHeader
    primary: ScannedHeader
    stored: StoredHdu
    claimed_shape: tuple[int, ...]
    bitpix: float
    compressed: bool

    @cached_property
    def cards(self) -> Cards:
        """The header of the image together with the primary header."""
        return Cards(self.header, self.primary)


class FileHeaders:
    """The headers of a file's image HDUs: what follows from them is asked once for all, and remembered for other files.

    The CCDs of the next exposure have the same names, sections and masks, see `gpuanom.fits.headers.kept_answers`.

    Parameters
    ----------
    *headers : Header
        The primary header, then the header of each image; no header at all where the file has no image.

    Attributes
    ----------
    headers : tuple of Header
    """

    def __init__(self, *headers: ScannedHeader | CompressedImageHeader) -> None:
        self.headers = headers
        self.comparable: Any = None  # of gpuanom.fits.headers.kept_answers

    @classmethod
    def of(cls, hdus: Sequence[Hdu]) -> FileHeaders:
        """Return the headers of image HDUs of one file."""
        return cls(hdus[0].primary, *[item.header for item in hdus]) if hdus else cls()

    @property
    def of_images(self) -> tuple[ScannedHeader | CompressedImageHeader, ...]:
        """The header of each image alone."""
        return self.headers[1:]

    @cached_property
    def _tables(self) -> tuple[ScannedHeader, ...] | None:
        return tables_of_one_layout(self)

    def numbers(self, keyword: str) -> list[float] | None:
        """Return the number that each image has in a card, looked for in all headers at once.

        Parameters
        ----------
        keyword : str
            One of the standard's plain cards.

        Returns
        -------
        list of float, or None
            What `gpuanom.fits.headers.values.number` makes of `Cards.get` for each image. None where that must be asked
            of each image: the headers have other names of cards than each other, or a card is not plainly a number.
        """
        if self._tables is None or is_of_the_table(keyword):
            return None
        found = found_in_all(_NUMBERS, self._tables, keyword)
        return None if found is None else list(map(float, found))

    def are_same(self, keyword: str) -> bool:
        """Whether `Cards.get` certainly returns the same for each image; a single comparison tells that of most files.

        Parameters
        ----------
        keyword : str
            One of the standard's plain cards.
        """
        if self._tables is None or is_of_the_table(keyword):
            return False
        places = self._tables[0].layout.places
        at = places.get(keyword.ljust(8))
        if at is None or "CONTINUE" in places:
            return at is None
        return len(set(map(itemgetter(slice(at, at + WIDTH)), map(attrgetter("text"), self._tables)))) == 1

    def cards(self) -> list[Cards]:
        """Return the header of each image together with the primary header."""
        return [Cards(header, self.headers[0]) for header in self.headers[1:]]
