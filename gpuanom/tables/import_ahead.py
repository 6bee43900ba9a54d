"""The import of what makes the tables, while a long run measures."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress

SHORT = 0.0005
"""Seconds after which Python changes threads while the tables are imported."""


def import_tables() -> None:
    """Import what makes the tables, while native loops measure.

    The threads that measure need the interpreter's lock for moments only, and would wait for each of these moments
    until Python changes threads. What cannot be imported raises its error when the tables are made: by then all that
    was measured is stored.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SHORT)
    try:
        with suppress(Exception):
            from gpuanom.tables import build  # noqa: F401
    finally:
        sys.setswitchinterval(usual)


def import_loops() -> None:
    """Import SciPy and the compiled loops that the tables of a survey need.

    Threads that need them at the same time would wait for one of them to import them. What cannot be imported raises
    its error where it is used.
    """
    with suppress(Exception):
        for name in ("scipy.special", *(f"gpuanom.{loops}" for loops in _LOOPS)):
            importlib.import_module(name)


_LOOPS = ("records.histogram_sums", "digits_loop", "records.texts_loop", "scoring.judged.exposure_loops")
