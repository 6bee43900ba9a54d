"""`gpuanom simulate`: a night with known anomalies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gpuanom.cli.screen import Screen

EPILOG = """\b
Examples:
  gpuanom simulate night                                      16 small exposures, 3 of them anomalous
  gpuanom simulate -o night --exposures 200 --ccds 8 --shape 1024,1024 --anomalies all
  gpuanom simulate night --anomalies stripes:0.1@30x2,donuts  two striped exposures, one out of focus
  gpuanom simulate night --anomalies ring:0.5/80,stripes:1%25 a ring of 80 pixels; stripes on a quarter of the CCDs
  gpuanom simulate night --headers decam --compress           as DECam's pipeline writes them, masks beside them
  gpuanom simulate night --anomalies all%50                   one exposure of each class, on half of the CCDs
  gpuanom inject --list                                       every anomaly, its strength and what it is

\b
--anomalies: NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS][xCOUNT], several with commas between.
  STRENGTH in the unit of its class, DIRECTION in degrees from +x toward +y (drawn if not given), SIZE in pixels,
  CCDS in percent of the CCDs (at least one CCD; not given: all of them, or one for a ring), COUNT in exposures.

\b
Equal seeds give the same night, whatever is wrong with it: draw it again with --anomalies none to compare.
The same command again keeps the night that is there (exit code 0); one that was interrupted is gone on with; a
different night in FOLDER is left alone (exit code 2) unless --overwrite is given; other files are never removed.
"""

SAID_EVERY = 30.0
"""Seconds between two lines that say how far a long night is, where there is no terminal for a bar."""


def _shape(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    try:
        ny, nx = (int(part) for part in value.replace("x", ",").split(","))
    except ValueError:
        raise click.BadParameter("two whole numbers, rows and columns, such as 512,512") from None
    return ny, nx


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@click.command(epilog=EPILOG)
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--output", "-o", type=click.Path(file_okay=False, path_type=Path), help="The same as FOLDER.")
@click.option("--exposures", default=16, show_default=True, type=click.IntRange(1, 100_000), help="Exposures to write.")
@click.option("--ccds", default=4, show_default=True, type=click.IntRange(1, 200), help="CCDs an exposure.")
@click.option("--shape", default="512,512", show_default=True, callback=_shape, help="Rows and columns of a CCD.")
@click.option("--bands", default="g,r", show_default=True, help="Bands, taken in turn.")
@click.option(
    "--anomalies",
    help="What is wrong, see below; all: one exposure of each class; none (default: two elongated, one with stripes).",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed: equal seeds give equal files."
)
@click.option(
    "--headers",
    default="plain",
    show_default=True,
    type=click.Choice(["plain", "decam"]),
    help="Plain, or as the DECam Community Pipeline's, with masks of bad columns, saturation, bleeds, cosmic rays.",
)
@click.option("--compress", is_flag=True, help="RICE-compressed, without loss: .fits.fz.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), help="How many draw at a time.")
@click.option("--overwrite", is_flag=True, help="Replace a simulated night that is in FOLDER already.")
def simulate(folder: Path | None, output: Path | None, bands: str, anomalies: str | None, **options: Any) -> None:
    """Write a simulated night into the new folder FOLDER.

    Stars and galaxies under a PSF that varies over the field and between exposures; sky, noise, cosmic rays, saturation
    and bleeding, bad columns, amplifier steps. FOLDER/truth.ecsv says what is wrong with which exposure, and on which
    CCDs. Needs GalSim (the extra `simulate`).
    """
    from gpuanom.simulate import simulate_night

    if (folder is None) == (output is None):
        raise click.UsageError("give the folder to write once: gpuanom simulate FOLDER, or --output FOLDER")
    folder = folder or output
    assert folder is not None
    wanted = None if anomalies is None else [] if anomalies.strip() == "none" else _words(anomalies)
    with Screen(quiet=False, verbose=False) as screen:
        truth = simulate_night(folder, bands=_words(bands), anomalies=wanted, progress=_progress(screen), **options)
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


def _progress(screen: Screen) -> Callable[[int, int], None]:
    """A bar on a terminal; elsewhere a line now and then."""
    bar, said = screen.count("simulating"), time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        bar(done, total)
        if not screen.progress and done < total and time.monotonic() - said >= SAID_EVERY:
            said = time.monotonic()
            screen.say(f"{done} of {total} exposures drawn")

    return show
