"""`gpuanom score`: a night from FITS files to ranked tables."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gpuanom.backends import ahead
from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import (
    ReferenceFile,
    chosen_settings,
    cluster_options,
    formats_option,
    relocate_option,
    settings_options,
)
from gpuanom.settings import Settings
from gpuanom.system import reuse_memory

if TYPE_CHECKING:
    from gpuanom.nights.preparation import Existing

EPILOG = """\b
Examples:
  gpuanom score /data/2026-11-23 -o scored                  all FITS files in a folder and its subfolders
  gpuanom score 'c4d_*_ooi_*.fits.fz' -o scored             a pattern; masks beside the images are applied
  gpuanom score @list.txt -o scored --format ecsv,parquet   the files named in a list, a path a line
  gpuanom score /data -o scored --device 0,1                on two GPUs
  gpuanom score /data -o scored --workers 8                 in eight processes of this machine
  gpuanom score /data -o scored --scheduler tcp://n1:8786   on the workers of a Dask scheduler
  gpuanom score exp17.fits -o one --reference flat          one exposure alone: does it prefer a direction?
  gpuanom score -o scored --robust-rounds 2                 rank again what was measured, without reading files
  gpuanom score -o scored --model model.pt                  add the autoencoder's score (see gpuanom train)
  gpuanom score /data -o scored --model model.pt --model classifier.pt   and what a classifier learnt from labels

\b
The folder SCORED (--output) then holds:
  exposures.ecsv        one row an exposure, most anomalous first
  ccds.ecsv             one row a CCD
  measurements.sqlite   all measurements: the same command continues where it stopped
docs/tables.md explains every column. Next: gpuanom report SCORED

\b
At the end, the CCDs without a measurement are counted once, by reason. Exit codes:
  0  done; CCDs that are constant, saturated or have too few usable pixels may be left out
  1  exposures failed, or CCDs were lost: the CCD or its mask is unreadable or corrupt, the mask
     has another shape, two CCDs have one name, a CCD is too large, or memory did not suffice;
     or the reference that was given holds no camera and band of the night
  2  nothing could be done
A file that the system could not read just now (too many open files, a file server that does not
answer) is tried again by the next run.
"""


class Shard(click.ParamType):  # type: ignore[type-arg]
    """A share of the exposures, K/N, as two numbers."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The numbers K and N, with K from 1 to N."""
        part, slash, parts = str(value).partition("/")
        if not (slash and all(n.isascii() and n.isdigit() for n in (part, parts)) and 1 <= int(part) <= int(parts)):
            self.fail(f"'{value}' is not K/N with K from 1 to N, such as 3/16", param, ctx)
        return int(part), int(parts)


def _settings(inputs: tuple[str, ...], output: Path, options: dict[str, Any]) -> Settings | None:
    """The settings that are asked for; without inputs, settings that are not given stay as they were last."""
    source = click.get_current_context().get_parameter_source("profile")
    if inputs or options["config"] is not None or source is not ParameterSource.DEFAULT:
        return chosen_settings(**options)
    if all(value is None for name, value in options.items() if name != "profile"):
        return None
    from gpuanom.nights.scored_before import scored_last

    return chosen_settings(**options, start=scored_last(output))


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=GivenPath(str, readable=False))
@click.option("--output", "-o", required=True, type=GivenPath(), help="Folder to write: measurements and tables.")
@click.option(
    "--reference",
    type=ReferenceFile(),
    metavar="FILE|flat",
    help="Compare with this saved reference (gpuanom reference), not with the night itself. The word flat compares one "
    "exposure, or a few, with flat histograms: z, angle and alignment, but no verdict.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, the number of a GPU, or several: 0,1.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Threads that read files and, on a CPU, measure (default: one a core, at most 8). A GPU also has up to 6 "
    "processes in a night of 24 exposures or more; the variable GPUANOM_PROCESSES sets their number.",
)
@formats_option
@click.option(
    "--existing",
    type=click.Choice(["resume", "overwrite", "fail"]),
    default="resume",
    show_default=True,
    help="If the folder holds a night already: continue it, delete it and begin anew, or refuse.",
)
@click.option("--overwrite", is_flag=True, help="The same as --existing overwrite.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=GivenPath(dir_okay=False),
    help="Autoencoder from `gpuanom train`: adds the columns autoencoder_*. For exposures that are measured already, "
    "only the stamps of their sources are read again. Repeat the option to give a classifier from `gpuanom train "
    "--supervised` beside its autoencoder: adds classifier_probability. Both are one more statistic of the verdict.",
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Name every skipped file, how files are read and memory is planned, and show tracebacks.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show failures only, and no summary.")
@settings_options
@click.option(
    "--shard",
    type=Shard(),
    metavar="K/N",
    help="Measure only the K-th of N shares of the exposures (for job arrays); `gpuanom merge` joins the shares.",
)
@relocate_option
@cluster_options
def score(
    inputs: tuple[str, ...],
    output: Path,
    device: str,
    reference: Path | None,
    models: tuple[Path, ...],
    existing: Existing,
    overwrite: bool,
    formats: tuple[str, ...] | None,
    threads: int | None,
    shard: tuple[int, int] | None,
    relocate: dict[str | Path, str | Path],
    scheduler: str | Path | None,
    workers: int | None,
    timeout: float,
    performance_report: Path | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Score a night of exposures: FITS files in, ranked tables out.

    INPUT is a FITS file, a folder, a pattern, or @list.txt (a list with a path a line). A file may hold all CCDs of an
    exposure or one; it may be packed (.fits.fz, .fits.gz, .fits.bz2, .fits.xz; the last three are unpacked into
    TMPDIR). DECam, MegaCam and HSC are known by name, other cameras by the usual header cards (`gpuanom explain`).

    The exposures of one camera and band are a dataset, and every exposure is compared with the rest of its dataset.
    """
    if overwrite and existing == "fail":
        raise click.UsageError("--overwrite and --existing fail contradict each other: give one of them")
    existing = "overwrite" if overwrite else existing
    if not inputs:
        reuse_memory()
    if scheduler is None and workers is None:
        ahead.begin(device)
    from gpuanom.cli.screen import Screen
    from gpuanom.nights import score as pipeline
    from gpuanom.tables.garbage_collection import without_garbage_collection

    settings = _settings(inputs, output, options)
    # Without inputs and models nothing is done but tables, which stay until this process ends. With a model the stamps
    # of a whole night may be read again: what that leaves in circles must be freed.
    no_search = nullcontext() if inputs or models else without_garbage_collection(freeze=True)
    with Screen(quiet=quiet, verbose=verbose) as screen, no_search:
        night = pipeline.score(
            inputs,
            output,
            settings=settings,
            device=device,
            reference=reference,
            model=models or None,
            existing=existing,
            relocate=relocate,
            formats=formats,
            threads=threads,
            shard=shard,
            scheduler=scheduler,
            workers=workers,
            timeout=timeout,
            performance_report=performance_report,
            events=screen.events(),
        )
    if not quiet:
        from gpuanom.cli.summary import print_summary, summary_console

        print_summary(night, summary_console())
    for name, reason in night.failed:
        screen.line(f"failed {name}: {reason}")
    lost = screen.left_out(night.left_out)
    unusable_reference = screen.unreferenced(night.tables)
    if not night.failed and not lost:
        return int(unusable_reference)
    return 1 if any(night.tables.plain[0]["n_ccd_used"] > 0) else 2
