"""What travels between the process that the user started and its workers."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuanom.backends.choice import choose
from gpuanom.errors import InputError
from gpuanom.measuring.threads import Threads
from gpuanom.records import Failure, Measurement
from gpuanom.settings import Settings
from gpuanom.version import __version__

if TYPE_CHECKING:
    from gpuanom.autoencoder.scoring import Scorer

PACKAGES = ("numpy", "numba", "scipy", "astropy", "dask", "distributed", "msgpack", "cloudpickle", "tornado")
"""Packages whose versions are compared: those that compute, and those that talk."""

SizedFile = tuple[bytes, int]
"""A file as the operating system names it, and its size in bytes."""


@dataclass(frozen=True)
class ModelFile:
    """A trained autoencoder, by its file: every worker reads it once.

    Attributes
    ----------
    path : bytes
        Absolute path, as the operating system names it.
    size : int
        In bytes.
    fingerprint : str
        `gpuanom.autoencoder.model.Model.fingerprint` of what the client read.
    stamps_only : bool
        Whether only the stamps are wanted, of exposures that are measured already.
    """

    path: bytes
    size: int
    fingerprint: str
    stamps_only: bool

    @classmethod
    def of(cls, path: str | Path, fingerprint: str, stamps_only: bool) -> ModelFile:
        """Describe the file of a model that was read.

        Parameters
        ----------
        path : str or Path
        fingerprint : str
        stamps_only : bool
            See the attributes.

        Returns
        -------
        ModelFile
        """
        absolute = Path(path).absolute()
        return cls(os.fsencode(absolute), absolute.stat().st_size, fingerprint, stamps_only)

    @property
    def sized_file(self) -> SizedFile:
        """The file as every worker must see it."""
        return self.path, self.size

    def scorer(self) -> Scorer:
        """Read the model, ready to reconstruct stamps.

        Raises
        ------
        GpuanomError
            When PyTorch is not installed on the worker, or the file holds another model than the client read.
        """
        from gpuanom.autoencoder.model import load
        from gpuanom.autoencoder.scoring import Scorer

        path = Path(os.fsdecode(self.path))
        model = load(path)
        if model.fingerprint != self.fingerprint:
            raise InputError("is another model here than where the run was started", file=path)
        return Scorer(model, self.stamps_only)


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know of a run to measure any of its exposures.

    Attributes
    ----------
    settings : Settings
    device : str
        The device of each worker, as `gpuanom.backends.choice.choose` takes it.
    threads : int or None
        Threads of each worker; None leaves it to the worker.
    model : ModelFile or None
        The autoencoder that reconstructs the stamps.
    """

    settings: Settings
    device: str
    threads: int | None
    model: ModelFile | None = None

    def started_threads(self, lanes: int, debug: Callable[[str], None]) -> Threads:
        """Start the threads that measure on a worker.

        Parameters
        ----------
        lanes : int
            Exposures that the worker measures at the same time.
        debug : callable
            Takes tracebacks of unexpected errors.

        Returns
        -------
        Threads

        Raises
        ------
        DeviceError
            When the worker has no such device.
        GpuanomError
            When the worker cannot use the model.
        """
        backends, _ = choose(self.device)
        scorer = None
        if self.model is not None:
            scorer = self.model.scorer()
            from gpuanom.autoencoder.tensors import require_shared

            for backend in backends:
                require_shared(backend)
        # The threads of a GPU only read: as many as a process without a cluster has.
        threads = self.threads or (None if backends[0].takes_encoded else lanes)
        return Threads(self.settings, backends, threads, debug, scorer)


@dataclass(frozen=True)
class Unseen:
    """A worker does not see a file of the exposure as the client does."""

    path: str
    why: str


@dataclass(frozen=True)
class Broken:
    """A worker's device failed, or cannot use the model: every exposure would fail on this worker."""

    why: str


@dataclass(frozen=True, eq=False)
class Answer:
    """A worker's answer about an exposure.

    Attributes
    ----------
    result : Measurement, Failure, Unseen or Broken
    seconds : float
        Seconds that the worker needed.
    debug : tuple of str
        Tracebacks of unexpected errors.
    """

    result: Measurement | Failure | Unseen | Broken
    seconds: float = 0.0
    debug: tuple[str, ...] = ()


class Call:
    """A function call that happens where its pickle is read.

    The scheduler only passes the bytes on, and so needs no gpuanom.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call

    def pickled(self) -> bytes:
        """The call as bytes, for ``pickle.loads``."""
        return pickle.dumps(self, protocol=5)


@cache
def version() -> str:
    """The version of gpuanom with a hash of its sources, because two checkouts of one version may differ."""
    digest = hashlib.blake2b(digest_size=4)
    root = Path(__file__).parent.parent
    for path in sorted(root.rglob("*.py")):
        # The kernels lie inside the package in a wheel, and beside it in a checkout: they are left out of the hash.
        if path.relative_to(root).parts[0] != "kernels":
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__} (sources {digest.hexdigest()})"
