"""A hook for the stamps of sources while an exposure is measured, so that no step needs to know of autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gpuanom.backends.protocol import Backend
from gpuanom.records import Background, CcdStack, Exposure, Reconstruction, Sources
from gpuanom.settings import Settings


class StampUse(Protocol):
    """A use of the stamps of an exposure's sources besides the steps; called from any thread.

    Attributes
    ----------
    stamps_only : bool
        Whether nothing but the stamps is wanted: gradients are not measured, and histograms are left empty.
    """

    @property
    def stamps_only(self) -> bool:
        """Whether nothing but the stamps is wanted."""
        ...

    def wants(self, ccd: str) -> bool:
        """Whether the CCD of this name must be read."""
        ...

    def __call__(
        self,
        names: Sequence[str],
        stack: CcdStack,
        background: Background,
        sources: Sources,
        settings: Settings,
        backend: Backend,
    ) -> Sequence[Reconstruction | None]:
        """Use the stamps of a stack.

        Parameters
        ----------
        names : sequence of str
            Names of the stack's CCDs.
        stack : CcdStack
        background : Background
        sources : Sources
        settings : Settings
        backend : Backend

        Returns
        -------
        sequence of Reconstruction or None
            One for each CCD; it becomes a part of the CCD's measurement.
        """
        ...


class StampTask(Protocol):
    """A use of the stamps of all exposures of a run.

    Attributes
    ----------
    fingerprint : str
        Fingerprint of the model that reconstructs the stamps; empty without a model.
    """

    fingerprint: str

    def of(self, exposure: Exposure) -> StampUse:
        """Return the use of one exposure's stamps; called from any thread, once for each group of CCDs."""
        ...
