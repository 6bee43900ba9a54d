"""`gpuanom explain`: what gpuanom makes of files, and why."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gpuanom.cli.options import chosen_settings
from gpuanom.errors import printable
from gpuanom.fits.explain import explain as accounts_of

EPILOG = """\b
Examples:
  gpuanom explain exp17.fits                 its exposure, band, CCDs, planes and masks, and why
  gpuanom explain /data/2026-11-23           a paragraph a file
  gpuanom explain exp17.fits --json          the same for a program
  gpuanom explain exp17.fits --config my.toml   with a camera rule of your own

\b
Exit codes: 0 every file is understood (skipped files too); 1 a file or a CCD
cannot be used; 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="FILE...")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file: rules of cameras.")
@click.option("--mask/--no-mask", "mask", default=None, help="Apply quality planes (default: yes).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with one object a file.")
def explain(inputs: tuple[str, ...], config: Path | None, mask: bool | None, as_json: bool) -> int:
    """Tell what gpuanom makes of files, and why.

    FILE is what `gpuanom score` takes: files, folders, patterns, @lists. For each file: its exposure, camera rule and
    band with the header cards that decided, its CCDs with what is cut off and which mask is applied, the HDUs that are
    no CCDs, and why a file is left out. Give all files of an exposure together: what tells its CCDs apart may depend
    on them.
    """
    accounts = accounts_of(inputs, chosen_settings(config, mask=mask))
    if as_json:
        click.echo(json.dumps([account.to_mapping() for account in accounts], indent=1))
    else:
        for n, account in enumerate(accounts):
            lines = ([""] if n else []) + account.to_text().split("\n")
            for line in lines:
                click.echo(line[: len(line) - len(line.lstrip())] + printable(line))
    problems = any(a.outcome == "failed" or any(ccd.problem for ccd in a.ccds) for a in accounts)
    return 1 if problems else 0
