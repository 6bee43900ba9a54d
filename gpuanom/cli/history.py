"""`gpuanom history`: the trends of many scored nights on one page."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.cli.screen import Screen
from gpuanom.display import counted, file_size
from gpuanom.files import require_replaceable
from gpuanom.report.history import NAME, repeated, scored_nights, write_history

EPILOG = """\b
Examples:
  gpuanom history scored-2026-01-01 scored-2026-01-02 -o january.html
  gpuanom history scored-nights/              every scored night in that folder; writes scored-nights/history.html

\b
The page shows, for each camera and band against time: the share of bad exposures and of those to check, and the medians
of FWHM, ellipticity, sky and number of sources. Below are the record of each CCD (which are often bad, and since when)
and the exposures that are not ok, each with its neighbours in time. Only stores are read, no images: each night
is ranked again as it was scored last. A survey counts as the nights that it holds. A night that cannot be opened is
named and left out (exit code 1).
"""


@click.command(epilog=EPILOG)
@click.argument("nights", metavar="SCORED...", nargs=-1, required=True, type=NightFolder())
@click.option(
    "--output",
    "-o",
    type=GivenPath(dir_okay=False),
    help=f"File to write (default: {NAME} in the first folder that is named).",
)
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but errors.")
def history(nights: tuple[Path, ...], output: Path | None, quiet: bool) -> int:
    """Write a page with the trends of many nights.

    Each SCORED is a folder that `gpuanom score` made, or a folder that holds such folders.
    """
    folders = scored_nights(nights)
    output = output or nights[0] / NAME
    require_replaceable(output)  # said before nights are ranked
    with Screen(quiet=quiet, verbose=False) as screen:
        gathered = write_history(
            folders,
            output,
            screen.count("ranking nights"),
            lambda error: screen.line(f"night left out: {error}"),
            screen.say,
        )
        if n_repeated := repeated(gathered):
            exposures = "1 exposure is" if n_repeated == 1 else f"{n_repeated} exposures are"
            screen.say(
                f"{exposures} in several of these nights, as in a survey and its nights, and counted in each"
                " (name either the survey or its nights)"
            )
    if not quiet:
        n = len(gathered["exposures"]["exposure"])
        content = f"{counted(n, 'exposure')} of {counted(len(gathered['nights']), 'night')}"
        click.echo(f"{output}: {content}, {file_size(output.stat().st_size)}")
    return int(gathered["not_opened"] > 0)
