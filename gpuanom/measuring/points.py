"""The random points of a CCD: how many are drawn for each step, and how far from the CCD's edges."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from gpuanom import sampling
from gpuanom.settings import Settings

Points = npt.NDArray[np.int32]
"""(y, x) of random points, (n, 2)."""

Step = Literal["background", "sigma", "gradients"]
"""The steps that measure a CCD at random points."""


def draw_points(exposure: str, ccd: str, step: Step, ny: int, nx: int, settings: Settings) -> Points:
    """Draw the random points of a CCD for one step (METHOD.md 6).

    Parameters
    ----------
    exposure : str
        Id of the exposure that decides the points (`gpuanom.records.Exposure.points_id`).
    ccd : str
        Name of the CCD.
    step : str
        ``background`` (the fit), ``sigma`` or ``gradients``.
    ny, nx : int
        Shape of the CCD in pixels.
    settings : Settings
        `draws` times as many points are drawn as the step wants, since some fall on unusable
        pixels. Points for gradients keep so far from the edges that their patches lie on the CCD.

    Returns
    -------
    ndarray, (n_draws, 2) int32
        (y, x), 0-based, in draw order.
    """
    wanted, margin = {
        "background": (settings.background_points, 0),
        "sigma": (settings.sigma_points, 0),
        "gradients": (settings.gradient_points, settings.patch_size // 2),
    }[step]
    return sampling.points(settings.seed, exposure, ccd, step, wanted * settings.draws, ny, nx, margin)
