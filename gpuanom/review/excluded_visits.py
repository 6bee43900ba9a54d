"""Lists of excluded visits as Rubin keeps them: ECSV with the columns exposure and comment, ordered by exposure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table

from gpuanom.errors import InputError, OutputError, printable
from gpuanom.natural_order import natural_key
from gpuanom.records import ExposureKey

MARK = "# %ECSV"
"""How an ECSV file begins."""


def to_text(comments: Mapping[ExposureKey, str]) -> str:
    """Write a list of excluded visits.

    Parameters
    ----------
    comments : mapping of (camera, exposure) to str
        Why each exposure is excluded.

    Returns
    -------
    str
        ECSV. Exposures are numbers where all ids are numbers, as Rubin's are.

    Raises
    ------
    OutputError
        When the exposures are of several cameras: the form has no column for the camera.
    """
    cameras = sorted({camera for camera, _ in comments})
    if len(cameras) > 1:
        raise OutputError(f"a list of excluded visits holds one camera, not {printable(', '.join(cameras))}")
    by_id = {exposure: printable(comment) for (_, exposure), comment in comments.items()}
    names = sorted(by_id, key=natural_key)
    # A number that is written otherwise than its id, such as 007, would name another exposure.
    numbers = all(name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < 2**64 for name in names)
    values = np.array([int(n) for n in names], dtype=np.uint64) if numbers else np.array(names, dtype=np.str_)
    table = Table({"exposure": values, "comment": np.array([by_id[n] for n in names], dtype=np.str_)})
    text = io.StringIO()
    table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue()


def from_text(text: str, path: Path) -> list[tuple[str, str]]:
    """Read a list of excluded visits.

    Parameters
    ----------
    text : str
    path : Path
        The file, for messages.

    Returns
    -------
    list of (str, str)
        Exposures and comments, in the order of the list.

    Raises
    ------
    InputError
        When the text is no such list.
    """
    table = read_ecsv(text, path)
    missing = [name for name in ("exposure", "comment") if name not in table.colnames]
    if missing:
        words = f"a list of excluded visits has the columns exposure and comment; {', '.join(missing)} missing"
        raise InputError(words, file=path)
    if np.ma.getmaskarray(table["exposure"]).any():
        raise InputError("a row without an exposure", file=path)
    comments = np.ma.filled(np.ma.asarray(table["comment"], dtype=np.str_), "")
    return [(printable(str(e)), printable(str(c)).strip()) for e, c in zip(table["exposure"], comments, strict=True)]


def read_ecsv(text: str, path: str | Path) -> Table:
    """Read a table that people or programs may have changed.

    Parameters
    ----------
    text : str
    path : str or Path
        The file, for messages.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        When the text is no ECSV.
    """
    try:
        return Table.read(text.replace("\r\n", "\n").split("\n"), format="ascii.ecsv")
    except Exception as error:  # the ECSV reader raises many kinds on files that are not ECSV
        raise InputError(f"cannot be read as ECSV: {' '.join(str(error).split())[:120]}", file=path) from None
