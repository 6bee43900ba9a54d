"""Options that several commands share: the settings, from a file and from flags."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.cluster.choice import TIMEOUT
from gpuanom.paths import FLAT
from gpuanom.settings import PROFILES, Settings
from gpuanom.tables.writing import FORMATS

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
    """Give a command the option --config, and an option for each of the usual settings."""
    decorators = [
        click.option(
            "--config",
            type=GivenPath(dir_okay=False),
            help="Settings file (TOML), such as `gpuanom settings` prints.",
        ),
        click.option(
            "--profile",
            type=click.Choice(list(PROFILES)),
            default="standard",
            show_default=True,
            help="standard: the default settings. paper: those of the paper, without verdicts and statistics. robust: "
            "those that docs/validation.md found to be better for the paper's scores (brighter sources, a robust "
            "reference). A settings file and other options override them.",
        ),
    ]
    fields = Settings.__dataclass_fields__
    for name, (flag, kind) in {**_FLAGS, **_SCORE_FLAGS}.items():
        about = fields[name].metadata
        unit = f" [{about['unit']}]" if about["unit"] else ""
        text = f"{about['help'][0].upper()}{about['help'][1:]}{unit} (default {fields[name].default})."
        decorators.append(click.option(flag, name, type=kind, default=None, help=text))
    decorators.append(
        click.option("--mask/--no-mask", "mask", default=None, help="Apply masks and quality planes (default: yes).")
    )
    decorators.append(
        click.option(
            "--checksum/--no-checksum",
            "checksum",
            default=None,
            help="Refuse images whose data do not agree with their DATASUM (default), or read them all the same; "
            "images that were refused before are then tried again.",
        )
    )
    decorators.append(
        click.option(
            "--versions",
            type=click.Choice(["newest", "apart"]),
            default=None,
            help="Where an exposure has several processing versions: use the newest (default), or score each.",
        )
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def _formats(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise click.BadParameter(f"unknown format '{', '.join(unknown)}'; one or more of {','.join(FORMATS)}")
    return names


formats_option = click.option(
    "--format",
    "formats",
    default=None,
    callback=_formats,
    metavar="NAMES",
    help="Formats of the tables, with commas between: ecsv, csv, fits, parquet. (Default: ecsv; parquet for a table of "
    "over 100,000 rows, where pyarrow is installed.)",
)
"""The option --format of commands that write tables."""


def cluster_options(command: Command) -> Command:
    """Give a command the options that choose the workers, which it gets as the arguments of `gpuanom.score`."""

    @functools.wraps(command)
    def with_one_scheduler(*arguments: Any, scheduler_file: Path | None, **options: Any) -> Any:
        given = (
            ("--scheduler", options["scheduler"]),
            ("--scheduler-file", scheduler_file),
            ("--workers", options["workers"]),
        )
        names = [name for name, value in given if value is not None]
        if len(names) > 1:
            raise click.UsageError(f"{' and '.join(names)} name different workers: give one of them")
        for name, default in (("timeout", TIMEOUT), ("performance_report", None)):
            if not names and options[name] != default:
                option = name.replace("_", "-")
                raise click.UsageError(
                    f"--{option} is for workers: give --scheduler, --scheduler-file or --workers too"
                )
        options["scheduler"] = options["scheduler"] if scheduler_file is None else scheduler_file
        return command(*arguments, **options)

    decorators = [
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Measure on the workers of this Dask scheduler, such as tcp://host:8786; --device and --threads then "
            "hold for each worker (docs/cluster.md).",
        ),
        click.option(
            "--scheduler-file",
            type=GivenPath(dir_okay=False),
            help="The same, with the file that `dask scheduler --scheduler-file` wrote in place of the address.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 1024),
            help="Measure in so many processes of this machine, each with --threads; on GPUs one process a GPU "
            "(--workers 2 --device 0,1).",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            default=TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="How long an exposure may take on a worker before another worker tries; after three tries the "
            "exposure has failed.",
        ),
        click.option(
            "--performance-report",
            type=GivenPath(dir_okay=False),
            metavar="FILE.html",
            help="Write Dask's report of how the workers spent their time.",
        ),
    ]
    for decorator in reversed(decorators):
        with_one_scheduler = decorator(with_one_scheduler)
    return with_one_scheduler  # type: ignore[return-value]


def chosen_settings(
    config: Path | None, profile: str = "standard", start: Settings | None = None, **flags: Any
) -> Settings:
    """The settings of a profile, overridden by a settings file, and both by options of the command line.

    Parameters
    ----------
    config : Path, optional
        A settings file (TOML).
    profile : str, optional
        One of `gpuanom.settings.PROFILES`.
    start : Settings, optional
        Settings to start from instead of the profile and the file.
    **flags
        The options that were given, by the name of the setting; None for an option that was not given.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        On an unknown setting or an impossible value, named.
    """
    if start is not None:
        settings = start
    else:
        settings = Settings.from_profile(profile) if config is None else Settings.from_toml(config, profile)
    return settings.replace(**{name: value for name, value in flags.items() if value is not None})


def kinds_of(known: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    """A callback for an option whose value is one or more of the known kinds of score, with commas between."""

    def kinds(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        if not names or set(names) - set(known):
            raise click.BadParameter(f"'{value}' is not one or more of {','.join(known)}")
        return names

    return kinds


night_argument = click.argument("folder", metavar="SCORED", type=NightFolder())


class ReferenceFile(GivenPath):
    """The file of a saved reference, or the word for flat histograms, also where a folder has this name."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a file that is called like the word is known by its absolute path."""
        if str(value) == FLAT:
            return Path(FLAT)
        path = Path(str(super().convert(value, param, ctx)))
        return path.absolute() if str(path) == FLAT else path


reference_option = click.option(
    "--reference",
    type=ReferenceFile(),
    help="The saved reference that SCORED was compared with; needed only if SCORED does not hold it already.",
)


def _relocations(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> dict[str | Path, str | Path]:
    moves: dict[str | Path, str | Path] = {}
    for text in value:
        old, sign, new = text.partition("=")
        if not (old and sign and new):
            raise click.BadParameter(f"'{text}' is not OLD=NEW, such as /disk1=/disk2")
        moves[old] = new
    return moves


relocate_option = click.option(
    "--relocate",
    multiple=True,
    callback=_relocations,
    metavar="OLD=NEW",
    help="Images that were measured in the folder OLD are in the folder NEW now; may be repeated. score and merge keep "
    "the new paths. Images that were moved together with the scored folder are found without this option.",
)
"""The option --relocate of commands that need the images again."""
