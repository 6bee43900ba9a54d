"""Data sections such as ``[57:2104,51:4146]``: the part of a raw image that shows the sky, without overscan.

Source: the IRAF mosaic conventions (pixels from 1, both ends included, first axis x). The
amplifiers of a CCD are joined in the order in which they lie in the image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.errors import InputError

_RANGE = r"\s*([0-9]{1,9})\s*:\s*([0-9]{1,9})\s*"
_SECTION = re.compile(rf"\[{_RANGE},{_RANGE}(?:,\s*1\s*:\s*1\s*)?\]")
_REMEDY = "correct the header, or give the camera a rule with another 'trim'"


@dataclass(frozen=True, order=True)
class Section:
    """A rectangle of pixels, from 0, upper ends excluded; sections are sorted by rows first."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The section as slices of rows and columns of the image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def text(self) -> str:
        """The section as headers write it."""
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"

    def fits_in(self, ny: int, nx: int) -> bool:
        """Whether the section lies within an image.

        Parameters
        ----------
        ny, nx : int
            Shape of the image in pixels.
        """
        return self.y1 <= ny and self.x1 <= nx

    def overlaps(self, other: Section) -> bool:
        """Whether the two sections share a pixel."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1


def parse_section(text: Any) -> Section:
    """Return the rectangle that ``[x1:x2,y1:y2]`` names.

    Raises
    ------
    InputError
        Status ``bad_section``: the text has another form, begins below 1, or has its ends
        exchanged.
    """
    found = _SECTION.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise bad_section(f"'{text}' is no section [x1:x2,y1:y2]")
    x1, x2, y1, y2 = (int(n) for n in found.groups())
    if x1 < 1 or y1 < 1:
        raise bad_section(f"section '{text}' starts below 1")
    if x2 < x1 or y2 < y1:
        raise bad_section(f"section '{text}' is reversed")
    return Section(y1 - 1, x1 - 1, y2, x2)


def trim(pixels: npt.NDArray[Any], sections: tuple[Section, ...], full_size: tuple[int, ...] = ()) -> npt.NDArray[Any]:
    """Cut an image to its data sections and join them, so that no overscan is left between amplifiers.

    Parameters
    ----------
    pixels : ndarray, (ny, nx)
    sections : tuple of Section
        The data sections of one CCD, in any order. Without any, the image is returned as it is.
    full_size : tuple of 2 ints, or empty
        nx, ny of the untrimmed CCD. An image that is smaller along both axes and does not contain
        its sections is a cut-out, whose header still describes the whole CCD; it is returned as it
        is.

    Returns
    -------
    ndarray, (ny', nx')
        A view of `pixels` where there is one section.

    Raises
    ------
    InputError
        Status ``bad_section``: a section reaches beyond the image, or the sections do not make up
        a rectangle.
    """
    ny, nx = pixels.shape
    rows = _rows((ny, nx), sections, full_size)
    if not rows:
        return pixels
    if len(rows) == len(rows[0]) == 1:
        return pixels[rows[0][0].slices]
    return np.concatenate([np.concatenate([pixels[s.slices] for s in row], axis=1) for row in rows], axis=0)


@lru_cache(maxsize=256)  # asked of each CCD of each exposure, and the same for most of them
def trimmed_shape(shape: tuple[int, int], sections: tuple[Section, ...], full_size: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape that `trim` gives an image, without its pixels.

    Parameters
    ----------
    shape : tuple of 2 ints
        (ny, nx) of the image.
    sections, full_size
        As for `trim`.

    Returns
    -------
    tuple of 2 ints
        (ny', nx').

    Raises
    ------
    InputError
        As `trim`.
    """
    rows = _rows(shape, sections, full_size)
    if not rows:
        return shape
    return sum(row[0].y1 - row[0].y0 for row in rows), sum(s.x1 - s.x0 for s in rows[0])


def trimmed_blocks(shape: tuple[int, int], sections: tuple[Section, ...]) -> list[tuple[int, int, Section]]:
    """Return where each data section lies in the trimmed image.

    Parameters
    ----------
    shape : tuple of 2 ints
        (ny, nx) of the image in the file.
    sections : tuple of Section
        As for `trim`; none where the image is taken as it is.

    Returns
    -------
    list of (x, y, Section)
        Lower left pixel of the section in the trimmed image, from 0.
    """
    found, y = [], 0
    for row in _rows(shape, sections, ()):
        x = 0
        for section in row:
            found.append((x, y, section))
            x += section.x1 - section.x0
        y += row[0].y1 - row[0].y0
    return found


def _rows(shape: tuple[int, int], sections: tuple[Section, ...], full_size: tuple[int, ...]) -> list[list[Section]]:
    """Return the sections by rows of the image; none where the image is to be taken as it is."""
    ny, nx = shape
    if not all(section.fits_in(ny, nx) for section in sections):
        if full_size and nx < full_size[0] and ny < full_size[1]:
            return []
        raise bad_section(f"a data section leaves the image of {nx} x {ny} pixels")
    ordered = sorted(sections)
    if any(a.overlaps(b) for a, b in combinations(ordered, 2)):  # a shared pixel would be in the CCD twice
        raise bad_section("the data sections of the amplifiers overlap")
    rows: dict[tuple[int, int], list[Section]] = {}
    for s in ordered:
        rows.setdefault((s.y0, s.y1), []).append(s)
    if len({sum(s.x1 - s.x0 for s in row) for row in rows.values()}) > 1:
        raise bad_section("the data sections of the amplifiers do not make up a rectangle")
    return list(rows.values())


def bad_section(message: str) -> InputError:
    """Return the error of status ``bad_section``, with the remedy."""
    return InputError(message, remedy=_REMEDY, status="bad_section")
