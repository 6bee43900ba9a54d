"""An HDU of a file: its header, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass

from gpuanom.fits.cards import CompressedImage, Scanned
from gpuanom.fits.headers import Cards


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Hdu:
    """An image HDU with pixels: number, header of the image, both headers together, where the HDU lies, and its shape.

    The shape is (..., ny, nx) as the header claims, which `gpuanom.fits.mapped.File.image_shape` checks.
    """

    number: int
    header: Scanned | CompressedImage
    cards: Cards
    unit: Unit
    claimed: tuple[int, ...]

    @property
    def compressed(self) -> bool:
        """Whether the image is tile-compressed, in a table."""
        return isinstance(self.header, CompressedImage)
