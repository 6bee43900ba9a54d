"""`gpuanom report`: a page with pictures, to look through a night and to label its exposures."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from gpuanom.backends.choice import select
from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import night_argument, reference_option, relocate_option
from gpuanom.cli.screen import Screen, tell_unfinished
from gpuanom.display import counted, file_size
from gpuanom.files import require_replaceable
from gpuanom.report.page import NAME, write_report
from gpuanom.report.pictures import require_pillow
from gpuanom.report.serve import PORT, Served
from gpuanom.review.impact import LEAKAGE
from gpuanom.review.opened import open_night

EPILOG = """\b
Examples:
  gpuanom report scored                       writes scored/report.html; open it in a browser
  gpuanom report scored --top 1000 -o all.html

\b
The page is one file that needs no server and no network: send it to everybody who should look. A click on a column
sorts, the fields at the top filter, the keys 1 2 3 label an exposure (prominent, dubious, normal) and a letter gives
the reason; ? shows all keys. Save the labels as CSV, then:
  gpuanom label scored labels-ann.csv labels-bob.csv
  gpuanom evaluate scored

\b
Pictures are made from the image files, which takes some seconds an exposure, and are kept in SCORED/report/: after an
interrupt the same command continues where it stopped. An exposure whose files have moved is listed without a picture,
unless --relocate says where they are.

\b
CCDs at full resolution, read from the image files when they are asked for:
  gpuanom report scored --serve               prints an address to open in a browser; Ctrl-C ends it
A click on a CCD then shows all of its pixels, with pan, zoom and stretch. The server listens on this machine alone
(127.0.0.1), and answers only to the printed address, which holds a secret. To look from another machine, forward the
port with ssh -L 8770:127.0.0.1:8770 and open the same address there.
"""


@click.command(epilog=EPILOG)
@night_argument
@click.option("--output", "-o", type=GivenPath(dir_okay=False), help=f"File to write (default: SCORED/{NAME}).")
@click.option(
    "--top",
    default=200,
    show_default=True,
    type=click.IntRange(0),
    help="Draw so many of the most anomalous exposures, and the last one; the others are listed without a picture."
    " 1000 make 60 MB.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="CCDs that are read at the same time (default: one a core, at most 4).",
)
@click.option("--cache/--no-cache", default=True, help="Keep pictures in SCORED/report/ (default: yes).")
@click.option(
    "--leakage",
    default=LEAKAGE,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="Share of the shear of an ignored PSF that your model of the PSF leaves: the page multiplies it with the"
    " shear that each bad exposure would add.",
)
@click.option(
    "--serve",
    is_flag=True,
    help="Serve the page on this machine until Ctrl-C, so that a click shows a CCD at full resolution.",
)
@click.option(
    "--port",
    default=PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of 127.0.0.1 for --serve; 0 takes a free one. The browser keeps unsaved labels for each port.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but errors and, with --serve, the address.")
@reference_option
@relocate_option
def report(
    folder: Path,
    output: Path | None,
    top: int,
    threads: int | None,
    cache: bool,
    leakage: float,
    serve: bool,
    port: int,
    quiet: bool,
    reference: Path | None,
    relocate: dict[str | Path, str | Path],
) -> int:
    """Write a page of pictures to look through and label.

    SCORED is a folder that `gpuanom score` made. The exit code is 1 when pictures of some exposures are missing.
    """
    require_pillow()  # said before anything is read
    night = open_night(folder, reference=reference, relocate=relocate)
    tell_unfinished(night)
    output = output or folder / NAME
    require_replaceable(output)  # said before pictures are made
    served = Served(night, output, port, lambda line: click.echo(line, err=True)) if serve else None
    threads = threads or min(4, os.cpu_count() or 1)
    with Screen(quiet=quiet, verbose=False) as screen:
        count = screen.count("making pictures")
        troubles = write_report(
            night, output, select("cpu"), top=top, threads=threads, cache=cache, leakage=leakage, progress=count
        )
        for line in troubles[:5]:
            screen.say(line)
        if len(troubles) > 5:
            screen.say(f"and {len(troubles) - 5} more exposures whose pictures are not complete; the page says why")
    if not quiet:
        click.echo(f"{output}: {counted(len(night.exposures), 'exposure')}, {file_size(output.stat().st_size)}")
    if served is not None:
        click.echo(f"serving {output} at {served.address} until Ctrl-C")
        with served, suppress(KeyboardInterrupt):
            served.serve_forever()
    return int(bool(troubles))
