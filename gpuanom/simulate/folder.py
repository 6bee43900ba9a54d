"""The folder of a simulated night: which files may be written or replaced there, and which are left alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.table import Table

from gpuanom.errors import OutputError
from gpuanom.files import cannot_be_written, partial_path
from gpuanom.version import __version__

TRUTH = "truth.ecsv"
REQUEST = "simulated"
"""Key of the truth table's metadata under which the night's request is kept."""
INSTRUMENT = "GPUANOM-SIM"
INJECTED = "gpuanom inject:"
"""Beginning of the HISTORY card of an image into which `gpuanom inject` put an anomaly."""

Request = dict[str, Any]

_OURS = re.compile(r"\.?(sim_\d{6}\.fits(\.fz)?|c4d_\d{6}_\d{6}_oo[id]_.+_v1\.fits(\.fz)?|truth\.ecsv)(\.partial)?")
_log = logging.getLogger(__name__)


def claim(output: Path, names: Sequence[str], request: Request, *, overwrite: bool) -> Table | None:
    """Make the folder ready for a night.

    A finished night of the same request is kept, and an unfinished one is continued. A different night is replaced only
    with `overwrite`, and only if all files in the folder belong to simulated nights.

    Parameters
    ----------
    output : Path
        Made when it is missing.
    names : sequence of str
        The night's image files.
    request : dict
        The arguments that the night follows from, as the metadata of the truth table keep them.
    overwrite : bool
        Whether a night that is there already is replaced.

    Returns
    -------
    Table or None
        The truth table of the night, if all of it is there already; None when images are to be drawn.

    Raises
    ------
    OutputError
        When the folder cannot be made, or holds another night or other files.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        names_there = sorted(entry.name for entry in output.iterdir())
    except OSError as error:
        raise cannot_be_written(output, error) from None
    others = [name for name in names_there if not _is_own(output / name)]
    if not names_there:
        return None
    before, finished = _recorded(output)
    if before is not None and not overwrite and _same(before, request):
        if finished is not None and all((output / name).exists() for name in names):
            by = before.get("gpuanom", "an older version")
            _log.warning(
                "%s: holds this night already (drawn by gpuanom %s); it is kept, --overwrite draws it anew", output, by
            )
            return finished
        if before.get("gpuanom") == __version__ and not set(names) & set(others):
            return None
    if others:
        raise OutputError(f"{output}: holds other files ({others[0]}); give a new folder")
    if not overwrite:
        raise OutputError(
            f"{output}: holds a night already ({_difference(before, request)}); "
            "give a new folder, or --overwrite to replace that night"
        )
    try:
        # The truth table first: without it, a night that is removed in part is not taken for a night.
        for name in sorted(names_there, key=lambda name: (TRUTH not in name, name)):
            (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_be_written(output, error) from None
    return None


def begin(output: Path, request: Request) -> None:
    """Note in the folder which night is being drawn, so that it can be continued after an interrupt.

    Parameters
    ----------
    output : Path
    request : dict
        See `claim`.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    path = partial_path(output / TRUTH)
    try:
        Table({"exposure": ["not finished"]}, meta={REQUEST: request}).write(path, format="ascii.ecsv", overwrite=True)
        (output / TRUTH).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_be_written(path, error) from None


def _recorded(output: Path) -> tuple[Request | None, Table | None]:
    """The request that a night in the folder was drawn for, and its truth table if the night was finished."""
    for path in (output / TRUTH, partial_path(output / TRUTH)):
        try:
            table = Table.read(path, format="ascii.ecsv")
        except Exception:  # astropy raises many kinds on what is no ECSV; such a file says nothing about a night
            continue
        request = table.meta.get(REQUEST)
        return (request, table if path.name == TRUTH else None) if isinstance(request, dict) else (None, None)
    return None, None


def _same(before: Request, request: Request) -> bool:
    """Whether two requests are for the same night, whichever version drew it."""
    return {**before, "gpuanom": ""} == {**request, "gpuanom": ""}


def _difference(before: Request | None, request: Request) -> str:
    if before is None:
        return "nothing in it says how it was made"
    first = {"night": 1}  # a request for the first night does not name it
    for name, value in (first | request).items():
        old = (first | before).get(name)
        if old != value:
            return f"unfinished, drawn by gpuanom {old}" if name == "gpuanom" else f"its {name}: {old}, not {value}"
    return "of the same request"


def _is_own(path: Path) -> bool:
    """Whether a file belongs to a simulated night, by its name and its content."""
    if not _OURS.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    if path.name.endswith(".partial"):
        return True  # a file of ours that was never finished
    if path.name == TRUTH:
        try:
            names = Table.read(path, format="ascii.ecsv").colnames
        except Exception:  # as above
            return False
        return {"exposure", "band", "kind", "class"} <= set(names)
    try:
        header = fits.getheader(path, 0)
    except Exception:  # no FITS file
        return False
    simulated = header.get("INSTRUME") == INSTRUMENT or header.get("SIMULATD") is True
    return simulated and not any(str(line).startswith(INJECTED) for line in header.get("HISTORY", []))
