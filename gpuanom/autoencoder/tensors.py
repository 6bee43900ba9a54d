"""Stamps of a backend as PyTorch's tensors: where they lie, never through the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from gpuanom.backends.protocol import Backend
from gpuanom.errors import DeviceError
from gpuanom.records import Array, Background, CcdStack, Integers, Sources
from gpuanom.settings import Settings

_CUDA = 2  # of DLPack's device types


def require_shared(backend: Backend) -> None:
    """Check that PyTorch can work where a backend does, before anything is measured for it.

    Raises
    ------
    DeviceError
        When the backend works on a GPU and this PyTorch cannot.
    """
    kind, number = (int(v) for v in backend.to_device(np.zeros(1)).__dlpack_device__())
    if kind == _CUDA and not torch.cuda.is_available():
        raise DeviceError(
            f"gpu {number}: this PyTorch ({torch.__version__}) cannot use it (install PyTorch's CUDA build,"
            " or take --device cpu)"
        )


def some_stamps(
    stack: CcdStack,
    background: Background,
    sources: Sources,
    chosen: Integers,
    settings: Settings,
    backend: Backend,
) -> Array:
    """The stamps of some sources where the backend works.

    Parameters
    ----------
    stack, background
        Where the backend works.
    sources : Sources
        On the host.
    chosen : ndarray, (n,) int64
        Indices of sources, ascending.

    Returns
    -------
    Array, (n, stamp_size, stamp_size) float32
    """
    names = ("ccd", "y", "x", "value")
    some = replace(sources, **{name: backend.to_device(getattr(sources, name)[chosen]) for name in names})
    return backend.stamps(stack, background, some, settings)


@contextmanager
def shared(stamps: Array, backend: Backend) -> Iterator[Tensor]:
    """Stamps as a tensor over the same memory, (n, stamp_size^2) float32; inside, PyTorch works in the lane's stream.

    There its work follows the backend's, and memory that either lets go is not taken by the other too early.
    """
    kind, number = (int(v) for v in stamps.__dlpack_device__())
    with _errors(), backend.working():
        if kind != _CUDA:
            yield from_dlpack(stamps).flatten(1)
            return
        lane: Any = backend
        made: Any = torch.cuda.ExternalStream
        stream = made(lane.stream.ptr, device=f"cuda:{number}")
        with torch.cuda.stream(stream):
            yield from_dlpack(stamps).flatten(1)


@contextmanager
def _errors() -> Iterator[None]:
    """A device without enough memory as everywhere in gpuanom: whoever measures then takes fewer CCDs at a time."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(str(error)) from None
