"""What may be done with the stamps of sources while they are measured: a seam; no step knows of autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gpuanom.backends.protocol import Backend
from gpuanom.records import Background, CcdStack, Exposure, Reconstruction, Sources
from gpuanom.settings import Settings


class StampUse(Protocol):
    """What is done with the stamps of an exposure's sources, beside the steps; called from any thread.

    Attributes
    ----------
    only : bool
        Whether the stamps are all that is wanted: the gradients are not taken, and histograms are left empty.
    """

    @property
    def only(self) -> bool:
        """See above."""
        ...

    def wants(self, ccd: str) -> bool:
        """Whether a CCD need be read at all, by its name."""
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
        """Use the stamps of a stack, whose CCDs have these names; what is returned goes into their measurements."""
        ...


class StampTask(Protocol):
    """What is done with the stamps of a run's exposures.

    Attributes
    ----------
    fingerprint : str
        Of the model that they go through; empty without one.
    """

    fingerprint: str

    def of(self, exposure: Exposure) -> StampUse:
        """What is done with one exposure's; called from any thread, and as often as it has CCDs."""
        ...
