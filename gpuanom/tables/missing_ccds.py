"""Which CCDs an exposure lacks that most exposures of its dataset have: a file that is gone leaves no other trace."""

from __future__ import annotations

import numpy as np

from gpuanom.display import counted
from gpuanom.records import Integers
from gpuanom.records.texts import Texts, coded

_MOST_NAMES = 3
"""So many CCDs are named in a note; more are counted."""


def missing_ccds(names: Texts, owner: Integers, n_exposures: int) -> dict[int, str]:
    """Say of each exposure which CCDs it lacks.

    Parameters
    ----------
    names : ndarray, (n_ccd,) str
        The names of the CCDs of all exposures of a dataset, measured or not.
    owner : ndarray, (n_ccd,) int64
        Index of the exposure of each CCD, ascending.
    n_exposures : int

    Returns
    -------
    dict of int to str
        A note by the index of the exposure, for those that lack a CCD which more than half of the exposures have.
    """
    different, codes = coded(names)
    # Only names that may be frequent enough: the exposures of some surveys have CCDs of other names each.
    chosen = np.flatnonzero(2 * np.bincount(codes, minlength=different.size) > n_exposures)
    place = np.full(different.size, -1)
    place[chosen] = np.arange(chosen.size)
    has = np.zeros((n_exposures, chosen.size), dtype=bool)
    rows = np.flatnonzero(place[codes] >= 0)
    has[owner[rows], place[codes[rows]]] = True
    lacks = ~has & (2 * np.count_nonzero(has, axis=0) > n_exposures)
    found = {}
    for i in np.flatnonzero(lacks.any(axis=1)).tolist():
        lacking = different[chosen[lacks[i]]].tolist()
        more = f" and {len(lacking) - _MOST_NAMES} more" if len(lacking) > _MOST_NAMES else ""
        shown = f"{', '.join(lacking[:_MOST_NAMES])}{more}"
        found[i] = f"lacks {counted(len(lacking), 'CCD')} that most exposures of its dataset have ({shown})"
    return found
