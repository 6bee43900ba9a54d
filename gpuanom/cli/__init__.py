"""The command line: thin commands over the Python API.

Exit codes: 0 done, 1 some exposures failed or CCDs were lost (each is named), 2 nothing could be done.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

import click

from gpuanom import compiling
from gpuanom.cli import streams
from gpuanom.cli.help_text import HelpContext
from gpuanom.cli.signals import Interrupting
from gpuanom.errors import GpuanomError, printable
from gpuanom.loops import compile_ahead
from gpuanom.system import raise_open_files
from gpuanom.version import __version__

EPILOG = """\b
A night, from FITS files to the pictures of its worst exposures:
  gpuanom score /data/2026-11-23 -o scored     measure and rank all exposures; writes scored/exposures.ecsv
  gpuanom report scored                        write scored/report.html: look through the night, and label it
  gpuanom show scored 845291 -o 845291.png     draw one exposure

\b
Other nights, and nights that are still being taken:
  gpuanom reference scored -o ref.ecsv                           save the typical orientations of a night
  gpuanom score /data/2026-11-24 -o scored-next --reference ref.ecsv   compare another night with them
  gpuanom watch /data/tonight -o scored-tonight                  score each exposure as it arrives

\b
Questions:
  gpuanom explain exp17.fits                               how is this file read: exposure, band, CCDs, masks?
  gpuanom settings --threshold 10 > my.toml                which settings are there? Then: score --config my.toml
  gpuanom simulate night                                   how does a night with known anomalies score?
  gpuanom inject exp17.fits --anomaly stripes:0.1 -o odd   would such faint stripes be found?
  gpuanom doctor                                           can a GPU be used, and does it compute what the CPU does?

\b
Every command explains itself: gpuanom score --help.
Exit codes: 0 done; 1 some exposures failed or CCDs were lost, and each is named; 2 nothing could be done.
"""


_NAMES = (
    *("score", "report", "history", "show", "tables", "watch", "reference", "merge", "forget", "explain"),
    *("settings", "label", "evaluate", "export", "train", "simulate", "inject", "doctor", "completion"),
)
"""The commands, the usual ones first. Each is the function of that name in the module of that name."""


INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

_MEASURING = (["score"], ["watch"])
"""The commands that keep each measurement at once."""


class _CommandsByName(MutableMapping[str, click.Command]):
    """The commands, each imported when it is asked for, because all of them together take a second to import."""

    def __init__(self) -> None:
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in _NAMES:
            raise KeyError(name)
        if name not in self._imported:
            self._imported[name] = getattr(importlib.import_module(f"gpuanom.cli.{name}"), name)
            self._imported[name].context_class = HelpContext
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError("the commands are listed in _NAMES")

    def __delitem__(self, name: str) -> None:
        raise TypeError("the commands are listed in _NAMES")

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def __contains__(self, name: object) -> bool:
        return name in _NAMES


class _Commands(click.Group):
    """The commands, listed in the order in which they are needed, and ended by an interrupt without click's words."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature of click
        """The names of the commands, the usual ones first."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(
    cls=_Commands,
    commands=_CommandsByName(),
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="gpuanom")
def cli() -> None:
    """Score whole nights of wide-field CCD exposures for anomalies.

    The Entropy Method of Alonso, Zhang & Li (arXiv:2310.15481): an exposure is anomalous when the orientations of its
    sources, or of the gradients of its background, are distributed differently from those of the other exposures of
    the same camera and band.
    """


def _has_folder() -> bool:
    """Whether the current folder exists, from which relative paths count."""
    try:
        os.getcwd()  # noqa: PTH109 (the error is asked for, not the folder)
    except OSError:
        return False
    return True


def _is_at_home(file: object) -> bool:
    """Whether a file lies in the home folder, as in a container that another user runs than the one it was made for."""
    home = os.path.expanduser("~")  # noqa: PTH111 (no error where there is no home folder)
    return isinstance(file, str) and file.startswith(os.path.join(home, "."))  # noqa: PTH118


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; no error reaches the user as a traceback."""
    streams.prepare()
    # Commands that show progress send these lines to their own screen instead.
    compiling.listen(lambda line: click.echo(line, err=True))
    compile_ahead.allow()
    raise_open_files()
    # Before it ends, Python would search what is left for objects that refer to each other, which takes half a second
    # for the tables of a survey.
    atexit.register(gc.freeze)
    interrupting = Interrupting()
    try:
        with interrupting.heard():
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
        command = (sys.argv[1:] if arguments is None else arguments)[:1]
        kept = "; what was measured is kept, and the same command continues from there" if command in _MEASURING else ""
        click.echo(f"gpuanom: {interrupting.word}{kept}", err=True)
        sys.exit(interrupting.code)
    except MemoryError:
        click.echo("gpuanom: out of memory (fewer --threads need less of it)", err=True)
        sys.exit(2)
    except Exception as error:
        # The last resort: an error that nobody foresaw is still told in one line; a bug report can have the traceback.
        if "GPUANOM_TRACEBACK" in os.environ:
            raise
        if isinstance(error, FileNotFoundError) and not _has_folder():
            click.echo("gpuanom: the current folder does not exist any more (change to another folder)", err=True)
            sys.exit(2)
        if isinstance(error, PermissionError) and _is_at_home(error.filename):
            where = printable(f"{error.filename}: {error.strerror}")
            remedy = "libraries look for their settings in the home folder: set HOME to a folder that you may read"
            click.echo(f"gpuanom: {where} ({remedy})", err=True)
            sys.exit(2)
        kind = type(error).__name__
        click.echo(f"gpuanom: unexpected {kind}: {printable(str(error))} (GPUANOM_TRACEBACK=1 shows where)", err=True)
        sys.exit(2)
    if code == INTERRUPTED:
        code = interrupting.code  # a command that has words of its own for an interrupt
    sys.exit(code if isinstance(code, int) else 0)
