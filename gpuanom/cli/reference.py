"""`gpuanom reference`: the normal exposures of measured nights, saved to compare other nights with."""

from __future__ import annotations

from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.errors import printable
from gpuanom.files import require_writable

EPILOG = """\b
Examples:
  gpuanom reference scored -o ref.ecsv                        the reference of one night
  gpuanom reference monday tuesday -o ref.ecsv                the reference of two nights together
  gpuanom score /data/tonight -o scored-tonight --reference ref.ecsv   use it
"""


@click.command(epilog=EPILOG)
@click.argument("nights", nargs=-1, required=True, type=NightFolder(), metavar="SCORED...")
@click.option("--output", "-o", required=True, type=GivenPath(dir_okay=False), help="File to write (ECSV).")
@click.option("--keep-all", is_flag=True, help="Keep exposures whose verdict is bad or check.")
@click.option("--exclude-labelled", is_flag=True, help="Leave out exposures labelled prominent or dubious.")
@click.option("--quiet", "-q", is_flag=True, help="Show errors and incomplete nights only.")
def reference(nights: tuple[Path, ...], output: Path, keep_all: bool, exclude_labelled: bool, quiet: bool) -> None:
    """Save measured nights as a reference for other nights.

    The reference holds, for each camera and band, the mean distribution of orientations over all exposures. SCORED is a
    folder that `gpuanom score` made, or a reference file; several are combined into one reference. All must have been
    measured with the same settings, and no exposure may be in two of them.

    Exposures whose verdict is bad or check are left out. The statistics of the others are kept: with a reference of 20
    exposures or more, a single exposure gets a verdict.
    """
    from gpuanom.nights.merge import make_references
    from gpuanom.records import KINDS

    require_writable(output)
    references = make_references(
        nights,
        keep_all=keep_all,
        exclude_labelled=exclude_labelled,
        say=lambda line: None if quiet else click.echo(line, err=True),
        lacking=lambda line: click.echo(line, err=True),
    )
    references.save(output)
    if quiet:
        return
    for dataset in references.datasets:
        histograms = ", ".join(f"{k} {r.n_histograms}" for k, r in zip(KINDS, dataset.kinds, strict=True))
        about = printable(f"{dataset.camera} {dataset.band}")
        click.echo(f"{about}: {len(dataset.exposures)} exposures (histograms: {histograms})")
