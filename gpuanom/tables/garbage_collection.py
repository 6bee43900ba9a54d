"""Python's search for objects that refer to each other in a circle, left out while tables are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection(*, freeze: bool = False) -> Iterator[None]:
    """Do not search inside the block, or inside the function that is decorated.

    Python searches whenever many objects were made. The tables of a survey are a great many objects and hardly any
    circle: the search takes half a second, and frees nothing.

    Parameters
    ----------
    freeze : bool, optional
        Also leave all that exists at the end out of later searches: for what stays until the process ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if was_enabled:
            gc.enable()
