"""The numbers of METHOD.md Part I: the paper's, and ours where the paper is silent."""

from __future__ import annotations

from dataclasses import dataclass

from gpuanom.setting_fields import (
    READING,
    SCORE,
    any_value,
    count,
    even,
    fraction,
    mask_classes,
    positive,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class PaperSettings:
    """The settings of METHOD.md Part I; `gpuanom.Settings` adds those of Part II."""

    seed: int = setting(1, "seed of the random points", "6", **count(0, 2**63 - 1))
    background_points: int = setting(
        1000, "number of points for the background fit, per CCD", "1.1", **count(100, 1_000_000)
    )
    clip_fraction: float = setting(
        0.1, "fraction of the points that is clipped at each end", "1.2", **fraction(0.0, 0.45)
    )
    sigma_points: int = setting(10_000, "number of points for sigma, per CCD", "1.4", **count(100, 1_000_000))
    minimum_points: int = setting(
        100, "a CCD with fewer usable points than this is not measured", "1.4", **count(10, 1_000_000)
    )
    draws: int = setting(4, "at most this many times the wanted number of points is drawn", "6", **count(1, 16))
    threshold: float = setting(
        4.0, "lowest central value of a source above the background", "2", unit="sigma", **positive()
    )
    stamp_size: int = setting(64, "side of the square stamp around a source", "2", unit="pixel", **even(16, 64))
    above_threshold: float = setting(
        2.0, "pixels of a stamp above this value are counted", "2", unit="sigma", **positive()
    )
    above_pixels: int = setting(
        6, "a source needs more than this number of pixels above above_threshold", "2", unit="pixel", **count(0, 4096)
    )
    moment_fraction: float = setting(0.02, "I0 as a fraction of the central pixel's value", "3", **fraction(0.0, 1.0))
    isophote_threshold: float = setting(2.0, "lowest level of an isophote", "3b", unit="sigma", **positive())
    isophote_pixels: int = setting(
        5, "an isophote with fewer connected pixels has no orientation", "3b", unit="pixel", **count(1, 4096)
    )
    gradient_points: int = setting(
        10_000, "number of points at which gradients are measured, per CCD", "4.2", **count(100, 1_000_000)
    )
    smooth_size: int = setting(10, "side of the square mean filter", "4.1", unit="pixel", **even(2, 64))
    gradient_reach: int = setting(
        5, "largest distance in the sums of the derivative", "4.2", unit="pixel", **count(1, 32)
    )
    bins: int = setting(18, "number of bins of an orientation histogram over 180 degrees", "5", **count(2, 360))
    mask: bool = setting(True, "use quality planes", "6", check=any_value, allowed="true or false")
    mask_background: tuple[str, ...] = setting(
        ("all",), "mask classes left out of the background fit and of sigma", "6", **mask_classes()
    )
    mask_sources: tuple[str, ...] = setting(
        ("bad", "no_value", "cosmic_ray"), "mask classes that are bad for sources and moments", "6", **mask_classes()
    )
    mask_gradients: tuple[str, ...] = setting(
        ("bad", "no_value"), "mask classes that are bad for gradients", "6", **mask_classes()
    )
    checksum: bool = setting(
        True, "refuse images whose data do not agree with their DATASUM", "-", check=any_value, allowed="true or false",
        stage=READING,
    )  # fmt: skip
    versions: str = setting(
        "newest",
        "of several processing versions of one exposure: score the newest only, or each apart",
        "-",
        check=lambda v: v in ("newest", "apart"),
        allowed='"newest" or "apart"',
        stage=SCORE,
    )
    robust_rounds: int = setting(
        0,
        "rounds of the robust reference; 0 is the paper's reference of all exposures",
        "5b",
        stage=SCORE,
        **count(0, 100),
    )
    robust_fraction: float = setting(
        0.1, "fraction of the exposures that each round leaves out", "5b", stage=SCORE, **fraction(0.0, 0.9)
    )
    robust_minimum: int = setting(
        3, "at least this many exposures stay in the reference", "5b", stage=SCORE, **count(1, 1000)
    )
    sparse_counts: int = setting(
        10,
        "with fewer counts per bin than this, p comes from simulated histograms",
        "5b",
        stage=SCORE,
        **count(0, 1000),
    )
    simulations: int = setting(
        10_000, "number of simulated histograms for such a p", "5b", stage=SCORE, **count(100, 10_000_000)
    )
