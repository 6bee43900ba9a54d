"""`gpuanom simulate`: a night with known anomalies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.screen import Screen
from gpuanom.system import cores

EPILOG = """\b
Examples:
  gpuanom simulate night                                       48 small exposures, 3 of them anomalous
  gpuanom simulate night --exposures 200 --ccds 8 --shape 1024,1024 --anomalies all
  gpuanom simulate night --anomalies stripes:0.1@30x2,donuts   two exposures with stripes, one out of focus
  gpuanom simulate night --anomalies ring:0.5/80,stripes:1%25  a ring of 80 pixels; stripes on a quarter of the CCDs
  gpuanom simulate night --anomalies all%50                    each anomaly once, on half of the CCDs
  gpuanom simulate night --headers decam --compress            as the DECam pipeline writes them, with masks
  gpuanom inject --list                                        all anomalies, and the unit of their strength

\b
--anomalies takes NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS][xCOUNT], several with commas between.
  STRENGTH in the unit of the anomaly, DIRECTION in degrees from +x toward +y (random if not given), SIZE in pixels,
  CCDS in percent of the CCDs (at least one CCD; if not given all CCDs, or one for what happens to one CCD, such as a
  ring or a dead amplifier), COUNT in exposures.

\b
A seed gives the same night whatever anomalies are in it: draw it again with --anomalies none to compare.
The same command given again keeps a finished night (exit code 0) and finishes an interrupted one. A different night in
FOLDER is left alone (exit code 2) unless --overwrite is given. Other files are never removed.
"""

CCDS_A_PROCESS = 48
"""CCDs that are worth a process of their own."""
SAID_EVERY = 30.0
"""Seconds between two lines about the progress of a long night, where no terminal shows a bar."""


def _shape(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    try:
        ny, nx = (int(part) for part in value.replace("x", ",").split(","))
    except ValueError:
        raise click.BadParameter("two whole numbers, rows and columns, such as 512,512") from None
    return ny, nx


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@click.command(epilog=EPILOG)
@click.argument("folder", required=False, type=GivenPath(file_okay=False))
@click.option("--output", "-o", type=GivenPath(file_okay=False), help="The same as FOLDER.")
@click.option("--exposures", default=48, show_default=True, type=click.IntRange(1, 100_000), help="Exposures to write.")
@click.option("--ccds", default=4, show_default=True, type=click.IntRange(1, 200), help="CCDs of an exposure.")
@click.option("--shape", default="512,512", show_default=True, callback=_shape, help="Rows and columns of a CCD.")
@click.option("--bands", default="r", show_default=True, help="Bands of the exposures, in turn.")
@click.option(
    "--anomalies",
    help="Anomalies to draw, see below; all: each one once; none (default: one exposure elongated, one out of focus, "
    "one with stripes).",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed: equal seeds give equal files."
)
@click.option(
    "--night",
    default=1,
    show_default=True,
    type=click.IntRange(1, 900),
    help="Which night of the same camera to draw: each begins a day later, and its exposures, at most 960, are "
    "numbered from 1000 more.",
)
@click.option(
    "--headers",
    default="plain",
    show_default=True,
    type=click.Choice(["plain", "decam"]),
    help="Plain headers, or those of the DECam Community Pipeline, with masks of bad columns, saturation, bleeding and "
    "cosmic rays.",
)
@click.option("--compress", is_flag=True, help="Compress the files without loss (RICE): .fits.fz.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Processes that draw at the same time. [default: one for each CPU, and one for a small night]",
)
@click.option("--overwrite", is_flag=True, help="Replace a simulated night that is in FOLDER already.")
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but errors.")
def simulate(
    folder: Path | None, output: Path | None, bands: str, anomalies: str | None, quiet: bool, **options: Any
) -> None:
    """Write a simulated night with known anomalies.

    The exposures are written into the new folder FOLDER. They show stars and galaxies under a PSF that varies over the
    field and between exposures, with sky, noise, cosmic rays, saturation, bleeding, bad columns and steps between
    amplifiers. FOLDER/truth.ecsv lists which exposures are anomalous, how, and on which CCDs. Needs GalSim (the extra
    `simulate`).
    """
    from gpuanom.simulate import simulate_night

    if (folder is None) == (output is None):
        raise click.UsageError("give the folder to write once: gpuanom simulate FOLDER, or --output FOLDER")
    folder = folder or output
    assert folder is not None
    wanted = None if anomalies is None else [] if anomalies.strip() == "none" else _words(anomalies)
    with Screen(quiet=quiet, verbose=False) as screen:
        options["processes"] = options["processes"] or processes_for(options["exposures"] * options["ccds"])
        truth = simulate_night(folder, bands=_words(bands), anomalies=wanted, progress=_progress(screen), **options)
    if quiet:
        return
    odd = truth[truth["class"] != "none"]
    click.echo(f"{len(truth)} exposures in {folder}, {len(odd)} of them anomalous:")
    for row in odd:
        along = "" if math.isnan(row["direction"]) else f" along {float(row['direction']):.0f} deg"
        n = len(str(row["ccds"]).split())
        on = "" if n == options["ccds"] else f", on {n} of {options['ccds']} CCDs"
        click.echo(
            f"  exposure {row['exposure']}, band {row['band']}: {row['class']} of "
            f"{float(row['amplitude']):.3g}{along}{on}"
        )


def processes_for(n_ccds: int) -> int:
    """How many processes draw so many CCDs, where nobody says.

    A process takes as long to start as a dozen CCDs take to be drawn.

    Parameters
    ----------
    n_ccds : int
        CCDs of all exposures.

    Returns
    -------
    int
        At least one, at most one for each CPU.
    """
    return max(1, min(cores(), n_ccds // CCDS_A_PROCESS))


def _progress(screen: Screen) -> Callable[[int, int], None]:
    """Show progress: a bar on a terminal, elsewhere a line every `SAID_EVERY` seconds."""
    bar, last_line = screen.count("simulating"), time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last_line
        bar(done, total)
        if not screen.progress and done < total and time.monotonic() - last_line >= SAID_EVERY:
            last_line = time.monotonic()
            screen.say(f"{done} of {total} exposures drawn")

    return show
