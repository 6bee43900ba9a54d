"""Smoothed gradients at random points, the NumPy twin of kernels/gradients.cu (METHOD.md 4, eqs. 6 and 7).

Mean filter and derivative sums are one linear filter on a patch of raw pixels: Dx has weights B[v] K[u], Dy K[v] B[u],
with K antisymmetric and B symmetric about the patch's middle. Mirrored pixels are subtracted first, in float64, so that
a pure column pattern gives Dy = 0 exactly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gpuanom.cpu import polynomial
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Gradients, Integers, Unfit
from gpuanom.settings import Settings

PATCHES_AT_ONCE = 128
"""Patches worked on together: at 20 x 20 pixels their float64 copy is 0.4 MB and stays within a core's cache."""


def gradients(stack: CcdStack, points: npt.NDArray[np.int32], background: Background, settings: Settings) -> Gradients:
    """See `gpuanom.backend.Backend.gradients`."""
    n_ccd, ny, nx = stack.shape
    along, across = filter_weights(settings.smooth_size, settings.gradient_reach)
    gain = settings.gradient_reach * (2 * settings.gradient_reach + 1)
    parts: list[tuple[Integers, Doubles, Doubles, Doubles, Doubles]] = []
    for i in range(n_ccd):
        if not background.usable[i]:
            continue
        bad = None if stack.bad is None else stack.bad[i]
        used, dx, dy = _usable(stack.images[i], bad, points[i], settings.gradient_points, along, across)
        # The patch's middle lies half a pixel before the point, and a quadratic's answer is its slope there.
        Y, X = polynomial.scaled(used[:, 0] - 0.5, ny), polynomial.scaled(used[:, 1] - 0.5, nx)
        sky_x, sky_y = polynomial.slope(background.coefficients[i], Y, X, ny, nx)
        parts.append((np.full(len(used), i), dx, dy, dx - gain * sky_x, dy - gain * sky_y))
    if not parts:
        empty = np.zeros(0)
        return Gradients(np.zeros(0, dtype=np.int64), empty, empty, empty, empty)
    return Gradients(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@lru_cache(maxsize=8)
def filter_weights(smooth_size: int, reach: int) -> tuple[Doubles, Doubles]:
    """The fused filter's weights over half a patch and over a whole one (METHOD.md 4).

    Returns
    -------
    along : ndarray, (half,) float64
        K at offsets 0 ... half - 1, for a pixel minus its mirror image.
    across : ndarray, (2 half,) float64
        B at offsets -half ... half - 1.
    """
    half = smooth_size // 2 + reach
    box = range(-(smooth_size // 2), smooth_size // 2)
    along, across = np.zeros(2 * half), np.zeros(2 * half)
    for j in box:
        for d in range(1, reach + 1):
            along[half + d + j] += 0.5 / (d * smooth_size)
            along[half - d + j] -= 0.5 / (d * smooth_size)
        for k in range(-reach, reach + 1):
            across[half + k + j] += 1.0 / smooth_size
    return along[half:].copy(), across


def _usable(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    drawn: npt.NDArray[np.int32],
    wanted: int,
    along: Doubles,
    across: Doubles,
) -> tuple[npt.NDArray[np.int32], Doubles, Doubles]:
    """The first `wanted` drawn points with usable patches: (n, 2) points, Dx and Dy."""
    used, dxs, dys, start, missing = [drawn[:0]], [np.zeros(0)], [np.zeros(0)], 0, wanted
    while missing and start < len(drawn):
        some = drawn[start : start + min(missing, PATCHES_AT_ONCE)]
        start += len(some)
        dx, dy, good = _filtered(image, bad, some, along, across)
        used.append(some[good])
        dxs.append(dx[good])
        dys.append(dy[good])
        missing -= int(np.count_nonzero(good))
    return np.concatenate(used), np.concatenate(dxs), np.concatenate(dys)


def _filtered(
    image: FloatImage, bad: npt.NDArray[np.uint8] | None, at: npt.NDArray[np.int32], along: Doubles, across: Doubles
) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
    """Dx and Dy of the patches of the given points, and whether each patch is usable."""
    half = along.size
    corner = (at[:, 0] - half, at[:, 1] - half)
    patches = np.lib.stride_tricks.sliding_window_view(image, (2 * half, 2 * half))[corner].astype(np.float64)
    with np.errstate(invalid="ignore"):
        columns = patches[:, :, half:] - patches[:, :, half - 1 :: -1]
        rows = patches[:, half:, :] - patches[:, half - 1 :: -1, :]
        # einsum sums each patch on its own, in an order that no batch or thread count can change.
        dx = np.einsum("nk,k->n", columns.reshape(len(at), -1), np.outer(across, along).reshape(-1))
        dy = np.einsum("nk,k->n", rows.reshape(len(at), -1), np.outer(along, across).reshape(-1))
    # Weights may be 0, but 0 times what is not finite is not finite either: such a pixel spoils both sums.
    good = np.isfinite(dx) & np.isfinite(dy)
    if bad is not None:
        flags = np.lib.stride_tricks.sliding_window_view(bad, (2 * half, 2 * half))[corner]
        good &= ~((flags & Unfit.GRADIENTS) != 0).any(axis=(1, 2))
    return dx, dy, good
