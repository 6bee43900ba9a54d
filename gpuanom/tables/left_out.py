"""What a night lacks: CCDs without a measurement, why, and whether data were lost; exposures without a reference."""

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


@dataclass(frozen=True)
class Unreferenced:
    """The exposures of cameras and bands that the saved reference of a night does not hold.

    Attributes
    ----------
    datasets : tuple of str
        The cameras and bands, such as ``DECam r``.
    n_exposures : int
        Number of their exposures.
    is_all : bool
        Whether no other exposure of the night could be measured: the reference is of no use then, and the exit code
        is 1.
    """

    datasets: tuple[str, ...]
    n_exposures: int
    is_all: bool

    def __str__(self) -> str:
        names, exposures = ", ".join(self.datasets), counted(self.n_exposures, "exposure")
        if self.is_all:
            return f"the reference holds no camera and band of this night ({names}): {exposures}, all without scores"
        return f"the reference holds no exposure of {names}: {exposures} without scores (status no_reference)"


def unreferenced(tables: Tables) -> Unreferenced | None:
    """Return the exposures that the saved reference of a night has nothing to compare with; None without any.

    Parameters
    ----------
    tables : Tables
        The tables of the whole night.
    """
    from gpuanom.tables.plain import column_of

    exposures = tables.plain[0]
    without = np.asarray(exposures["status"]) == "no_reference"
    rows = np.flatnonzero(without)
    if not rows.size:
        return None
    columns = (_texts(exposures, name, rows) for name in ("camera", "band"))
    datasets = dict.fromkeys(" ".join(filter(None, names)) or "no camera" for names in zip(*columns, strict=True))
    measured = np.asarray(column_of(exposures, "n_ccd_used")) > 0
    return Unreferenced(tuple(sorted(datasets)), rows.size, not (measured & ~without).any())


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


def _texts(table: Mapping[str, Any] | PlainTable, name: str, rows: Integers) -> list[str]:
    """The texts of a column in some rows."""
    from gpuanom.tables.plain import column_of

    column = column_of(table, name)
    chosen = column.take(rows).array() if isinstance(column, CodedTexts) else np.asarray(column)[rows]
    return [str(text) for text in chosen.tolist()]
