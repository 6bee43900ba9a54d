"""Where the CCDs of a camera lie in its focal plane, in units of a CCD, +x to the right and +y up as pixels run.

The places are those of the DETSEC cards of real headers; a CCD without a place stands in a grid beside the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Position(NamedTuple):
    """Where a CCD lies: its lower left corner in CCD widths and heights, and whether it is turned by half a turn."""

    x: float
    y: float
    upside_down: bool = False


_DECAM_COLUMNS = (
    ("S", 29, 3), ("S", 25, 4), ("S", 20, 5), ("S", 14, 6), ("S", 8, 6), ("S", 1, 7),
    ("N", 1, 7), ("N", 8, 6), ("N", 14, 6), ("N", 20, 5), ("N", 25, 4), ("N", 29, 3),
)  # fmt: skip
"""From -x to +x: the half, the first number and how many, which are stacked along y and centred."""

_DECAM = {
    f"{half}{first + i}": Position(float(x), i + (7 - n) / 2)
    for x, (half, first, n) in enumerate(_DECAM_COLUMNS)
    for i in range(n)
}
DECAM_NUMBERS = {name: number for number, name in enumerate(_DECAM, 1)}
"""CCDNUM of each of DECam's CCDs, by its name in the focal plane (EXTNAME, DETPOS)."""

# Four rows of nine, the upper two mounted upside down. Where the four CCDs of the newer mosaic's ears lie is not known
# from a real header: they stand in the grid.
_MEGACAM = {f"ccd{9 * row + x:02d}": Position(float(x), float(3 - row), row < 2) for row in range(4) for x in range(9)}

_LAYOUTS = {"decam": _DECAM, "megacam": _MEGACAM}


def places(camera: str, ccds: Sequence[str]) -> dict[str, Position]:
    """A place for each CCD of an exposure.

    Parameters
    ----------
    camera : str
        DECam and MegaCam are known; the CCDs of others stand in a grid, row by row from the lower left.
    ccds : sequence of str
        In the order in which a grid is filled.
    """
    layout = _LAYOUTS.get(camera.lower(), {})
    found = {ccd: place for ccd in ccds if (place := _known(layout, ccd)) is not None}
    if len(set(found.values())) < len(found):
        found = {}  # two CCDs of one place: these names are not what the layout takes them for
    others = [ccd for ccd in ccds if ccd not in found]
    left = max((place.x for place in found.values()), default=-1.25) + 1.25
    columns = math.ceil(math.sqrt(len(others)))
    if found:
        columns = max(1, math.ceil(len(others) / 4))
    for i, ccd in enumerate(others):
        found[ccd] = Position(left + i % columns, float(i // columns))
    return found


def _known(layout: dict[str, Position], ccd: str) -> Position | None:
    if ccd in layout:
        return layout[ccd]
    if layout is _DECAM and re.fullmatch(r"\d{1,2}", ccd):  # DESDM's files name CCDs by CCDNUM
        number = int(ccd)
        return next((layout[name] for name, n in DECAM_NUMBERS.items() if n == number), None)
    return None


def ccd_number(camera: str, ccd: str) -> str:
    """What exclude lists call a CCD: DECam's CCDNUM, else the digits at the end of its name, else the name itself."""
    if camera.lower() == "decam" and ccd in DECAM_NUMBERS:
        return str(DECAM_NUMBERS[ccd])
    digits = re.search(r"(\d+)$", ccd)
    return str(int(digits.group(1))) if digits else ccd
