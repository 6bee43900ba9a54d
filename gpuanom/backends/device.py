"""The device of a backend: its memory, the threads that share it, and copies to the device and back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TypeVar

import numpy.typing as npt

from gpuanom.encoded import Room
from gpuanom.records import Array

Record = TypeVar("Record")


class Device(Protocol):
    """The part of `gpuanom.backends.protocol.Backend` that is no step.

    On a GPU every method raises `gpuanom.errors.DeviceError` when the device fails.
    """

    name: str
    takes_encoded: bool
    """Whether `prepare` takes images as the file holds them (`gpuanom.encoded`)."""

    @property
    def device_name(self) -> str:
        """The device, as `gpuanom.backends.choice.choose` takes it."""
        ...

    def share_memory(self, most: int) -> tuple[int, int]:
        """Divide the device's memory among processes, of which this one is the first.

        Parameters
        ----------
        most : int
            The largest number of processes, at least 1.

        Returns
        -------
        n, n_bytes : int
            How many processes the memory suffices for, and what each of them may use. For one
            process there is no limit.
        """
        ...

    def limit_memory(self, n_bytes: int) -> None:
        """Use no more of the device's memory than this from now on, as far as it can be planned.

        Parameters
        ----------
        n_bytes : int
            What `share_memory` of the first process gave.
        """
        ...

    def working(self) -> AbstractContextManager[None]:
        """Where array operations between the steps are done; the steps themselves see to it.

        Returns
        -------
        context manager
            Array operations inside it are done on the device.

        Raises
        ------
        DeviceError
            On leaving, when the device failed.
        """
        ...

    def sharing(self, alone: bool) -> AbstractContextManager[None]:
        """The device's memory for as long as a stack needs it: beside other lanes, or alone once they have done.

        Parameters
        ----------
        alone : bool
            Whether no other lane may use the device in the meantime.

        Returns
        -------
        context manager
            Holds the memory until it is left.
        """
        ...

    def lanes(self, threads: int) -> Sequence[Self]:
        """Give backends of the same device, one for each thread that should work at a time.

        Parameters
        ----------
        threads : int
            The largest number of threads.

        Returns
        -------
        sequence of Backend
            At least one; this backend may be among them.
        """
        ...

    def group_size(self, ny: int, nx: int) -> int:
        """How many CCDs of ny x nx pixels a stack may hold in the memory at hand; at least 1.

        Parameters
        ----------
        ny, nx : int
            Rows and columns of a CCD.

        Returns
        -------
        int
            The number of CCDs.
        """
        ...

    def too_many(self, n: int, ny: int, nx: int) -> None:
        """Learn that memory did not suffice for a stack of n CCDs: `group_size` gives less from now on.

        Parameters
        ----------
        n : int
            The number of CCDs of the stack.
        ny, nx : int
            Rows and columns of a CCD.
        """
        ...

    def room(self, n_bytes: int) -> Room:
        """Give memory that a file is read into, from which `prepare` takes images as the file holds them.

        Parameters
        ----------
        n_bytes : int
            How much.

        Returns
        -------
        Room
            May be asked for from any thread.
        """
        ...

    def to_device(self, array: npt.NDArray[Any]) -> Array:
        """Bring a host array of whole numbers or float64 to where the backend works.

        Parameters
        ----------
        array : host ndarray
            Of any shape.

        Returns
        -------
        Array
            Of the same shape; whole numbers as int64 on a GPU. Parity: exact.
        """
        ...

    def to_host(self, record: Record) -> Record:
        """Bring records home, with NumPy arrays in place of the device's.

        This is the one copy home and the one synchronisation of a stack: ask for several records
        together.

        Parameters
        ----------
        record : record, array, or tuple or list of them
            Arrays where the backend works.

        Returns
        -------
        record, array, tuple or list
            Of the same kind; sources and gradients without their empty slots. Parity: exact.

        Raises
        ------
        DeviceError
            When the device failed in this or an earlier step.
        """
        ...
