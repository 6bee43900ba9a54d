"""`gpuanom settings`: all settings and their meaning, as TOML."""

from __future__ import annotations

from typing import Any

import click

from gpuanom.cli.options import chosen_settings, settings_options

EPILOG = """\b
Examples:
  gpuanom settings                             all settings, with their meaning and an example of a camera rule
  gpuanom settings --threshold 10 > my.toml    a settings file; then: gpuanom score /data -o scored --config my.toml
  gpuanom settings --config my.toml            check a settings file, and see all that it leaves at its default
"""


@click.command(epilog=EPILOG)
@settings_options
def settings(**options: Any) -> None:
    """Print all settings, each with its meaning, and camera rules.

    The output is a settings file in TOML, with the options given here already in it. Change it as you like and use it:
    `gpuanom score --config FILE`. Tables [cameras.NAME] at its end are camera rules, which say what the headers of a
    camera mean; an example is printed as a comment (all keys: docs/files.md).
    """
    click.echo(chosen_settings(**options).to_toml(), nl=False)
