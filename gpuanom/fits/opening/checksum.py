"""Checksums of FITS files: ones' complement sums of 32-bit words (FITS standard 4.0, appendix J)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.fits.headers.scanned import ScannedHeader, whole_numbers
from gpuanom.fits.headers.values import card


def datasum_of(value: Any) -> int | None:
    """Return the sum in a DATASUM card; None where it is not defined (FITS standard 4.0, section 4.4.2.7)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    total = int(text)
    return total if total < 2**32 else None


def datasums_of(headers: Sequence[ScannedHeader]) -> list[int | None]:
    """Return the sum in the DATASUM card of each of several headers of one layout, see `datasum_of`."""
    sums = whole_numbers(headers, "DATASUM", quoted=True)
    if sums is not None and max(sums) < 2**32:
        return [*sums]
    return [datasum_of(card(header, "DATASUM")) for header in headers]


def same_sum(first: int, second: int) -> bool:
    """Whether two ones' complement sums of 32 bits are equal.

    Parameters
    ----------
    first, second : int
        A sum with all bits set equals 0.
    """
    return first % (2**32 - 1) == second % (2**32 - 1)


def ones_complement_sum(data: npt.NDArray[np.uint8]) -> int:
    """Return the ones' complement sum of bytes, as big-endian 32-bit words; bytes of 0 complete the last word.

    Parameters
    ----------
    data : ndarray, (n,) uint8
        Beginning at a multiple of 4 bytes.
    """
    from gpuanom.fits.decoding import byteorder

    whole = data.size // 4 * 4
    rest = data[whole:].tobytes().ljust(4, b"\0")
    return fold_carry(int(byteorder.total(data[:whole].view(np.uint32))) + int.from_bytes(rest, "big"))


def fold_carry(total: int) -> int:
    """Add the bits above the 32nd to those below, until none is left above."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
