"""Filters that smooth and peaks are cross-checked against on a real card; here, SciPy's own."""

from cupy._array import compute
from scipy import ndimage

__all__ = ["correlate", "maximum_filter", "uniform_filter"]


def uniform_filter(input, *args, **kwargs):
    return compute(ndimage.uniform_filter, input, *args, **kwargs)


def maximum_filter(input, *args, **kwargs):
    return compute(ndimage.maximum_filter, input, *args, **kwargs)


def correlate(input, *args, **kwargs):
    return compute(ndimage.correlate, input, *args, **kwargs)
