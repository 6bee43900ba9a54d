"""What workers are sent and what they answer: absolute paths there, and the files' names as the user gave them here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpuanom.cluster.job import Answer, SizedFile
from gpuanom.errors import printable
from gpuanom.paths import path_text
from gpuanom.records import Exposure, Failure, Measurement


def with_absolute_paths(exposure: Exposure) -> Exposure:
    """The exposure with absolute paths, which mean the same in every process."""
    if all(path.is_absolute() for path in exposure.files_and_masks):
        return exposure
    masks = tuple(None if mask is None else mask.absolute() for mask in exposure.masks)
    return replace(exposure, files=tuple(file.absolute() for file in exposure.files), masks=masks)


def sized_files(exposure: Exposure) -> list[SizedFile]:
    """The exposure's files and masks, by absolute path and size in bytes, without files that are gone here, too."""
    found = []
    for path in exposure.files_and_masks:
        try:
            found.append((bytes(path.absolute()), path.stat().st_size))
        except OSError:
            continue
    return found


def with_given_names(
    result: Measurement | Failure, exposure: Exposure, settings: str, model: str
) -> Measurement | Failure:
    """Turn a worker's result into what this process would have measured itself.

    Parameters
    ----------
    result : Measurement or Failure
        As the worker sent it, with absolute paths in its reasons.
    exposure : Exposure
        With the paths that the user gave.
    settings, model : str
        Fingerprints of the settings and of the autoencoder; empty without one.

    Returns
    -------
    Measurement or Failure
        Its reasons name files as the user did.
    """
    if isinstance(result, Failure):
        named = _names(exposure)
        return replace(result, file=path_text(exposure.files[0]), reason=named(result.reason))
    if any(ccd.reason for ccd in result.outline):
        # Reasons are among what the worker prepared for the store, too: this process prepares it again.
        named = _names(exposure)
        ccds = tuple(replace(ccd, reason=named(ccd.reason)) if ccd.reason else ccd for ccd in result.ccds)
        result = replace(result, ccds=ccds, rows=None)
    return result.named(exposure, settings, model)


def _names(exposure: Exposure) -> Callable[[str], str]:
    """A function that names files in a reason as the user did."""
    paths = {printable(path_text(path.absolute())): printable(path_text(path)) for path in exposure.files_and_masks}

    def named(reason: str) -> str:
        for absolute, given in paths.items():
            reason = reason.replace(absolute, given)
        return reason

    return named


def short_of_memory(result: Failure | Measurement) -> bool:
    """Whether an exposure, or a CCD of it, found too little memory."""
    if isinstance(result, Failure):
        return result.status == "out_of_memory"
    return any(ccd.status == "out_of_memory" for ccd in result.outline)


def is_measured(answer: Answer) -> bool:
    """Whether an answer is a result that the store may keep."""
    return isinstance(answer.result, Measurement | Failure) and not short_of_memory(answer.result)


def failed(exposure: Exposure, status: str, reason: str) -> Failure:
    """Make the record of an exposure that has failed on the workers.

    Parameters
    ----------
    exposure : Exposure
    status, reason : str
        See `gpuanom.records.Failure`.
    """
    file = path_text(exposure.files[0])
    return Failure(file, exposure.camera, exposure.band, exposure.exposure, status, printable(reason))
