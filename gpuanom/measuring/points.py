"""The random points of CCDs: how many are drawn for each step, and how far from the CCD's edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gpuanom import sampling
from gpuanom.backends.protocol import Backend
from gpuanom.records import Array
from gpuanom.settings import Settings

Step = Literal["background", "sigma", "gradients"]
"""The steps that measure a CCD at random points."""


def draw_points(
    exposures: Sequence[str], ccds: Sequence[str], step: Step, ny: int, nx: int, settings: Settings, backend: Backend
) -> Array:
    """Draw the random points of CCDs for one step, where the backend works (METHOD.md 6).

    Parameters
    ----------
    exposures : sequence of str
        For each CCD the id of its exposure that decides the points (`gpuanom.records.Exposure.points_id`).
    ccds : sequence of str
        Names of the CCDs.
    step : str
        ``background`` (the fit), ``sigma`` or ``gradients``.
    ny, nx : int
        Shape of the CCDs in pixels.
    settings : Settings
        `draws` times as many points are drawn as the step wants, since some fall on unusable
        pixels. Points for gradients keep so far from the edges that their patches lie on the CCD.
    backend : Backend

    Returns
    -------
    Array, (n_ccd, n_draws, 2) int32
        (y, x), 0-based, in draw order.
    """
    wanted, margin = {
        "background": (settings.background_points, 0),
        "sigma": (settings.sigma_points, 0),
        "gradients": (settings.gradient_points, settings.patch_size // 2),
    }[step]
    keys = sampling.keys(settings.seed, exposures, ccds, step)
    return backend.points(keys, wanted * settings.draws, ny, nx, margin)
