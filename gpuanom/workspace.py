"""Memory that a thread uses again and again, for one CCD after another.

Fresh memory costs more than what is read into it: the system clears it page by page.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)

_memory = threading.local()


def workspace(purpose: str, shape: tuple[int, ...], dtype: type[Number]) -> npt.NDArray[Number]:
    """Return an array that belongs to the calling thread and to one purpose.

    Parameters
    ----------
    purpose : str
        What the array is for. Arrays of different purposes never share memory.
    shape : tuple of int
        The array's shape.
    dtype : NumPy type
        The type of its elements, always the same for one purpose.

    Returns
    -------
    ndarray of `shape` and `dtype`
        C-contiguous, filled with anything. The same array as at the last call with this purpose
        and shape, so that what it held then is overwritten; a new array where the shape has
        changed.
    """
    array: npt.NDArray[Any] | None = getattr(_memory, purpose, None)
    if array is None or array.shape != shape:
        array = np.empty(shape, dtype=dtype)
        setattr(_memory, purpose, array)
    return array
