"""What a store knows of each exposure, which tells whether the exposure must be measured again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from gpuanom.records import ExposureKey
from gpuanom.settings import NO_CHECKSUM, Settings
from gpuanom.store.file_places import texts_of

RETRIED = ("unreadable", "mask_unreadable", "out_of_memory")
"""Statuses of CCDs whose exposure the next run measures again: the obstacle may be gone."""

_OLD_REFUSAL = "[Errno "
"""In the reasons of version 0.1, which took errors of the system for damage."""


@dataclass(frozen=True)
class Known:
    """What tells whether an exposure that the store holds must be measured again."""

    fingerprint: str
    settings: str
    files: tuple[str, ...]
    retry: bool
    """Whether one of its CCDs could not be read, for a reason that may be gone."""
    statistics: str
    """`StatisticNames.text` of its statistics (METHOD.md Part II); empty without any."""


def known_exposures(
    db: sqlite3.Connection,
    settings: Settings,
    statistics: Mapping[ExposureKey, str],
    key: ExposureKey | None = None,
) -> dict[ExposureKey, Known]:
    """Return what a store knows of each exposure, by camera and id.

    Parameters
    ----------
    db : Connection
    settings : Settings
        Of the run: with other settings an exposure that could not be read may be readable.
    statistics : mapping of (camera, exposure) to str
        `StatisticNames.text` of the exposures that have statistics.
    key : (str, str), optional
        Camera and id of the one exposure that is asked for.
    """
    rows = db.execute(
        "SELECT camera, exposure, fingerprint, settings, files, EXISTS (SELECT 1 FROM ccds WHERE"
        " ccds.camera = exposures.camera AND ccds.exposure = exposures.exposure AND"
        " (status IN (?, ?, ?) OR (status = 'corrupt' AND (instr(reason, ?) OR (? AND instr(reason, ?))))))"
        f" FROM exposures{' WHERE camera = ? AND exposure = ?' if key else ''}",
        (*RETRIED, _OLD_REFUSAL, not settings.checksum, NO_CHECKSUM, *(key or ())),
    ).fetchall()
    return {
        (camera, name): Known(print_, used, texts_of(files), bool(retry), statistics.get((camera, name), ""))
        for camera, name, print_, used, files, retry in rows
    }
