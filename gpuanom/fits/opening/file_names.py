"""The names of FITS files: their endings, and the names without them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES: tuple[str, ...] = tuple(
    kind + packed for kind in (".fits", ".fit", ".fts") for packed in ("", ".fz", ".gz", ".bz2", ".xz")
)
"""Endings of the names of FITS files, in lower case."""


def stem(path: Path) -> str:
    """Return a file's name without its FITS ending."""
    lower = path.name.lower()
    ending = max((s for s in SUFFIXES if lower.endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]
