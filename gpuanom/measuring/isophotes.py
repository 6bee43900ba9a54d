"""The isophotal moments of sources that have enough connected pixels (METHOD.md 3b)."""

from __future__ import annotations

import numpy as np

from gpuanom.records import Array, Sources
from gpuanom.settings import Settings


def isophote_moments(sources: Sources, settings: Settings) -> Array:
    """Return the isophotal moments of the sources that have an isophotal orientation (METHOD.md 3b).

    Parameters
    ----------
    sources : Sources
    settings : Settings
        Of these, `isophote_pixels`: a source needs so many connected pixels.

    Returns
    -------
    ndarray, (n_source, 3) float32
        NaN where too few pixels are connected.
    """
    too_few = sources.n_isophote < settings.isophote_pixels
    # An assignment to the chosen rows would have the host wait for the device, which counts them first.
    masked: Array = np.where(too_few[:, None], np.float32(np.nan), sources.isophote_moments)
    return masked
