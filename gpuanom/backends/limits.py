"""Numbers of the steps `shapes` and `repeats` that both backends share (METHOD.md 10 and 11)."""

from __future__ import annotations

SHAPES_A_CCD = 400
"""Sources of a CCD whose shapes are measured: the brightest, of equal ones the first in (y, x) order."""
FIRST_WIDTH = 4.0
"""First guess of the width of the weight, in pixels."""
WIDTH_ROUNDS = 6
"""The width is taken as found after so many rounds at most."""
FOR_WIDTH = 100
"""So many of the brightest sources give the width."""
SIGNAL_TO_NOISE = 8.0
"""A source counts when its weighted flux is so many times the noise of that flux."""

MAXIMA_A_CCD = 1024
"""Maxima of a CCD whose positions are compared: the brightest, of equal ones the first in (y, x) order."""
MAXIMA_A_TILE = 4
"""Maxima of a tile of half a stamp's side that are looked at: the first in (y, x) order."""
MAXIMUM_THRESHOLD = 8.0
"""Height of a maximum, in sigma."""
MAXIMUM_REACH = 3
"""A maximum is the brightest pixel of a square that goes so many pixels to each side: 7 x 7 pixels."""

PAIR_BIN = 2
"""Side of a bin of the differences of positions, in pixels."""
PAIR_REACH = 256
"""Differences along each axis go up to this, exclusive, in pixels."""
PAIR_BACK = 32
"""Differences along y begin at minus this: the pairs' order is free, and a margin is all that is wanted below zero."""
PAIR_ROWS, PAIR_COLUMNS = (PAIR_BACK + PAIR_REACH) // PAIR_BIN, 2 * PAIR_REACH // PAIR_BIN
