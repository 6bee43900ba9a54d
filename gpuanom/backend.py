"""The one description of every step that runs on a device, and the choice of a backend.

A backend is `gpuanom.cpu` (NumPy) or `gpuanom.gpu` (CUDA). Both provide the same steps under the same names; this
protocol holds their one docstring. Arrays that a step takes and returns live where the backend works, except where
"host" is said. Every step works on a `CcdStack`: CCDs of one exposure that share a shape.

Parity between backends: *exact* means equal bits; *rounded* means within a tolerance, whose reason is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gpuanom.errors import DeviceError, printable
from gpuanom.records import (
    Array,
    Background,
    Ccd,
    CcdStack,
    Gradients,
    OrientationHistograms,
    Sources,
)
from gpuanom.settings import Settings

Record = TypeVar("Record")


class Backend(Protocol):
    """The steps from pixels to histograms and divergences."""

    name: str
    takes_encoded: bool
    """Whether `prepare` takes images as the file holds them (`gpuanom.encoded`)."""

    def working(self) -> AbstractContextManager[None]:
        """Where array operations between the steps are done; the steps themselves see to it.

        Raises
        ------
        DeviceError
            On leaving, when the device failed.
        """
        ...

    def sharing(self, alone: bool) -> AbstractContextManager[None]:
        """The device's memory for as long as a stack needs it: beside other lanes, or alone once they have done."""
        ...

    def lanes(self, threads: int) -> Sequence[Backend]:
        """Backends of the same device for as many threads as should work at a time; this one may be among them."""
        ...

    def group_size(self, ny: int, nx: int) -> int:
        """How many CCDs of ny x nx pixels a stack may hold in the memory at hand; at least 1."""
        ...

    def too_many(self, n: int, ny: int, nx: int) -> None:
        """Learn that memory did not suffice for a stack of n CCDs: `group_size` gives less from now on."""
        ...

    def prepare(self, ccds: Iterable[Ccd], most: int) -> CcdStack:
        """Bring CCDs that share a shape to the device.

        Parameters
        ----------
        ccds : iterable of Ccd
            At least one; taken one at a time, and each may be let go when the next one is asked for.
        most : int
            How many they are at most.

        Returns
        -------
        CcdStack
            Parity: exact.
        """
        ...

    def background(
        self,
        stack: CcdStack,
        fit_points: npt.NDArray[np.int32],
        sigma_points: npt.NDArray[np.int32],
        settings: Settings,
    ) -> Background:
        """Fit the second-order background and the noise of each CCD (METHOD.md 1).

        Parameters
        ----------
        stack : CcdStack
        fit_points, sigma_points : host ndarray, (n_ccd, n_draws, 2) int32
            Drawn (y, x), in draw order; the first usable ones up to `background_points` and `sigma_points` count.
        settings : Settings

        Returns
        -------
        Background
            Parity: rounded, 1e-12 of the median pixel: the order of float64 sums differs.
        """
        ...

    def sources(self, stack: CcdStack, background: Background, settings: Settings) -> Sources:
        """Find the sources and sum their moments (METHOD.md 2, 3, 3b).

        Parity, for equal `background`: positions and counts exact; moments rounded, 1e-12 of the sum of their terms'
        magnitudes: the order of float64 sums differs.
        """
        ...

    def gradients(
        self, stack: CcdStack, points: npt.NDArray[np.int32], background: Background, settings: Settings
    ) -> Gradients:
        """Take the smoothed gradients at the drawn points (METHOD.md 4, eqs. 6 and 7).

        Parameters
        ----------
        stack : CcdStack
        points : host ndarray, (n_ccd, n_draws, 2) int32
            Drawn (y, x) of the interior, in draw order; the first usable ones up to `gradient_points` count.
        background : Background
            Its polynomial's own gradient is taken off for the flat_ variant; unusable CCDs are skipped.
        settings : Settings

        Returns
        -------
        Gradients
            Parity: rounded, 1e-12 of the patch's largest magnitude; a pure column (row) pattern gives dy (dx) = 0
            exactly on both.
        """
        ...

    def stamps(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Array:
        """Background-subtracted stamps over their central values, bad pixels 0 (METHOD.md 7).

        Returns
        -------
        Array, (n, stamp_size, stamp_size) float32
            Parity: exact for equal `background`.
        """
        ...

    def orientation(self, moments: Array) -> Array:
        """Orientations of moments (Q20, Q02, Q11), (n, 3) to (n,) radians in (-pi/2, pi/2] (eqs. 4 and 5).

        NaN where there is none. Parity: rounded, 4 units in the last place: atan2 differs between libraries.
        """
        ...

    def gradient_orientation(self, dx: Array, dy: Array) -> Array:
        """Orientations of gradients, (n,) radians in (-pi/2, pi/2], NaN where both are 0 (eq. 8)."""
        ...

    def histogram(
        self, orientation: Array, ccd: Array, turns: npt.NDArray[np.int64], bins: int
    ) -> OrientationHistograms:
        """Count orientations into one histogram a CCD, turned to focal-plane axes (METHOD.md 5).

        Parameters
        ----------
        orientation : Array, (n,) float64
            Radians; NaN entries are left out.
        ccd : Array, (n,) int64
            Index of each orientation's CCD.
        turns : host ndarray, (n_ccd,) int64
            `Turn` of each CCD.
        bins : int
            Number of bins over (-pi/2, pi/2], right-closed.

        Returns
        -------
        OrientationHistograms
            Parity: counts exact for equal orientations; sums rounded, 1e-12 of n.
        """
        ...

    def divergence(self, counts: Array, reference: Array) -> Array:
        """KL divergence of histograms from their reference, natural logarithm (eq. 1).

        Parameters
        ----------
        counts : Array, (n, bins) int64
        reference : Array, (bins,) float64
            Normalised; no bin empty in which a histogram has counts.

        Returns
        -------
        Array, (n,) float64
            NaN where a histogram is empty. Parity: rounded, 1e-14.
        """
        ...

    def to_device(self, array: npt.NDArray[Any]) -> Array:
        """A host array of whole numbers or float64 where the backend works. Parity: exact."""
        ...

    def to_host(self, record: Record) -> Record:
        """A record, or a tuple or list of records and arrays, with NumPy arrays in place of the device's.

        The one copy home, and the one synchronisation: whoever wants several records asks for them together.
        """
        ...


def select(device: str = "auto") -> Backend:
    """The backend for a device name, see `choose`; of several GPUs the first.

    Raises
    ------
    DeviceError
        When the device cannot be used; the message names the remedy.
    """
    return choose(device)[0][0]


def choose(device: str = "auto") -> tuple[list[Backend], str]:
    """The backends for a device name, one a device, and in words what they are and why.

    Parameters
    ----------
    device : str, optional
        ``cpu``; a GPU's number such as ``0``; several, as ``0,1``; or ``auto``: GPU 0 if it can be used, else the CPU.

    Raises
    ------
    DeviceError
        When a device asked for cannot be used; the message names the remedy.
    """
    from gpuanom.cpu import CpuBackend

    if device == "cpu":
        return [CpuBackend()], "cpu"
    if device == "auto":
        try:
            backend, about = _gpu(0)
            return [backend], about
        except DeviceError as error:
            return [CpuBackend()], f"cpu, because {error}"
    numbers = [number.strip() for number in device.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise DeviceError(f"unknown device '{device}' (auto, cpu, a GPU's number such as 0, or several such as 0,1)")
    found = [_gpu(number) for number in dict.fromkeys(int(number) for number in numbers)]
    return [backend for backend, _ in found], "; ".join(about for _, about in found)


def _gpu(number: int) -> tuple[Backend, str]:
    try:
        from gpuanom.gpu import GpuBackend
        from gpuanom.gpu.devices import check
    except Exception as error:
        raise DeviceError(f"device '{number}': {why_no_cupy(error)}") from None
    about = check(number)
    return GpuBackend(number), f"gpu {number}, {about}"


def why_no_cupy(error: Exception) -> str:
    """Why the CUDA backend cannot be imported, and the remedy.

    Parameters
    ----------
    error : Exception
        What the import raised: for a CuPy that does not fit Python, NumPy or the system, of any kind.
    """
    remedy = "pip install 'gpuanom[cuda12]', or [cuda13]"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] in ("cupy", "cupyx"):
        return f"CuPy is not installed ({remedy})"
    text = printable(str(error))
    # CuPy wraps what went wrong in a page of advice.
    said = text.partition("Original error:")[2] or text
    return f"CuPy cannot be loaded: {said.strip()[:300]} (uninstall all cupy packages, then {remedy})"
