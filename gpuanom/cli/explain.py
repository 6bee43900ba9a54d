"""`gpuanom explain`: how gpuanom reads files, and why so."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import chosen_settings
from gpuanom.display import counted
from gpuanom.errors import printable

if TYPE_CHECKING:
    from gpuanom.fits.explain import Account

EPILOG = """\b
Examples:
  gpuanom explain exp17.fits                    its exposure, band, CCDs and masks, and the header cards behind them
  gpuanom explain /data/2026-11-23              a paragraph for each file of a folder; at the end, what is there in all
  gpuanom explain exp17.fits --json             the same for a program
  gpuanom explain exp17.fits --config my.toml   with a camera rule of your own (docs/files.md)

\b
Exit codes: 0 every file is understood, or is left out by a rule; 1 a file or a CCD cannot be used; 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="FILE...", type=GivenPath(str, readable=False))
@click.option("--config", type=GivenPath(dir_okay=False), help="Settings file with camera rules.")
@click.option("--mask/--no-mask", "mask", default=None, help="Apply masks and quality planes (default: yes).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list with an object for each file.")
def explain(inputs: tuple[str, ...], config: Path | None, mask: bool | None, as_json: bool) -> int:
    """Tell how gpuanom reads files, and why so.

    FILE is a FITS file, a folder, a pattern or @list.txt, as for `gpuanom score`. Printed for each file: its exposure,
    camera rule and band, with the header cards that decide them; its CCDs, what is trimmed from them and which mask is
    applied; the HDUs that are no CCDs; and why a file is left out. Give all files of an exposure together, because the
    names of its CCDs may depend on all of them. Of several files, the exposures of each camera and band are counted at
    the end, and the files that are left out.
    """
    from gpuanom.fits.explain import explain as accounts_of

    accounts = accounts_of(inputs, chosen_settings(config, mask=mask))
    if as_json:
        click.echo(json.dumps([asdict(account) for account in accounts], indent=1))
    else:
        for n, account in enumerate(accounts):
            lines = ([""] if n else []) + account.to_text().split("\n")
            for line in lines:
                click.echo(line[: len(line) - len(line.lstrip())] + printable(line))
        if len(accounts) > 1:
            click.echo()
            for line in _summary(accounts):
                click.echo(printable(line))
    problems = any(a.outcome == "failed" or any(ccd.problem for ccd in a.ccds) for a in accounts)
    return 1 if problems else 0


def _summary(accounts: Sequence[Account]) -> list[str]:
    """How many exposures of each camera and band there are, and how many files are left out for which reason."""
    scored = {(a.camera, a.band, a.exposure) for a in accounts if a.outcome == "scored"}
    datasets = Counter((camera, band) for camera, band, _ in scored)
    lines = [f"{counted(len(accounts), 'file')} in all"]
    lines += [f"{counted(n, 'exposure')} of {' '.join(filter(None, key))}" for key, n in sorted(datasets.items())]
    # What follows the colon, or stands in brackets, is of one file alone: a card, a part of its name, a version.
    others = Counter((a.outcome, re.split(r":| \(", a.reason)[0]) for a in accounts if a.outcome != "scored")
    return lines + [f"{outcome} {counted(n, 'file')}: {why}" for (outcome, why), n in sorted(others.items())]
