"""The classes of bad pixels, to which the quality planes of all cameras are translated (METHOD.md 6)."""

from __future__ import annotations

MASK_CLASSES: tuple[str, ...] = (
    "bad",
    "no_value",
    "saturated",
    "bleed",
    "cosmic_ray",
    "low_weight",
    "interpolated",
    "transient",
    "streak",
    "star",
    "crosstalk",
    "edge",
    "other",
)
"""Names of the classes, as they are written in `mask_background`, `mask_sources` and `mask_gradients`."""
