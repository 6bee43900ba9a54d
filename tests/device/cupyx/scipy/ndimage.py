"""Filters for cross-checks of smoothing and of peaks on a real card; here these are SciPy's own filters."""

from cupy._array import compute
from scipy import ndimage

__all__ = ["correlate", "maximum_filter", "uniform_filter"]


def uniform_filter(input, *args, **kwargs):
    return compute(ndimage.uniform_filter, input, *args, **kwargs)


def maximum_filter(input, *args, **kwargs):
    return compute(ndimage.maximum_filter, input, *args, **kwargs)


def correlate(input, *args, **kwargs):
    return compute(ndimage.correlate, input, *args, **kwargs)
