"""`gpuanom forget`: nights and exposures taken out of a survey."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.cli.options import formats_option
from gpuanom.cli.screen import Screen
from gpuanom.display import counted
from gpuanom.errors import printable

EPILOG = """\b
Examples:
  gpuanom forget survey scored/2026-11-23            a night that `gpuanom merge` put into the survey
  gpuanom forget survey /data/2026-11-23 --dry-run   all exposures whose images lie there; only say which
  gpuanom forget survey 845291 845292                two exposures

\b
The first of these that WHAT names in the survey is forgotten:
  1. the id of an exposure
  2. the folder of a night that was merged into the survey, under the name of that time
  3. the folder of another scored night: the exposures of that night
  4. a file or folder of images, or a folder of merged nights, with everything inside
Where merged nights are forgotten (2 and 4), an exposure stays if another merged night holds it too. Where the ranked
version of an exposure is forgotten, the newest version of the other nights is ranked instead.
"""


@click.command(epilog=EPILOG)
@click.argument("survey", type=NightFolder(), metavar="SURVEY")
@click.argument("nights", nargs=-1, required=True, metavar="WHAT...", type=GivenPath(str, readable=False))
@click.option(
    "--camera",
    help="Camera of the exposures that are given by their ids, where several cameras have an exposure of that id.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten, and change nothing.")
@formats_option
@click.option("--quiet", "-q", is_flag=True, help="Show errors and lost CCDs only.")
def forget(
    survey: Path,
    nights: tuple[str, ...],
    camera: str | None,
    dry_run: bool,
    formats: tuple[str, ...] | None,
    quiet: bool,
) -> int:
    """Take nights or exposures out of a survey, and rank the rest.

    SURVEY is a folder that `gpuanom merge`, `score` or `watch` made. No image is read or removed, and the command does
    not ask before it changes the survey. The tables are then those of a survey that never had the nights; settings,
    reference, classifier and labels of the survey stay.

    Tables are written again in the formats that the folder holds. After an interrupt, repeat the command. The exit
    codes are those of `gpuanom merge`.
    """
    if dry_run and quiet:
        raise click.UsageError("--dry-run says what would be forgotten: leave out --quiet")
    from gpuanom.nights.forget import forget_nights
    from gpuanom.tables.left_out import left_out

    tables = forget_nights(
        survey,
        nights,
        camera=camera,
        dry_run=dry_run,
        formats=formats,
        say=lambda line: None if quiet else click.echo(printable(line)),
    )
    if tables is None:
        return 0
    if not quiet:
        click.echo(f"{counted(len(tables.plain[0]), 'exposure')} in {survey}")
    return int(Screen(quiet=quiet, verbose=False).left_out(left_out(tables)))
