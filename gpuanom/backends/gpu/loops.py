"""The compiled loops of a run on a GPU, loaded while the driver prepares the GPU.

Files are checked and their tiles are found by native loops (`gpuanom.native`), whichever device decodes the tiles.
Importing Numba and loading these loops takes as long as the driver takes for its context, during which Python is idle.
"""

from __future__ import annotations

import logging
import threading
from functools import cache

_log = logging.getLogger("gpuanom")


@cache
def load_meanwhile() -> None:
    """Start to load the loops in a thread, once in the life of a process; whatever needs a loop waits for the thread.

    Only loops that every run on a GPU needs are loaded: not those that decode or measure on a CPU.
    """
    threading.Thread(target=_load, name="gpuanom-loops").start()


def _load() -> None:
    try:
        from gpuanom.backends import tile_numbers
        from gpuanom.fits.decoding import byteorder, images_together_loop, tile_table_loop
        from gpuanom.fits.opening import hdu_list_loop

        tile_numbers.put_tiles.load()
        tile_table_loop.read_places.load()
        hdu_list_loop.walk_headers.load()
        images_together_loop.read_sound_images.load()
        byteorder.total.load()
    except Exception as error:  # the first use of a loop says what is wrong, in its place
        _log.debug("loops not loaded ahead: %s", error)
