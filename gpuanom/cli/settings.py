"""`gpuanom settings`: the effective settings as TOML."""

from __future__ import annotations

from typing import Any

import click

from gpuanom.cli.options import chosen_settings, settings_options


@click.command()
@settings_options
def settings(**options: Any) -> None:
    """Print the effective settings as TOML, each with its meaning.

    The output is a settings file: change it and give it to `score --config`.
    """
    click.echo(chosen_settings(**options).to_toml(), nl=False)
