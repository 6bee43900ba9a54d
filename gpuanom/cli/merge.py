"""`gpuanom merge`: nights that were measured apart, ranked together."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.options import formats_option
from gpuanom.cli.screen import Screen
from gpuanom.errors import printable
from gpuanom.nights.merge import merge_nights
from gpuanom.tables.left_out import left_out


@click.command()
@click.argument("nights", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCORED...")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="New folder for the merged night.")
@formats_option
def merge(nights: tuple[Path, ...], output: Path, formats: tuple[str, ...]) -> int:
    """Merge measured nights into a new one, and rank all their exposures together.

    SCORED is a folder that `gpuanom score` made. All must have been measured with the same settings. The tables are the
    same as if all had been scored in one run. The merged night is scored as the nights were scored last; where they
    were scored differently, as the paper does. Exposures that only their files name, and that are called alike, are
    told apart by their folders. The CCDs without a measurement are said; where some were lost, the
    exit code is 1.
    """
    tables = merge_nights(nights, output, formats=formats, say=lambda line: click.echo(printable(line), err=True))
    click.echo(f"{len(tables.exposures)} exposures in {output}")
    return int(Screen(quiet=False, verbose=False).left_out(left_out(tables)))
