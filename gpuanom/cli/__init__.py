"""The command line: thin commands over the Python API.

Exit codes: 0 done, 1 some exposures failed or CCDs were lost (each is named), 2 nothing could be done.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from gpuanom import compiling
from gpuanom.cli import streams
from gpuanom.cli.completion import completion
from gpuanom.cli.doctor import doctor
from gpuanom.cli.evaluate import evaluate
from gpuanom.cli.explain import explain
from gpuanom.cli.export import export
from gpuanom.cli.inject import inject
from gpuanom.cli.label import label
from gpuanom.cli.merge import merge
from gpuanom.cli.reference import reference
from gpuanom.cli.report import report
from gpuanom.cli.score import score
from gpuanom.cli.settings import settings
from gpuanom.cli.show import show
from gpuanom.cli.simulate import simulate
from gpuanom.cli.train import train
from gpuanom.cli.watch import watch
from gpuanom.errors import GpuanomError, printable
from gpuanom.system import raise_open_files
from gpuanom.version import __version__

EPILOG = """\b
Examples:
  gpuanom score /data/2026-11-23 --output scored       a night, from FITS files to ranked tables
  gpuanom reference scored --output ref.ecsv           keep what is normal in it
  gpuanom score /data/tonight -o scored --reference ref.ecsv
  gpuanom watch /data/tonight -o scored                during the night, each exposure as it comes
  gpuanom explain exp17.fits                           how a file is read: exposure, band, CCDs, masks, and why
  gpuanom settings --threshold 10 > my.toml            then: score --config my.toml
  gpuanom train scored -o model.pt                     the paper's second method; then: score -o scored --model model.pt
  gpuanom inject exp17.fits --anomaly stripes:0.1 -o odd   would stripes so faint be found?
  gpuanom doctor                                       can a GPU be used, and does it compute what the CPU does?

Exit codes: 0 done; 1 some exposures failed or CCDs were lost, each named; 2 nothing could be done.
"""


class _Commands(click.Group):
    """Commands that end without a word of click's own when they are interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(__version__, prog_name="gpuanom")
def cli() -> None:
    """Score whole nights of wide-field CCD exposures for anomalies.

    The Entropy Method of Alonso, Zhang & Li (arXiv:2310.15481): an exposure is anomalous when the orientations of its
    sources, or of its background's gradients, are spread otherwise than in the dataset.
    """


for command in (
    score,
    watch,
    reference,
    merge,
    report,
    show,
    label,
    evaluate,
    export,
    simulate,
    inject,
    explain,
    settings,
    doctor,
    train,
    completion,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; no error reaches the user as a traceback."""
    streams.prepare()
    # Commands with a screen of their own take this over.
    compiling.listen(lambda line: click.echo(line, err=True))
    raise_open_files()
    try:
        code = cli.main(args=arguments, prog_name="gpuanom", standalone_mode=False)
        if unwritten := streams.finish():
            click.echo(f"gpuanom: {unwritten}", err=True)
            sys.exit(1)
    except GpuanomError as error:
        click.echo(f"gpuanom: {printable(str(error))}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("gpuanom: interrupted; what was measured is kept, the same command goes on", err=True)
        sys.exit(130)
    except MemoryError:
        click.echo("gpuanom: out of memory (fewer --threads need less)", err=True)
        sys.exit(2)
    except Exception as error:
        # The last resort: what nobody foresaw is still one line, and the traceback is there for a report.
        if "GPUANOM_TRACEBACK" in os.environ:
            raise
        kind = type(error).__name__
        click.echo(f"gpuanom: unexpected {kind}: {printable(str(error))} (GPUANOM_TRACEBACK=1 shows where)", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
