"""Where the CCDs of a camera lie in the focal plane, in units of a CCD: +x is to the right and +y up, like pixels.

The positions are from the DETSEC cards of real headers. CCDs of unknown position are put into a
grid beside the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class Position(NamedTuple):
    """Where a CCD lies.

    Attributes
    ----------
    x, y : float
        Lower left corner, in widths and heights of a CCD.
    upside_down : bool
        Whether the CCD is turned by half a turn.
    """

    x: float
    y: float
    upside_down: bool = False


_DECAM_COLUMNS = (
    ("S", 29, 3), ("S", 25, 4), ("S", 20, 5), ("S", 14, 6), ("S", 8, 6), ("S", 1, 7),
    ("N", 1, 7), ("N", 8, 6), ("N", 14, 6), ("N", 20, 5), ("N", 25, 4), ("N", 29, 3),
)  # fmt: skip
"""The columns from -x to +x: half, first number and number of CCDs, which are stacked along y and centred."""

_DECAM = {
    f"{half}{first + i}": Position(float(x), i + (7 - n) / 2)
    for x, (half, first, n) in enumerate(_DECAM_COLUMNS)
    for i in range(n)
}
DECAM_NUMBERS = {name: number for number, name in enumerate(_DECAM, 1)}
"""CCDNUM of each of DECam's CCDs, by the name in the focal plane (EXTNAME, DETPOS)."""

# Four rows of nine CCDs, the upper two rows mounted upside down. No real header at hand shows
# where the four CCDs in the ears of the newer mosaic lie, so they are put into the grid.
_MEGACAM = {f"ccd{9 * row + x:02d}": Position(float(x), float(3 - row), row < 2) for row in range(4) for x in range(9)}

_LAYOUTS = {"decam": _DECAM, "megacam": _MEGACAM}


def places(camera: str, ccds: Sequence[str]) -> dict[str, Position]:
    """Return the position of each CCD of an exposure.

    Parameters
    ----------
    camera : str
        Name of the camera. The positions of DECam and MegaCam are known, also of raw and of binned
        images; the CCDs of other cameras are put into a grid, row by row from the lower left.
    ccds : sequence of str
        Names of the CCDs, in the order in which a grid is filled.

    Returns
    -------
    dict of str to Position
        By names of the CCDs.
    """
    return dict(_places(camera, tuple(ccds)))


@lru_cache(maxsize=16)  # the exposures of a camera have the same CCDs, but for a few that are missing
def _places(camera: str, ccds: tuple[str, ...]) -> dict[str, Position]:
    layout = _LAYOUTS.get(_mosaic(camera), {})
    found = {ccd: position for ccd in ccds if (position := _known(layout, ccd)) is not None}
    if len(set(found.values())) < len(found):
        found = {}  # two CCDs at one position: the names mean something else than in the layout
    unknown = [ccd for ccd in ccds if ccd not in found]
    left = max((position.x for position in found.values()), default=-1.25) + 1.25
    columns = math.ceil(math.sqrt(len(unknown)))
    if found:
        columns = max(1, math.ceil(len(unknown) / 4))
    for i, ccd in enumerate(unknown):
        found[ccd] = Position(left + i % columns, float(i // columns))
    return found


def _mosaic(camera: str) -> str:
    """The camera without the level and the binning of its images, which its name may end with: DECam-raw-bin2x2."""
    return camera.lower().partition("-")[0]


def _known(layout: dict[str, Position], ccd: str) -> Position | None:
    if ccd in layout:
        return layout[ccd]
    if layout is _DECAM and re.fullmatch(r"\d{1,2}", ccd):  # DESDM's files name CCDs by their CCDNUM
        number = int(ccd)
        return next((layout[name] for name, n in DECAM_NUMBERS.items() if n == number), None)
    return None


def ccd_number(camera: str, ccd: str) -> str:
    """Return the number of a CCD as exclude lists write it.

    Parameters
    ----------
    camera : str
        Name of the camera.
    ccd : str
        Name of the CCD.

    Returns
    -------
    str
        CCDNUM for DECam; otherwise the number at the end of the name, or the name itself where
        there is none.
    """
    if _mosaic(camera) == "decam" and ccd in DECAM_NUMBERS:
        return str(DECAM_NUMBERS[ccd])
    digits = re.search(r"(\d+)$", ccd)
    return str(int(digits.group(1))) if digits else ccd
