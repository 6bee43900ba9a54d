"""`gpuanom merge`: nights that were measured separately, ranked together."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.options import formats_option
from gpuanom.cli.screen import Screen
from gpuanom.errors import printable

EPILOG = """\b
Examples:
  gpuanom merge monday tuesday -o both         two nights, each compared with both
  gpuanom merge shards/* -o scored             the shares that `gpuanom score --shard K/N` measured
"""


@click.command(epilog=EPILOG)
@click.argument("nights", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCORED...")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="New folder for the merged night.")
@formats_option
def merge(nights: tuple[Path, ...], output: Path, formats: tuple[str, ...] | None) -> int:
    """Merge measured nights into one, and rank them together.

    SCORED is a folder that `gpuanom score` made; all must have been measured with the same settings. No image is read
    again, and the tables are those of one run over all files. The merged night is scored as the nights were scored
    last, or, where they were scored differently, as in the paper. Where exposures of several nights are known by the
    names of their files only, and share a name, the names of their folders are added.

    At the end, the CCDs without a measurement are counted once, by reason; if CCDs were lost the exit code is 1.
    """
    from gpuanom.nights.merge import merge_nights
    from gpuanom.tables.left_out import left_out

    tables = merge_nights(nights, output, formats=formats, say=lambda line: click.echo(printable(line), err=True))
    click.echo(f"{len(tables.exposures)} exposures in {output}")
    return int(Screen(quiet=False, verbose=False).left_out(left_out(tables)))
