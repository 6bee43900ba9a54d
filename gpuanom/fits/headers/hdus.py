"""An HDU of a file: its header, and where it lies; and the headers of all image HDUs of a file together.

Nobody changes the records of HDUs. They are not frozen, since a frozen record takes two to three times as long to make,
and an exposure has hundreds of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gpuanom.fits.headers.scanned import CompressedImage, Scanned
from gpuanom.fits.headers.values import Cards


@dataclass(eq=False)
class Unit:
    """First bytes of an HDU and of its data, number of bytes of the data, and the header as it is stored."""

    start: int
    data: int
    size: int
    header: Scanned

    @property
    def end(self) -> int:
        """The byte behind the data, without padding."""
        return self.data + self.size


@dataclass(eq=False)
class Hdu:
    """An image HDU with pixels: number, header of the image, primary header, where the HDU lies, and its shape.

    The shape is (..., ny, nx) as the header claims, which `gpuanom.fits.opening.file.File.image_shape` checks, as
    it checks BITPIX of the image: NaN where that makes no sense.
    """

    number: int
    header: Scanned | CompressedImage
    primary: Scanned
    unit: Unit
    claimed: tuple[int, ...]
    bits: float
    compressed: bool
    """Whether the image is tile-compressed, in a table."""

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

    def __init__(self, *headers: Scanned | CompressedImage) -> None:
        self.headers = headers
        self.comparable: Any = None  # of gpuanom.fits.headers.kept_answers

    @classmethod
    def of(cls, hdus: Sequence[Hdu]) -> FileHeaders:
        """Return the headers of image HDUs of one file."""
        return cls(hdus[0].primary, *[item.header for item in hdus]) if hdus else cls()

    @property
    def of_images(self) -> tuple[Scanned | CompressedImage, ...]:
        """The header of each image alone."""
        return self.headers[1:]

    def cards(self) -> list[Cards]:
        """Return the header of each image together with the primary header."""
        return [Cards(header, self.headers[0]) for header in self.headers[1:]]
