"""Memory that a thread keeps between calls: fresh memory costs more than what is written into it.

The system clears fresh memory page by page.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt


class ThreadBuffer:
    """An array for each thread, made when the thread first asks for it.

    Parameters
    ----------
    dtype : dtype
        The type of the array's elements.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = dtype
        self._held = threading.local()

    def of_shape(self, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """The calling thread's array of a shape; the same array at the next call for this shape, as it was left."""
        array: npt.NDArray[Any] | None = getattr(self._held, "array", None)
        if array is None or array.shape != shape:
            array = self._held.array = np.empty(shape, dtype=self._dtype)
        return array

    def at_least(self, n: int) -> npt.NDArray[Any]:
        """The calling thread's array of one dimension with `n` elements or more, as it was left."""
        array: npt.NDArray[Any] | None = getattr(self._held, "array", None)
        if array is None or len(array) < n:
            array = self._held.array = np.empty(max(n, 4096), dtype=self._dtype)
        return array
