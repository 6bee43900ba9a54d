"""The sky of a real image and its noise, which anomalies are added to."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gpuanom.records import Doubles

BOX = 64
"""Side of the boxes whose medians are a real image's sky, in pixels."""


def sky_of(image: Doubles) -> tuple[Doubles, float]:
    """The sky of a real image, from medians of boxes, and the noise about it.

    Returns
    -------
    sky : ndarray, (ny, nx) float64
    sigma : float
        1.4826 times the median of absolute differences.
    """
    ny, nx = image.shape
    rows, columns = max(1, ny // BOX), max(1, nx // BOX)
    finite = np.where(np.isfinite(image), image, np.nan)
    if not np.isfinite(finite).any():
        return np.zeros((ny, nx)), 0.0
    whole = float(np.nanmedian(finite))
    medians = np.empty((rows, columns))
    for i, band in enumerate(np.array_split(finite, rows)):
        for j, box in enumerate(np.array_split(band, columns, axis=1)):
            known = box[np.isfinite(box)]
            medians[i, j] = np.median(known) if known.size else whole
    y, x = np.meshgrid(
        (np.arange(ny) + 0.5) * rows / ny - 0.5, (np.arange(nx) + 0.5) * columns / nx - 0.5, indexing="ij"
    )
    sky = ndimage.map_coordinates(medians, (y, x), order=1, mode="nearest")
    return sky, 1.4826 * float(np.nanmedian(np.abs(finite - sky)))
