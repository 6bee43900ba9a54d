"""`gpuanom tables`: rows and columns of the tables of a night or survey, chosen by a condition."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import TextIO

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import night_argument
from gpuanom.files import whole_file
from gpuanom.tables.select import TABLES, Selection, select
from gpuanom.tables.writing import FORMATS, require_formats, write_table

EPILOG = """\b
Examples:
  gpuanom tables scored --where "verdict = 'bad'"                               the bad exposures, as CSV
  gpuanom tables survey --where "band = 'r' and verdict = 'bad'" --columns exposure,cause,evidence,file
  gpuanom tables survey --table ccds --where "ccd = 'N4' and sigma > 40" --columns exposure,sigma -o n4.csv
  gpuanom tables survey --where "source_deviation > 5" -o high.ecsv                        as ECSV

\b
A condition is SQL, as SQLite knows it: and, or, not, in, between, like, is null; texts in single quotes.
A missing number is NULL, a missing text is empty. docs/tables.md explains every column.
"""

_TEXTS = ("txt", "dat", "tbl", "lst", "list")
"""Further endings of files that may hold CSV."""


@click.command(epilog=EPILOG)
@night_argument
@click.option(
    "--table",
    type=click.Choice(TABLES),
    default="exposures",
    show_default=True,
    help="The table to choose from: a row an exposure, or a row a CCD.",
)
@click.option("--where", default="", metavar="CONDITION", help="Choose the rows that fulfil this (default: all rows).")
@click.option("--columns", default="", metavar="NAMES", help="Columns, with commas between (default: all).")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="Format of what is written; ecsv and fits keep units and descriptions. (Default: by the ending of --output, "
    "such as .ecsv; else csv, for an ending such as .txt and without one.)",
)
@click.option("--output", "-o", type=GivenPath(dir_okay=False), help="File to write (default: print CSV).")
def tables(folder: Path, table: str, where: str, columns: str, form: str | None, output: Path | None) -> int:
    """Choose rows and columns of the tables of a night or a survey.

    SCORED is a folder that `gpuanom score` made. The newest of its files exposures.ecsv and exposures.parquet (or
    ccds.ecsv and ccds.parquet) is read, one part at a time, and of a Parquet file only the columns that are needed. The
    rows keep their order, the most anomalous exposures first.
    """
    if form is None:
        ending = "" if output is None else output.suffix[1:].lower()
        if ending not in ("", *FORMATS, *_TEXTS):
            formats = ", ".join(FORMATS)
            raise click.UsageError(f"the ending .{ending} names no format of a table ({formats}): give --format too")
        form = ending if ending in FORMATS else "csv"
    require_formats((form,))
    if output is None and form != "csv":
        raise click.UsageError(f"--format {form} is written to a file: give --output too")
    # A terminal whose letters are not those of UTF-8 gives other bytes; the tables hold UTF-8.
    where = os.fsencode(where).decode("utf-8", "replace")
    found = select(folder, table, where, [name.strip() for name in columns.split(",") if name.strip()])
    if output is None:
        _write_csv(found, sys.stdout)
    elif form == "csv":
        with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            _write_csv(found, file)
    else:
        write_table(found.table(), output, form)
    return 0


def _write_csv(found: Selection, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in found.columns])
    writer.writerows(found.rows)
