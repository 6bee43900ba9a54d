"""What a run says of the files that were found among its inputs."""

from __future__ import annotations

import logging
from pathlib import Path

from gpuanom.display import counted
from gpuanom.errors import printable
from gpuanom.fits import Discovery
from gpuanom.fits.explain import decisions, doubtful, other_names, untold_bands
from gpuanom.nights.events import Events, Say
from gpuanom.paths import path_text
from gpuanom.records import ExposureKey
from gpuanom.settings import Settings
from gpuanom.store.store import Store

_log = logging.getLogger("gpuanom")
_UNPACKED = {".bz2": "bunzip2", ".xz": "unxz"}
"""Suffixes of files that are unpacked as a whole, and the programs that unpack them for good."""


def tell_of_files(found: Discovery, events: Events, settings: Settings) -> None:
    """Say which files were skipped, how many masks are applied, what takes long, and what may surprise.

    Parameters
    ----------
    found : Discovery
    events : Events
    settings : Settings
        With which the files were found.
    """
    masks = _masks(found)
    for skipped in found.skipped:
        if skipped.path.absolute() not in masks:
            events.skipped(skipped)
    if line := other_names(found.other_names):
        events.say(line)
        for path in found.other_names[1:]:
            _log.info("skipped %s: a FITS image of another name", path_text(path))
    if masks:
        events.say(f"{counted(len(masks), 'mask')} applied")
    suffixes = [file.suffix.lower() for exposure in found.exposures for file in exposure.files]
    for suffix, program in _UNPACKED.items():
        if n := suffixes.count(suffix):
            files = f"{counted(n, f'{suffix[1:]} file')} {'is' if n == 1 else 'are'}"
            events.say(f"{files} unpacked while being read, which takes long ({program} unpacks for good)")
    for line in decisions(found):
        _log.info("%s", line)
    for line in unused_rules(found, settings).values():
        events.say(line)
    if untold := untold_bands(found):
        events.say(untold)
    for line in doubtful(found).values():
        events.say(line)


def unused_rules(found: Discovery, settings: Settings) -> dict[str, str]:
    """Return a line, by its kind, where the settings have camera rules and none of them fits any file.

    Parameters
    ----------
    found : Discovery
    settings : Settings
        With which the files were found.
    """
    names = [rule.name for rule in settings.cameras]
    files = found.descriptions
    if not names or not files or any(file.rule in settings.cameras for file in files.values()):
        return {}
    rules = f"none of the camera rules {', '.join(names)} of the settings fits"
    if len(names) == 1:
        rules = f"the camera rule {names[0]} of the settings does not fit"
    return {"unused rules": f"{rules} any of these files (gpuanom explain FILE tells which rule does)"}


def tell_of_others(store: Store, named: set[ExposureKey], say: Say) -> None:
    """Say how many exposures are ranked that are not among the inputs: their files may have been taken away on purpose.

    Parameters
    ----------
    store : Store
    named : set of ExposureKey
        The exposures of the inputs.
    say : callable
        Takes a line.
    """
    if n := len(store.known().keys() - named):
        say(
            f"{counted(n, 'exposure')} measured before, not among these files, ranked as well"
            " (gpuanom forget leaves exposures out)"
        )


def _masks(found: Discovery) -> set[Path]:
    """The mask files of the exposures found: they are used, although discovery lists them as skipped."""
    return {mask.absolute() for exposure in found.exposures for mask in exposure.masks if mask is not None}


def why_nothing(found: Discovery) -> str:
    """Return a line that says why there is nothing to score.

    Parameters
    ----------
    found : Discovery
        Without an exposure.
    """
    why = found.failures or found.skipped
    reasons = [f"{printable(path_text(f.path))}: {f.reason}" for f in why[:3]]
    more = f" and {len(why) - 3} more" if len(why) > 3 else ""
    return f"no exposure among the inputs{': ' if reasons else ''}{'; '.join(reasons)}{more}"
