"""`gpuanom merge`: nights that were measured separately, ranked together."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.cli.options import formats_option, relocate_option
from gpuanom.cli.screen import Screen
from gpuanom.display import counted
from gpuanom.errors import printable

EPILOG = """\b
Examples:
  gpuanom merge monday tuesday -o both         two nights, each compared with both
  gpuanom merge shards/* -o scored             the shares that `gpuanom score --shard K/N` measured
  gpuanom merge wednesday -o both --add        one night more (gpuanom forget takes the night out again)
  gpuanom merge old/* -o all --relocate /disk1=/disk2   the images have been moved to another disk

\b
Where nights hold exposures of the same camera and id that were measured from different files:
  different starts    they are different exposures; the start of each is added to its id
  different bands     they are different exposures; the band of each is added to its id
  named by files      in different folders they are different exposures; the names of the folders are added
  several versions    of the processing (PLVER, or v1 in the name): see --versions
  no version known    the one with more measured CCDs is ranked, or else the one of the later night
An exposure that is not ranked is set aside, and is ranked again when the night of the other one is forgotten.
"""


@click.command(epilog=EPILOG)
@click.argument("nights", nargs=-1, required=True, type=NightFolder(), metavar="SCORED...")
@click.option("--output", "-o", required=True, type=GivenPath(), help="Folder of the merged night.")
@click.option("--add", is_flag=True, help="Add the nights to the one that --output holds already.")
@click.option(
    "--versions",
    type=click.Choice(["newest", "apart"]),
    default=None,
    help="Where nights hold an exposure in several processing versions: rank the newest, or each under an id of its "
    "own (default: as the nights were scored last, which is newest if nothing else was chosen).",
)
@relocate_option
@formats_option
@click.option("--quiet", "-q", is_flag=True, help="Show errors, lost CCDs and incomplete nights only.")
def merge(
    nights: tuple[Path, ...],
    output: Path,
    add: bool,
    versions: str | None,
    relocate: dict[str | Path, str | Path],
    formats: tuple[str, ...] | None,
    quiet: bool,
) -> int:
    """Merge measured nights into one, and rank them together.

    SCORED is a folder that `gpuanom score` made; all must have been measured with the same settings. No image is read
    again, and the tables are those of one run over all files. The merged night is scored as the nights were scored
    last, or compared with itself where they were scored differently; a night that others are added to, as it was last.
    Nights may be named by relative or absolute paths; a night that is named twice counts once. The order of the nights
    matters only where no version says which measurement of an exposure is the newest. After an interrupt, repeat the
    command: a survey is changed as a whole or not at all.

    At the end, the CCDs without a measurement are counted by reason, and nights are named that are not measured as a
    whole: their run was ended early, or other shares of them are missing. The exit code is then 1.
    """
    from gpuanom.cli.summary import print_verdicts, summary_console
    from gpuanom.nights.merge import merge_nights
    from gpuanom.tables.left_out import left_out

    lacking: list[str] = []
    tables = merge_nights(
        nights,
        output,
        formats=formats,
        versions=versions,
        relocate=relocate,
        add=add,
        say=lambda line: None if quiet else click.echo(printable(line), err=True),
        lacking=lacking.append,
    )
    if not quiet:
        print_verdicts(tables.plain[0], summary_console())
        click.echo(f"{counted(len(tables.plain[0]), 'exposure')} in {output}")
    for line in lacking:
        click.echo(line, err=True)
    return int(Screen(quiet=quiet, verbose=False).left_out(left_out(tables)) or bool(lacking))
