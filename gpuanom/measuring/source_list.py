"""The sources of a CCD one by one, with their orientations, as users ask for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.measuring.isophotes import isophote_moments
from gpuanom.records import Background, CcdStack, Doubles, Reconstruction, Sources
from gpuanom.settings import Settings


class SourceList:
    """Keeps the sources of one CCD while it is measured (see `gpuanom.measuring.stamp_hook.StampUse`).

    Attributes
    ----------
    sources : Sources or None
        On the host; None while no CCD has been measured.
    orientation, isophote_orientation : ndarray, (n,) float64
        Radians in the CCD's own axes; NaN where a source has no orientation (METHOD.md 3 and 3b).
    """

    stamps_only = True
    """The gradients of the sky are not wanted."""

    def __init__(self) -> None:
        self.sources: Sources | None = None
        self.orientation: Doubles = np.empty(0)
        self.isophote_orientation: Doubles = np.empty(0)

    def wants(self, ccd: str) -> bool:  # noqa: ARG002 - the signature of StampUse
        """Every CCD is wanted."""
        return True

    def __call__(
        self,
        names: Sequence[str],
        stack: CcdStack,  # noqa: ARG002
        background: Background,  # noqa: ARG002
        sources: Sources,
        settings: Settings,
        backend: Backend,
    ) -> Sequence[Reconstruction | None]:
        """Keep the sources of a stack of one CCD, and their orientations."""
        found = backend.to_host(sources)
        if found.y.size:
            moments = backend.to_device(found.moments)
            isophotal = backend.to_device(isophote_moments(found, settings))
            self.orientation, self.isophote_orientation = backend.to_host(
                (backend.orientation(moments), backend.orientation(isophotal))
            )
        self.sources = found
        return [None] * len(names)
