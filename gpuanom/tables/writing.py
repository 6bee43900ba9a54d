"""The tables of a night as files: ECSV, CSV, FITS and Parquet, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuanom import installing
from gpuanom.errors import OutputError
from gpuanom.files import FITS, whole_file
from gpuanom.side_by_side import side_by_side
from gpuanom.tables.garbage_collection import without_garbage_collection
from gpuanom.version import __version__

if TYPE_CHECKING:
    from astropy.table import Table

    from gpuanom.tables.plain import PlainTable

LARGE = 100_000
"""A table with more rows is written as Parquet where pyarrow is installed, and no format is asked for."""

FORMATS = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits", "parquet": "parquet"}
"""The formats in which tables can be written, with astropy's names for them."""


@without_garbage_collection()
def write(tables: Sequence[Table | PlainTable], folder: Path, formats: Sequence[str] | None) -> list[Path]:
    """Write both tables in each format, each file whole or not at all.

    Parameters
    ----------
    tables : sequence of 2 Table or PlainTable
        Those of exposures and of CCDs.
    folder : Path
        Must exist.
    formats : sequence of str, or None
        Of `FORMATS`; None for `default_format` of each table.

    Returns
    -------
    list of Path
        The files, `exposures` before `ccds`.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    wanted = []
    for table, name in zip(tables, ("exposures", "ccds"), strict=True):
        for suffix in (default_format(len(table)),) if formats is None else formats:
            wanted.append((table, folder / f"{name}.{suffix}", suffix))
    many = any(len(table) > LARGE for table in tables)
    side_by_side(lambda file: write_table(*file), wanted, many=many)
    return [path for _, path, _ in wanted]


def rewrite(tables: Sequence[Table | PlainTable], folder: Path, formats: Sequence[str] | None) -> list[Path]:
    """Write both tables of a folder again, by default in the formats in which the folder holds each.

    Parameters
    ----------
    tables : sequence of 2 Table or PlainTable
    folder : Path
    formats : sequence of str, or None
        Of `FORMATS`.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    if formats is not None:
        return write(tables, folder, formats)
    written = []
    for table, name in zip(tables, ("exposures", "ccds"), strict=True):
        suffixes = [suffix for suffix in FORMATS if (folder / f"{name}.{suffix}").is_file()]
        for suffix in suffixes or [default_format(len(table))]:
            write_table(table, folder / f"{name}.{suffix}", suffix)
            written.append(folder / f"{name}.{suffix}")
    return written


def default_format(n_rows: int) -> str:
    """Return the format of a table for which no format is asked: text for a night, Parquet for a survey."""
    return "parquet" if n_rows > LARGE and not _lacks_pyarrow() else "ecsv"


def write_table(table: Table | PlainTable, path: Path, suffix: str) -> None:
    """Write one table, whole or not at all.

    Parameters
    ----------
    table : Table or PlainTable
    path : Path
    suffix : str
        One of `FORMATS`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    from gpuanom.tables.ecsv import write_ecsv
    from gpuanom.tables.parquet import write_parquet

    as_astropy = None if suffix in ("ecsv", "parquet") else _for_astropy(table, suffix)
    with whole_file(
        path, remedy="what was measured is kept in the store", same=FITS if suffix == "fits" else ""
    ) as partial:
        if as_astropy is not None:
            as_astropy.write(partial, format=FORMATS[suffix], overwrite=True)
        elif suffix == "ecsv":
            write_ecsv(table, partial)
        else:
            write_parquet(table, partial)


def _for_astropy(table: Table | PlainTable, suffix: str) -> Table:
    """A table as astropy writes it in one of its formats."""
    from astropy.table import Table

    found = table if isinstance(table, Table) else table.as_table()
    if suffix == "fits":
        return _for_fits(found)
    found = Table(found, copy=False)
    found.meta = {}
    return found


_FITS_KEYWORDS = {
    "SETTINGS": "settings",
    "SCORESET": "score_settings",
    "REFERENC": "reference",
    "REFFILE": "reference_file",
    "REFHASH": "reference_hash",
    "AUTOENC": "autoencoder",
    "CLASSIF": "classifier",
}
"""The FITS keywords of the tables' meta data, with the names that the meta data have elsewhere."""


def _for_fits(table: Table) -> Table:
    """A copy that FITS can hold: texts in ASCII, and meta data under keywords of 8 letters."""
    from astropy.table import MaskedColumn

    table = table.copy()
    # Astropy continues long texts over several cards.
    meta = {"CREATOR": f"gpuanom {__version__}"}
    for keyword, name in _FITS_KEYWORDS.items():
        if name in table.meta:
            meta[keyword] = str(table.meta[name]).encode("ascii", "replace").decode()
    table.meta = meta
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            text = [str(v).encode("ascii", "replace").decode() for v in table[name]]
            table.replace_column(name, MaskedColumn(text, name=name, description=table[name].description))
    return table


def require_formats(formats: Sequence[str] | None) -> None:
    """Check that tables can be written in these formats, before anything is measured for them.

    Raises
    ------
    OutputError
        When a format is unknown, or what it needs is not installed.
    """
    for name in formats or ():
        if name not in FORMATS:
            raise OutputError(f"unknown format '{name}' (one of {', '.join(FORMATS)})")
    if "parquet" in (formats or ()) and (lacking := _lacks_pyarrow()):
        raise OutputError(f"the format parquet needs {lacking}")


def _lacks_pyarrow() -> str:
    return installing.lacks("pyarrow.parquet", "pyarrow", installing.install("parquet"))
