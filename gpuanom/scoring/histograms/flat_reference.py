"""Flat histograms as a reference: one exposure alone compared with orientations that are spread evenly (METHOD.md 13).

A flat histogram is known without any noise of its own. It tells how strongly orientations prefer a direction, but not
what is normal for a camera: a flat reference gives z, angle and alignment, and no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from gpuanom.paths import FLAT
from gpuanom.records import KINDS
from gpuanom.scoring.histograms.reference import DatasetReference, Reference, References
from gpuanom.scoring.histograms.simulated_p import LARGE_REFERENCE

NO_VERDICT = "no verdict: flat histograms do not tell what is normal"


class FlatReference(DatasetReference):
    """The flat histograms of one dataset."""


class FlatReferences(References):
    """Flat histograms for every camera and band, and for exposures that were measured with any settings."""

    @cached_property
    def text(self) -> str:
        """What a night keeps of the reference."""
        return FLAT

    def require(self, settings: Mapping[str, Any], origin: str) -> None:
        """Do nothing: flat histograms can be compared with any measurement.

        Parameters
        ----------
        settings : mapping
        origin : str
        """


def flat_references() -> FlatReferences:
    """Return flat histograms as a reference."""
    return FlatReferences((), {}, origin="flat histograms")


def flat_reference(camera: str, band: str, bins: int) -> FlatReference:
    """Return the flat histograms that the exposures of a dataset are compared with.

    Parameters
    ----------
    camera, band : str
    bins : int
        N, bins of the histograms.
    """
    # So many histograms count as exact, and H = 0 says that they have no noise: f of METHOD.md 5b is then 1.
    m = LARGE_REFERENCE
    flat = Reference(m, np.full(bins, m / bins), np.ones(bins, dtype=np.int64), 0.0)
    return FlatReference(camera, band, (flat,) * len(KINDS), {})
