"""The DATASUM of files' bytes, compared where the bytes are decoded: launches kernels/checksum.cu (METHOD.md 6)."""

from __future__ import annotations

from collections.abc import Sequence

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array

ADD = Kernel("checksum", "checksum_add")
COMPARE = Kernel("checksum", "checksum_compare")
THREADS = 256
BLOCKS_AN_IMAGE = 32
"""Blocks that add up the bytes of an image."""
ALIGNMENT = 16
"""Of every image's bytes, of which a thread reads so many at once."""


def compare_sums(data: Array, wanted: Sequence[tuple[int, int, int, int]], damaged: Array) -> None:
    """Compare the ones' complement sums of images' bytes with their DATASUM (FITS 4.0, appendix J).

    Parameters
    ----------
    data : device array, (n,) uint8
        The bytes of all images.
    wanted : sequence of (int, int, int, int)
        Of each image: its place in the stack, its first byte, which is a multiple of 16, its number of bytes, and the
        sum that they must have.
    damaged : device array, (n_ccd,) int32
        Set to 0 for an image of another sum.

    Raises
    ------
    ValueError
        When an image's bytes lie outside the data, or begin elsewhere.
    """
    table = np.array(wanted, dtype=np.int64)
    place, begin, n_bytes, _ = table.T
    is_within = (begin >= 0) & (n_bytes >= 0) & (n_bytes <= data.size - begin) & (place >= 0) & (place < damaged.size)
    wrong = np.flatnonzero(~is_within | (begin % ALIGNMENT != 0))
    if wrong.size:
        i = wrong[0]
        raise ValueError(f"{n_bytes[i]} bytes from byte {begin[i]} on of {data.size}, for place {place[i]}")
    if data.data.ptr % ALIGNMENT:
        raise ValueError("the bytes do not begin at a multiple of 16")
    about = cupy.asarray(np.ascontiguousarray(table[:, :3]))
    sums = cupy.asarray(table[:, 3].astype(np.uint64))
    found = cupy.zeros(len(wanted), np.uint64)
    # Neighbouring threads read neighbouring 16 bytes.
    ADD((BLOCKS_AN_IMAGE, len(wanted)), (THREADS,), data, about, found)
    COMPARE((-(-len(wanted) // THREADS),), (THREADS,), about, sums, found, len(wanted), damaged)
