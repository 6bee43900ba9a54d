"""Plots of scored nights, as functions that take an Axes: for notebooks, `gpuanom show` and `gpuanom evaluate`.

    >>> import matplotlib.pyplot as plt
    >>> from gpuanom import open_night, plots
    >>> night = open_night("scored")
    >>> plots.orientations(plt.gca(), night.histograms(("DECam", "845291"))[0])

They need matplotlib (the extra `report`); importing this module neither draws nor chooses a backend of matplotlib. The
colours can be told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles, FloatImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gpuanom.review.mosaic import Mosaic
    from gpuanom.review.opened import Histogram

BLUE, ORANGE, GREY, PALE = "#0072b2", "#d55e00", "#767676", "#9ecae1"
"""Colours of Okabe and Ito's palette: blue for what is measured, orange for anomalies, grey and pale for references."""

SCORE_COLOURS = "plasma"
"""The colour map of scores, from dark for normal to light: for any colour vision, and visible on grey."""


def orientations(ax: Axes, histogram: Histogram, *, angle: float | None = None) -> None:
    """Draw an exposure's orientations, the reference, and two standard deviations of counting noise about it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    histogram : Histogram
        One of those that ``night.histograms((camera, exposure))`` returns; `gpuanom.open_night` opens a night.
    angle : float, optional
        Preferred direction in degrees, drawn as a line.
    """
    n = int(histogram.counts.sum())
    edges = np.linspace(-90.0, 90.0, histogram.counts.size + 1)
    share = histogram.counts / max(n, 1)
    if histogram.mean is not None:
        noise = histogram.noise()
        low, high = np.maximum(histogram.mean - noise, 0.0), histogram.mean + noise
        ax.stairs(high, edges, baseline=low, fill=True, color=PALE, alpha=0.6, label="reference, 2 sigma of counts")
        ax.stairs(histogram.mean, edges, baseline=None, color=GREY, lw=1.0)
    ax.stairs(share, edges, baseline=None, color=BLUE, lw=1.8, label=f"this exposure (n = {n})")
    if angle is not None and np.isfinite(angle):
        ax.axvline(angle, color=ORANGE, lw=1.2, ls="--", label=f"preferred: {angle:.0f} deg")
    ax.set(xlim=(-90, 90), xlabel="orientation (deg)", ylabel="share")
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(-90, 91, 30))
    ax.legend(fontsize="x-small", frameon=False)


