"""Options that several commands share: the settings, from a file and from flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpuanom.settings import PROFILES, Settings
from gpuanom.tables import FORMATS

Command = TypeVar("Command", bound=Callable[..., Any])

_FLAGS: dict[str, tuple[str, type]] = {
    "threshold": ("--threshold", float),
    "bins": ("--bins", int),
    "seed": ("--seed", int),
    "gradient_points": ("--points", int),
    "background_points": ("--background-points", int),
    "sigma_points": ("--sigma-points", int),
}
_SCORE_FLAGS: dict[str, tuple[str, type]] = {"robust_rounds": ("--robust-rounds", int)}


def settings_options(command: Command) -> Command:
    """Give a command --config and a flag for each of the usual settings."""
    decorators = [
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Settings file (TOML), as `gpuanom settings` prints it.",
        ),
        click.option(
            "--profile",
            type=click.Choice(list(PROFILES)),
            default="paper",
            show_default=True,
            help="Named settings: the paper's, or those that docs/validation.md found to be better (brighter "
            "sources, a robust reference). A settings file and other options go before it.",
        ),
    ]
    fields = Settings.__dataclass_fields__
    for name, (flag, kind) in {**_FLAGS, **_SCORE_FLAGS}.items():
        about = fields[name].metadata
        unit = f" [{about['unit']}]" if about["unit"] else ""
        text = f"{about['help'][0].upper()}{about['help'][1:]}{unit} (default {fields[name].default})."
        decorators.append(click.option(flag, name, type=kind, default=None, help=text))
    decorators.append(
        click.option("--mask/--no-mask", "mask", default=None, help="Apply quality planes (default: yes).")
    )
    decorators.append(
        click.option(
            "--versions",
            type=click.Choice(["newest", "apart"]),
            default=None,
            help="Several processing versions of one exposure: take the newest (default), or keep them apart.",
        )
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def _formats(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise click.BadParameter(f"unknown format '{', '.join(unknown)}'; one or more of {','.join(FORMATS)}")
    return names


formats_option = click.option(
    "--format",
    "formats",
    default="ecsv",
    show_default=True,
    callback=_formats,
    metavar="NAMES",
    help="Formats of the tables, with commas between: ecsv, csv, fits, parquet.",
)
"""The option --format of commands that write tables."""


def chosen_settings(config: Path | None, profile: str = "paper", **flags: Any) -> Settings:
    """The settings of a profile, with those of a file and the flags that were given in their place.

    Raises
    ------
    SettingsError
        On an unknown setting or an impossible value, named.
    """
    settings = Settings.from_profile(profile) if config is None else Settings.from_toml(config, profile)
    return settings.replace(**{name: value for name, value in flags.items() if value is not None})
