"""A backend's stamps as PyTorch tensors, on the device where they lie: nothing is copied to the host."""

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
    """Check that PyTorch can use the device of a backend, before anything is measured for it.

    Raises
    ------
    DeviceError
        When the backend works on a GPU and this PyTorch cannot.
    """
    kind, number = _device(backend)
    if kind == _CUDA and not torch.cuda.is_available():
        raise DeviceError(
            f"gpu {number}: this PyTorch ({torch.__version__}) cannot use it (install PyTorch's CUDA build,"
            " or take --device cpu)"
        )


def device_type(backend: Backend) -> str:
    """What PyTorch calls the kind of a backend's device: cpu or cuda."""
    return "cuda" if _device(backend)[0] == _CUDA else "cpu"


def _device(backend: Backend) -> tuple[int, int]:
    """The kind and the number of a backend's device, as DLPack counts them."""
    kind, number = (int(v) for v in backend.to_device(np.zeros(1)).__dlpack_device__())
    return kind, number


def stamps_of(
    stack: CcdStack,
    background: Background,
    sources: Sources,
    chosen: Integers,
    settings: Settings,
    backend: Backend,
) -> Array:
    """The stamps of chosen sources, on the backend's device.

    Parameters
    ----------
    stack : CcdStack
        CCDs, on the backend's device.
    background : Background
        Their backgrounds, on the backend's device.
    sources : Sources
        On the host.
    chosen : ndarray, (n,) int64
        Indices of sources, ascending.
    settings : Settings
        ``stamp_size`` in pixels.
    backend : Backend

    Returns
    -------
    Array, (n, stamp_size, stamp_size) float32
    """
    names = ("ccd", "y", "x", "value")
    picked = replace(sources, **{name: backend.to_device(getattr(sources, name)[chosen]) for name in names})
    return backend.stamps(stack, background, picked, settings)


@contextmanager
def shared(stamps: Array, backend: Backend) -> Iterator[Tensor]:
    """Give stamps to PyTorch without copying them.

    Inside the ``with`` block PyTorch works in the backend's own CUDA stream: its work follows the backend's, and memory
    that one of them frees is not used by the other too early.

    Parameters
    ----------
    stamps : Array, (n, stamp_size, stamp_size) float32
        On the backend's device.
    backend : Backend

    Yields
    ------
    Tensor, (n, stamp_size^2) float32
        Shares the memory of the stamps.
    """
    kind, number = (int(v) for v in stamps.__dlpack_device__())
    with _errors(), backend.working():
        if kind != _CUDA:
            yield from_dlpack(stamps).flatten(1)
            return
        lane: Any = backend
        stream_class: Any = torch.cuda.ExternalStream
        stream = stream_class(lane.stream.ptr, device=f"cuda:{number}")
        with torch.cuda.stream(stream):
            yield from_dlpack(stamps).flatten(1)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn PyTorch's lack of memory into a MemoryError, on which gpuanom measures fewer CCDs at the same time."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(str(error)) from None