def focal_plane(ax: Axes, mosaic: Mosaic, scores: Mapping[str, float] | None = None, *, highest: float = 10.0) -> None:
    """Draw a mosaic of an exposure's CCDs, each outlined in the colour of its score.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    mosaic : Mosaic
        Of CCDs in memory, ``gpuanom.review.mosaic.mosaic(camera, [(name, image), ...])`` makes one.
    scores : mapping of str to float, optional
        The score of each CCD, for the outlines.
    highest : float, optional
        The score that gets the last colour, as do all higher scores.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    low, high = mosaic.limits
    ax.imshow(mosaic.image, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    colours = colormaps[SCORE_COLOURS]
    for name, (x, y, width, height) in mosaic.boxes.items():
        score = (scores or {}).get(name)
        known = score is not None and np.isfinite(score)
        colour = colours(float(np.clip((score or 0.0) / highest, 0.0, 1.0))) if known else GREY
        corner = (x - 0.5, y - 0.5)
        ax.add_patch(Rectangle(corner, width, height, fill=False, ec=colour, lw=1.6, ls="-" if known else ":"))
    ax.set_axis_off()
    ax.set_aspect("equal")


def whiskers(
    ax: Axes,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    angle: npt.ArrayLike,
    length: npt.ArrayLike,
    *,
    scale: float = 1.0,
    color: str = ORANGE,
) -> None:
    """Draw headless sticks along axes, one at each position.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    x, y : array_like, (n,)
        Centres.
    angle : array_like, (n,)
        Degrees from +x toward +y; sticks with values that are not finite are left out.
    length : array_like, (n,)
        For example the alignment or the ellipticity.
    scale : float, optional
        Length on the axes of a stick of length 1.
    color : str, optional
        A colour of matplotlib.
    """
    from matplotlib.collections import LineCollection

    x, y, angle, length = (np.asarray(v, dtype=np.float64) for v in (x, y, angle, length))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(angle) & np.isfinite(length)
    half = 0.5 * scale * length[known]
    dx, dy = half * np.cos(np.radians(angle[known])), half * np.sin(np.radians(angle[known]))
    ends = np.stack([x[known] - dx, y[known] - dy, x[known] + dx, y[known] + dy], axis=1).reshape(-1, 2, 2)
    ax.add_collection(LineCollection(list(ends), colors=color, linewidths=1.6, capstyle="round"))
    ax.autoscale_view()


def stamp(ax: Axes, image: FloatImage, *, text: str = "") -> None:
    """Draw the stamp of a source, over its central value: from -0.05 to 0.5, so that faint parts show.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    image : ndarray, (size, size) float32
        The stamp, without unit, 1 at the centre (METHOD.md 7).
    text : str, optional
        Title of the stamp.
    """
    ax.imshow(image, origin="lower", cmap="gray_r", vmin=-0.05, vmax=0.5, interpolation="nearest")
    ax.set_axis_off()
    if text:
        ax.set_title(text, fontsize="x-small", pad=2)


def score_distribution(
    ax: Axes, scores: Mapping[str, npt.ArrayLike], *, xlabel: str = "deviation", threshold: float | None = None
) -> None:
    """Draw the distributions of a score, one line for each band.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    scores : mapping of str to array_like
        Scores by band; values that are not finite are left out.
    xlabel : str, optional
        Name of the score.
    threshold : float, optional
        A score that is marked by a line.
    """
    known = {name: _finite(values) for name, values in scores.items()}
    everything = np.concatenate([*known.values(), np.zeros(0)])
    if everything.size:
        edges = np.histogram_bin_edges(everything, bins=min(60, 10 + everything.size // 10))
        styles = ("-", "--", "-.", ":")
        for i, (name, values) in enumerate(known.items()):
            counts, _ = np.histogram(values, edges)
            ax.stairs(counts, edges, label=f"{name} ({values.size})", ls=styles[i % 4], lw=1.4, color=f"C{i}")
        ax.legend(fontsize="x-small", frameon=False)
    if threshold is not None:
        ax.axvline(threshold, color=ORANGE, lw=1.0, ls="--")
    ax.set(xlabel=xlabel, ylabel="exposures")


def score_against(
    ax: Axes, score: npt.ArrayLike, other: npt.ArrayLike, *, xlabel: str = "", ylabel: str = "deviation"
) -> None:
    """Draw a score against something else of each exposure: time, sky, number of sources.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    score, other : array_like, (n,)
        Of each exposure the score, and what it is drawn against.
    xlabel, ylabel : str, optional
        Names of `other` and of the score.
    """
    ax.scatter(np.asarray(other), np.asarray(score), s=8, color=BLUE, alpha=0.6, linewidths=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)


def true_positive_rate(ax: Axes, bins: Sequence[Any], *, title: str = "", legend: bool = True) -> None:
    """Draw true-positive rates of the highest scores: the paper's figures 5, 7 and 9.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    bins : sequence of gpuanom.review.evaluate.Bin
        From the highest scores down. Prominent exposures are drawn dark, dubious ones light on top.
    title : str, optional
        Title of the axes.
    legend : bool, optional
        Whether the colours are explained.
    """
    middle = np.array([0.5 * (b.first + b.last) for b in bins])
    width = [b.last - b.first for b in bins]
    prominent = np.nan_to_num([b.prominent_rate for b in bins])
    dubious = np.nan_to_num([b.dubious_rate for b in bins]) - prominent
    ax.bar(middle, prominent, width, color="#08519c", edgecolor="white", label="prominent")
    ax.bar(middle, dubious, width, bottom=prominent, color=PALE, edgecolor="white", label="dubious")
    for b, x in zip(bins, middle, strict=True):
        if not b.labelled:
            ax.annotate("no labels", (x, 0.02), rotation=90, ha="center", fontsize="x-small", color=GREY)
    ax.set(xlabel="highest scores (%)", ylabel="true positive rate", ylim=(0, 1))
    ax.set_xlim(0, max((b.last for b in bins), default=10.0))
    ax.set_title(title, fontsize="small")
    if legend:
        ax.legend(fontsize="x-small", loc="upper right")


def _finite(values: npt.ArrayLike) -> Doubles:
    array = np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
    return array[np.isfinite(array)]


def loss_curves(ax: Axes, training: Sequence[float], validation: Sequence[float], *, best: int | None = None) -> None:
    """Draw the losses of a training, one point for each epoch.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    training, validation : sequence of float
        Mean squared errors of each epoch.
    best : int, optional
        The epoch that was kept, counted from 1; marked by a line.
    """
    epochs = np.arange(1, len(training) + 1)
    ax.plot(epochs, training, color=GREY, lw=1.2, label="training")
    ax.plot(epochs, validation, color=BLUE, lw=1.6, label="validation")
    if best is not None:
        ax.axvline(best, color=ORANGE, lw=1.0, ls="--", label=f"kept: epoch {best}")
    ax.set(xlabel="epoch", ylabel="mean squared error", yscale="log")
    ax.legend(fontsize="small", frameon=False)


def roc_curves(ax: Axes, curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, float]]) -> None:
    """Draw receiver operating characteristics.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curves : mapping of str to tuple
        False positive rates, true positive rates and the area under the curve.
        The first is drawn strongest.
    """
    ax.plot([0, 1], [0, 1], color=PALE, lw=1.0)
    styles = ("-", "--", "-.", ":")
    for i, (name, (false, true, area)) in enumerate(curves.items()):
        width = 1.2 if i else 2.4
        ax.plot(false, true, color=f"C{i}", ls=styles[i % 4], lw=width, label=f"{name} ({area:.2f})")
    ax.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    ax.legend(fontsize="small", frameon=False, loc="lower right", title="area under the curve")


def reconstructions(axes: Any, stamps: FloatImage, reconstructed: FloatImage, errors: Sequence[float]) -> None:
    """Draw stamps, their reconstructions by an autoencoder, and the differences, in three rows.

    Parameters
    ----------
    axes : ndarray of Axes, (3, n)
        As `Figure.subplots` gives them.
    stamps, reconstructed : ndarray, (n, size, size) float32
        Over their central values, without unit (METHOD.md 7).
    errors : sequence of float
        Mean squared errors of the reconstructions.
    """
    for i, (before, after, error) in enumerate(zip(stamps, reconstructed, errors, strict=True)):
        stamp(axes[0, i], before, text=f"{error:.2g}")
        stamp(axes[1, i], after)
        stamp(axes[2, i], before - after)
    for ax, name in zip(axes[:, 0], ("stamp", "reconstruction", "difference"), strict=True):
        ax.text(-0.08, 0.5, name, transform=ax.transAxes, rotation=90, ha="right", va="center", fontsize="small")
