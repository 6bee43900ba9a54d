"""Smoothed gradients at random points, the NumPy twin of kernels/gradients.cu (METHOD.md 4, eqs. 6 and 7).

Mean filter and derivative sums are one linear filter on a patch of raw pixels: Dx has weights B[v] K[u], Dy K[v] B[u],
with K antisymmetric and B symmetric about the patch's middle. Columns (rows) are summed by B alone and mirrored sums
then subtracted: all rows of a pure column pattern have the same sum, bit for bit, so that Dy = 0 exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpuanom.cpu import polynomial
from gpuanom.cpu.moments import row_items
from gpuanom.gradientfilter import filter_weights
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Gradients, Integers, Unfit
from gpuanom.settings import Settings

PATCHES_AT_ONCE = 128
"""Patches worked on together, an even number: their pixels stay within a core's cache, and what NumPy allocates for
itself is small enough to be used again instead of being mapped, page by page, anew."""


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
        return Gradients(np.zeros(0, dtype=np.int64), empty, empty, empty, empty, np.zeros(n_ccd, dtype=np.int64))
    ccd, dx, dy, flat_dx, flat_dy = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Gradients(ccd, dx, dy, flat_dx, flat_dy, np.bincount(ccd, minlength=n_ccd))


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
    filtered = _Filter(image, bad, along, across)
    while missing and start < len(drawn):
        some = drawn[start : start + missing]
        start += len(some)
        dx, dy, good = filtered(some)
        used.append(some[good])
        dxs.append(dx[good])
        dys.append(dy[good])
        missing -= int(np.count_nonzero(good))
    return np.concatenate(used), np.concatenate(dxs), np.concatenate(dys)


class _Filter:
    """The fused filter on one CCD, with its working memory."""

    def __init__(self, image: FloatImage, bad: npt.NDArray[np.uint8] | None, along: Doubles, across: Doubles) -> None:
        self.half, self.along, self.across = along.size, along, across
        self.size = size = across.size
        self.rows = row_items(image, size)
        self.row_starts = np.arange(size) * image.shape[1]
        self.width = image.shape[1]
        self.flags = None if bad is None else np.lib.stride_tricks.sliding_window_view(bad, (size, size))
        self.pixels = np.empty(size * size * PATCHES_AT_ONCE)

    def __call__(self, at: npt.NDArray[np.int32]) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
        """Dx and Dy of the patches of some points, and whether each patch is usable."""
        y, x = at[:, 0].astype(np.int64) - self.half, at[:, 1].astype(np.int64) - self.half
        starts = y * self.width + x
        # In the order in which they lie in memory, neighbours find each other's pixels in the cache.
        order = np.argsort(starts)
        # A point alone would be summed in another order than among others: it is taken twice.
        in_order = starts[np.append(order, order[-1:]) if len(at) % 2 else order]
        sums = np.empty((2, len(in_order)))
        with np.errstate(invalid="ignore"):
            for i in range(0, len(in_order), PATCHES_AT_ONCE):
                self._sums(in_order[i : i + PATCHES_AT_ONCE], sums[:, i : i + PATCHES_AT_ONCE])
        d = np.empty((2, len(at)))
        d[:, order] = sums[:, : len(at)]
        # Weights may be 0, but 0 times what is not finite is not finite either: such a pixel spoils both sums.
        good = np.isfinite(d[0]) & np.isfinite(d[1])
        if self.flags is not None:
            for i in range(0, len(at), PATCHES_AT_ONCE):
                some = slice(i, i + PATCHES_AT_ONCE)
                good[some] &= ~((self.flags[y[some], x[some]] & Unfit.GRADIENTS) != 0).any(axis=(1, 2))
        return d[0], d[1], good

    def _sums(self, starts: Integers, sums: Doubles) -> None:
        """Fill in Dx and Dy, (2, n), of the patches whose first pixels have the given places in the image."""
        n, size, half = len(starts), self.size, self.half
        # With the points along the last axis every operation runs over long rows, and each point's sum is taken in
        # the same order whatever the batch: einsum adds one weighted row at a time.
        pixels = self.pixels[: size * size * n].reshape(size, size, n)
        rows = self.rows[(starts[:, None] + self.row_starts).reshape(-1)].view(np.float32)
        pixels[...] = rows.reshape(n, size, size).transpose(1, 2, 0)
        # Relative to the patch's first pixel, exactly: a constant added to the image changes no bit.
        pixels -= pixels[0, 0].copy()
        columns = np.einsum("ik,i->k", pixels.reshape(size, -1), self.across).reshape(size, n)
        np.einsum("ik,i->k", columns[half:] - columns[half - 1 :: -1], self.along, out=sums[0])
        rows_summed = np.einsum("ijk,j->ik", pixels, self.across)
        np.einsum("ik,i->k", rows_summed[half:] - rows_summed[half - 1 :: -1], self.along, out=sums[1])
