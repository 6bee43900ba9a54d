"""Paths there and back: workers get absolute ones, and what they say of a file names it as the user did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gpuanom.cluster.job import Job, SizedFile
from gpuanom.errors import printable
from gpuanom.naming import path_text
from gpuanom.records import CcdMeasurement, Exposure, Failure, Measurement


def on_workers(exposure: Exposure) -> Exposure:
    """The exposure with paths that do not depend on the folder in which a process was started."""
    masks = tuple(None if mask is None else mask.absolute() for mask in exposure.masks)
    return replace(exposure, files=tuple(file.absolute() for file in exposure.files), masks=masks)


def places(exposure: Exposure) -> list[SizedFile]:
    """The exposure's files, by absolute path and size; those that are gone here too are nobody's blame."""
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


def as_given(result: Sequence[CcdMeasurement] | Failure, exposure: Exposure, job: Job) -> Measurement | Failure:
    """A worker's result as the client's own process would have had it: of the exposure as the user named it."""
    names = {printable(path_text(path.absolute())): printable(path_text(path)) for path in _files(exposure)}
    names = {there: here for there, here in names.items() if there != here}

    def named(reason: str) -> str:
        for there, here in names.items():
            reason = reason.replace(there, here)
        return reason

    if isinstance(result, Failure):
        return replace(result, file=path_text(exposure.files[0]), reason=named(result.reason))
    ccds = tuple(replace(ccd, reason=named(ccd.reason)) if ccd.reason else ccd for ccd in result)
    model = "" if job.model is None else job.model.fingerprint
    return Measurement(exposure, ccds, job.settings.fingerprint(), model)
