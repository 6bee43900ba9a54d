"""The random points of one CCD that the steps need: how many of them the settings say, and where they may lie."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from gpuanom import sampling
from gpuanom.settings import Settings

Points = npt.NDArray[np.int32]
Step = Literal["background", "sigma", "gradients"]


def draw_points(step: Step, exposure: str, ccd: str, shape: tuple[int, int], settings: Settings) -> Points:
    """Draw the random points of a CCD for one step (METHOD.md 6).

    Parameters
    ----------
    step : {"background", "sigma", "gradients"}
        What the points are for. Those for gradients keep clear of the edges by half a patch.
    exposure, ccd : str
        Their ids; with the seed they decide the points.
    shape : tuple of 2 ints
        (ny, nx) of the CCD.
    settings : Settings

    Returns
    -------
    ndarray, (n, 2) int32
        (y, x), 0-based, in draw order; `Settings.draws` times as many as the step needs, since some fall on bad pixels.
    """
    n, margin = {
        "background": (settings.background_points, 0),
        "sigma": (settings.sigma_points, 0),
        "gradients": (settings.gradient_points, settings.patch_size // 2),
    }[step]
    return sampling.points(settings.seed, exposure, ccd, step, n * settings.draws, *shape, margin)
