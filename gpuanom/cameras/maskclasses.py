"""The classes of bad pixels that quality planes of all cameras are translated to (METHOD.md 6)."""

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
"""Names of the classes, as the settings `mask_background`, `mask_sources` and `mask_gradients` take them."""
