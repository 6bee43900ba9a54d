"""`gpuanom explain`: how gpuanom reads files, and why so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import chosen_settings
from gpuanom.errors import printable

EPILOG = """\b
Examples:
  gpuanom explain exp17.fits                    its exposure, band, CCDs and masks, and the header cards behind them
  gpuanom explain /data/2026-11-23              a paragraph for each file of a folder
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
    names of its CCDs may depend on all of them.
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
    problems = any(a.outcome == "failed" or any(ccd.problem for ccd in a.ccds) for a in accounts)
    return 1 if problems else 0
