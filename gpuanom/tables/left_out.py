"""The CCDs of a night without a measurement: how many, why, and whether data were lost with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuanom.display import counted
from gpuanom.records.texts import CodedTexts

if TYPE_CHECKING:
    from gpuanom.records.kinds import Integers
    from gpuanom.tables.build import Tables
    from gpuanom.tables.plain import PlainTable

NOT_LOST = frozenset(("constant", "saturated", "too_few_pixels", "too_small", "not_2d", "no_image"))
"""Statuses of CCDs that were read and hold nothing to measure, such as DECam's dead CCDs in every night."""


@dataclass(frozen=True)
class LeftOut:
    """The CCDs of a night that were not measured and share a status.

    Attributes
    ----------
    status : str
        The status in the table of CCDs.
    n_ccds, n_exposures : int
        Number of CCDs, and of the exposures that they belong to.
    reason : str
        The reason of the first CCD.
    n_reasons : int
        Number of different reasons.
    """

    status: str
    n_ccds: int
    n_exposures: int
    reason: str
    n_reasons: int = 1

    @property
    def lost(self) -> bool:
        """Whether these CCDs hold data that could not be measured: the exit code is then 1."""
        return self.status not in NOT_LOST

    def __str__(self) -> str:
        ccds, exposures = counted(self.n_ccds, "CCD"), counted(self.n_exposures, "exposure")
        more = "; the table of CCDs has the others' reasons" if self.n_reasons > 1 else ""
        return f"{'lost' if self.lost else 'left out'} {ccds} of {exposures}, {self.status}: {self.reason}{more}"


def left_out(tables: Tables) -> tuple[LeftOut, ...]:
    """Return the CCDs without a measurement, those that were lost first, then the most frequent status first.

    Parameters
    ----------
    tables : Tables
        The tables of the whole night, with CCDs of earlier runs.

    Returns
    -------
    tuple of LeftOut
    """
    return left_out_of(tables.plain[1])


def left_out_of(ccds: Mapping[str, Any] | PlainTable) -> tuple[LeftOut, ...]:
    """Return the CCDs without a measurement, as `left_out` does.

    Parameters
    ----------
    ccds : mapping or PlainTable
        The columns ``camera``, ``exposure``, ``status`` and ``reason`` of CCDs.
    """
    from gpuanom.tables.plain import column_of  # which imports SciPy: not before exposures are measured

    status = column_of(ccds, "status")
    if isinstance(status, CodedTexts):
        rows = np.flatnonzero(np.take(status.different != "ok", status.codes))
    else:
        rows = np.flatnonzero(np.asarray(status) != "ok")
    # Of these rows only: an array of all reasons of a survey would take hundreds of megabytes.
    camera, exposure, reason = (_texts(ccds, name, rows) for name in ("camera", "exposure", "reason"))
    found: dict[str, list[int]] = {}
    for i, text in enumerate(_texts(ccds, "status", rows)):
        found.setdefault(text, []).append(i)
    groups = [
        LeftOut(
            status=of_status,
            n_ccds=len(chosen),
            n_exposures=len({(camera[i], exposure[i]) for i in chosen}),
            reason=reason[chosen[0]],
            n_reasons=len({reason[i] for i in chosen}),
        )
        for of_status, chosen in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: (not group.lost, -group.n_ccds, group.status)))


def _texts(ccds: Mapping[str, Any] | PlainTable, name: str, rows: Integers) -> list[str]:
    """The texts of a column in some rows."""
    from gpuanom.tables.plain import column_of

    column = column_of(ccds, name)
    chosen = column.take(rows).array() if isinstance(column, CodedTexts) else np.asarray(column)[rows]
    return [str(text) for text in chosen.tolist()]
