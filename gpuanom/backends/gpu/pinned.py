"""Pinned memory, to and from which a GPU copies while the host goes on."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array in pinned memory, not initialised; the memory goes back to CuPy's pool with the array.

    `cupyx.empty_pinned` does the same. Importing cupyx brings in scipy.sparse, which takes a third of a second.

    Parameters
    ----------
    shape : tuple of int
    dtype : NumPy type

    Returns
    -------
    ndarray

    Raises
    ------
    cupy.cuda.runtime.CUDARuntimeError
        When the system gives no more pinned memory.
    """
    memory = cupy.cuda.alloc_pinned_memory(math.prod(shape) * np.dtype(dtype).itemsize)
    return np.ndarray(shape, dtype, buffer=memory)
