"""Figures and tables that several commands write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuanom import installing
from gpuanom.errors import GpuanomError, OutputError
from gpuanom.files import require_writable, whole_file

_TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}


def require_table(path: Path) -> None:
    """Check that a table can be written there, before anything is read for it.

    Raises
    ------
    OutputError
        When the format is unknown or the file cannot be written.
    """
    if path.suffix not in _TABLES:
        raise OutputError(f"{path}: a table is a .csv or an .ecsv")
    require_writable(path)


def write_table(table: Any, path: Path) -> None:
    """Write a table in the format that the name of the file tells.

    Parameters
    ----------
    table : Table
    path : Path
        Ends in .csv or .ecsv.

    Raises
    ------
    OutputError
        When the format is unknown or the file cannot be written.
    """
    require_table(path)
    with whole_file(path) as partial:
        table.write(partial, format=_TABLES[path.suffix], overwrite=True)


def figure_class() -> Any:
    """Matplotlib's Figure.

    Raises
    ------
    GpuanomError
        When matplotlib is not installed, or cannot be loaded.
    """
    if lacking := installing.lacks("matplotlib.figure", "matplotlib", installing.install("report")):
        raise GpuanomError(f"pictures need {lacking}")
    from matplotlib.figure import Figure

    return Figure


def require_figure(path: Path) -> None:
    """Check that a figure can be written there, before anything is read for it.

    Raises
    ------
    OutputError
        When the file's name is not that of a figure, or the file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise OutputError(f"{path}: a figure is a .png, .pdf or .svg")
    require_writable(path)


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format that the name of the file tells.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        Ends in .png, .pdf or .svg.

    Raises
    ------
    OutputError
        When the format is unknown or the file cannot be written.
    """
    require_figure(path)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150, format=path.suffix.lower()[1:])
