"""All statistics in one list each for CCDs and for exposures: the order of the values that the store keeps."""

from __future__ import annotations

import hashlib

from gpuanom.statistics.statistic import Statistic

MODULES: tuple[str, ...] = ()
"""The modules of the wing that measure, in the order of their statistics."""

CCD_STATISTICS: tuple[Statistic, ...] = ()
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()

CCD_NAMES: tuple[str, ...] = tuple(s.name for s in CCD_STATISTICS)
EXPOSURE_NAMES: tuple[str, ...] = tuple(s.name for s in EXPOSURE_STATISTICS)


def fingerprint() -> str:
    """Return a hash of the names of all statistics: values of two versions can be compared where it is the same.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    text = "\n".join((*CCD_NAMES, "", *EXPOSURE_NAMES))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
