"""FITS images in searched folders whose names do not end as those of FITS files: not taken, and not lost in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.fits.opening.first_headers import read_headers
from gpuanom.natural_order import natural_key

_SOMETHING_ELSE = frozenset((
    *("avi", "bib", "bmp", "c", "cat", "cfg", "conf", "config", "csh", "css", "csv", "db", "doc", "docx", "ecsv"),
    *("eps", "err", "fig", "gif", "h", "hdr", "head", "htm", "html", "ini", "ipynb", "jpeg", "jpg", "js", "json"),
    *("lis", "list", "lock", "log", "lst", "md", "md5", "mov", "mp4", "npy", "npz", "odt", "out", "parquet", "pdf"),
    *("pickle", "pid", "pkl", "png", "pro", "ps", "py", "pyc", "pyo", "reg", "rst", "sh", "sha1", "sha256"),
    *("so", "sql", "sqlite", "svg", "tex", "tif", "tiff", "toml", "tsv", "txt", "vot", "votable", "webp", "xls"),
    *("xlsx", "xml", "yaml", "yml"),
))  # fmt: skip
"""Endings of names, in lower case and without the point, of files that are plainly no FITS files."""

_MOST_IN_VAIN = 50
"""After so many files of one ending that hold no image, the others of this ending are not looked into."""


def is_plainly_something_else(name: str) -> bool:
    """Whether the name of a file shows that the file is no FITS file, such as ``notes.txt``."""
    return name.lower().rpartition(".")[2] in _SOMETHING_ELSE and "." in name


def images_among(paths: Iterable[Path]) -> list[Path]:
    """Return the files that hold a FITS image, plain or packed, by their first headers.

    Parameters
    ----------
    paths : iterable of Path
        Files of any names. Of many files with one ending, such as the frames of a webcam, only the first are read.

    Returns
    -------
    list of Path
        In natural order.
    """
    found: list[Path] = []
    in_vain: Counter[str] = Counter()
    for path in sorted(set(paths), key=lambda p: natural_key(str(p))):
        ending = re.sub(r"\d+", "0", path.suffix.lower())
        if in_vain[ending] >= _MOST_IN_VAIN:
            continue
        try:
            read_headers(path)
        except InputError:
            in_vain[ending] += 1
        else:
            found.append(path)
            in_vain[ending] = 0
    return found
