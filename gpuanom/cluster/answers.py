"""Paths of files: workers get absolute ones, and their answers then name each file as the user did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from gpuanom.cluster.job import SizedFile
from gpuanom.errors import printable
from gpuanom.naming import path_text
from gpuanom.records import Exposure, Failure, Measurement


def on_workers(exposure: Exposure) -> Exposure:
    """The exposure with absolute paths, which mean the same in every process."""
    masks = tuple(None if mask is None else mask.absolute() for mask in exposure.masks)
    return replace(exposure, files=tuple(file.absolute() for file in exposure.files), masks=masks)


def sized_files(exposure: Exposure) -> list[SizedFile]:
    """The exposure's files and masks, by absolute path and size in bytes, without files that are gone here, too."""
    found = []
    for path in _files(exposure):
        try:
            found.append((bytes(path.absolute()), path.stat().st_size))
        except OSError:
            continue
    return found


def _files(exposure: Exposure) -> Iterator[Path]:
    yield from exposure.files
    yield from (mask for mask in exposure.masks if mask is not None)


def as_given(result: Measurement | Failure, exposure: Exposure, settings: str, model: str) -> Measurement | Failure:
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

    @cache
    def names() -> dict[str, str]:
        paths = {printable(path_text(path.absolute())): printable(path_text(path)) for path in _files(exposure)}
        return {absolute: given for absolute, given in paths.items() if absolute != given}

    def named(reason: str) -> str:
        for absolute, given in names().items():
            reason = reason.replace(absolute, given)
        return reason

    if isinstance(result, Failure):
        return replace(result, file=path_text(exposure.files[0]), reason=named(result.reason))
    ccds = tuple(replace(ccd, reason=named(ccd.reason)) if ccd.reason else ccd for ccd in result.ccds)
    return replace(result, exposure=exposure, ccds=ccds, settings=settings, model=model)
