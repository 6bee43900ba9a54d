"""Pinned memory for copies that overlap with kernels."""

import math

import numpy as np
from cpudevice import pinned_memory

__all__ = ["empty_like_pinned", "empty_pinned", "zeros_like_pinned", "zeros_pinned"]


def empty_pinned(shape, dtype=float, order="C"):
    shape = tuple(map(int, shape)) if np.iterable(shape) else (int(shape),)
    return pinned_memory.allocate(math.prod(shape) * np.dtype(dtype).itemsize).view(dtype).reshape(shape, order=order)


def zeros_pinned(shape, dtype=float, order="C"):
    made = empty_pinned(shape, dtype, order)
    made[...] = 0
    return made


def empty_like_pinned(a, dtype=None):
    return empty_pinned(a.shape, dtype or a.dtype)


def zeros_like_pinned(a, dtype=None):
    return zeros_pinned(a.shape, dtype or a.dtype)
