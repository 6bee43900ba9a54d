"""From paths to exposures: which files and masks belong together, which files are left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import ANY, CameraRule
from gpuanom.errors import SettingsError
from gpuanom.fits.exposures import each_file
from gpuanom.fits.exposures.each_file import FileFailure, Found, KnownFiles, OtherName, Skipped, by_path
from gpuanom.fits.exposures.from_files import exposures_of
from gpuanom.fits.exposures.grouping import labels, with_distinct_ids
from gpuanom.fits.exposures.identity import Description
from gpuanom.fits.exposures.other_names import images_among
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.natural_order import natural_key
from gpuanom.records import Exposure
from gpuanom.settings import Settings


@dataclass(frozen=True)
class Discovery:
    """The exposures and other files that were found.

    Attributes
    ----------
    exposures : tuple of Exposure
        Sorted by camera and id.
    failures : tuple of FileFailure
        Sorted by path.
    skipped : tuple of Skipped
        Sorted by path.
    descriptions : mapping of Path to Description
        What each image file of the exposures is, and the cards that decided.
    other_names : tuple of Path
        FITS images in searched folders that are not taken, because their names do not end as those of FITS files do.
    """

    exposures: tuple[Exposure, ...]
    failures: tuple[FileFailure, ...]
    skipped: tuple[Skipped, ...]
    descriptions: Mapping[Path, Description] = field(default_factory=dict)
    other_names: tuple[Path, ...] = ()


@ignore_astropy_warnings()  # once for all headers: Python's list of filters is slow to change
def discover(inputs: Sequence[str | Path], settings: Settings, known: KnownFiles | None = None) -> Discovery:
    """Find the exposures among files, folders, globs and lists.

    One or two headers of each file are read, and no pixels. The result does not depend on the
    order of the inputs. A file that is named twice counts once.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.
    settings : Settings
        Its camera rules, `mask` and `versions` are used.
    known : KnownFiles, optional
        The files that were found before, with the same settings.

    Returns
    -------
    Discovery
        A file that cannot be used is among its failures; no error is raised for it.
    """
    tried = rules(settings)
    find = each_file.find if known is None else known.find
    found = [find(item, tried) if isinstance(item, Path) else item for item in each_file.files_of(inputs)]
    files = with_distinct_ids([item for item in found if isinstance(item, Found)])
    exposures, older = exposures_of(files, settings)
    failures = [item for item in found if isinstance(item, FileFailure)]
    skipped = [*(item for item in found if isinstance(item, Skipped)), *older]
    return Discovery(
        exposures=tuple(sorted(exposures, key=lambda e: (e.camera, natural_key(e.exposure)))),
        failures=tuple(sorted(failures, key=by_path)),
        skipped=tuple(sorted(skipped, key=by_path)),
        descriptions={file.path: file.description for file in files},
        other_names=tuple(images_among(item.path for item in found if isinstance(item, OtherName))),
    )


def rules(settings: Settings) -> tuple[CameraRule, ...]:
    """Return the camera rules in the order in which they are tried: the user's first, the rule for every file last."""
    replaced = {rule.name for rule in settings.cameras}
    chosen = [*settings.cameras, *(rule for rule in BUILTIN_RULES if rule.name not in replaced)]
    return tuple(sorted(chosen, key=lambda rule: rule.name == ANY))


def rule_of(exposure: Exposure, settings: Settings) -> CameraRule:
    """Return the camera rule that recognised an exposure.

    Parameters
    ----------
    exposure : Exposure
    settings : Settings
        Its camera rules are searched, and the built-in rules.

    Raises
    ------
    SettingsError
        When there is no such rule, because the exposure was found with other settings.
    """
    for rule in rules(settings):
        if rule.name == exposure.rule:
            return rule
    raise SettingsError(
        f"exposure {exposure.exposure} was found by camera rule '{exposure.rule}', which the settings do not have"
    )


def labels_of(exposure: Exposure, settings: Settings) -> tuple[str, ...]:
    """Return the labels that distinguish the CCDs of an exposure's files (`Exposure.labels`).

    Parameters
    ----------
    exposure : Exposure
        Where its labels are not known, the headers of its files are read.
    settings : Settings
        Its camera rules.

    Returns
    -------
    tuple of str
        One for each file; empty where the names of the CCDs are enough.

    Raises
    ------
    SettingsError
        As `rule_of`, where the headers are read.
    """
    if exposure.labels is not None:
        return exposure.labels
    if len(exposure.files) == 1:
        return ("",)
    tried = rule_of(exposure, settings), BUILTIN_RULES[-1]
    found = [each_file.find(path, tried) for path in exposure.files]
    readable = [file for file in found if isinstance(file, Found)]
    by_file = dict(zip((file.path for file in readable), labels(readable), strict=True))
    return tuple(by_file.get(path, "") for path in exposure.files)
