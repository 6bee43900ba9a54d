"""How well a trained autoencoder reconstructs the stamps of every source (METHOD.md 7, eq. 9).

The errors of a stamp depend on nothing but the stamp and the model: float64 throughout, one thread, and batches of one
shape, filled with zeros, of one CCD's sources in order; products of other shapes may sum in another order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from gpuanom.autoencoder.model import N_LATENT, Model
from gpuanom.autoencoder.network import Layers, layers_of, reconstruct
from gpuanom.autoencoder.tensors import shared, some_stamps
from gpuanom.backends.protocol import Backend
from gpuanom.records import Array, Background, CcdStack, Doubles, Exposure, Reconstruction, Sources
from gpuanom.settings import Settings

ROWS = {"cpu": 64, "gpu": 1024}
"""Stamps of a batch: few on a CPU, where a CCD has some hundred; many where a launch costs more than they do."""


class Scorer:
    """A model at work on a run's stamps: a `stamp_hook.StampTask`, and the use of every exposure's stamps.

    Use as a context manager where others use PyTorch in this process: it leaves the number of threads as it was.

    Parameters
    ----------
    model : Model
    only : bool, optional
        Whether the stamps are all that is wanted, of exposures that are measured already.

    Notes
    -----
    Loads its weights to each device once. May be pickled.
    """

    def __init__(self, model: Model, only: bool = False) -> None:
        self.model, self.only = model, only
        self.fingerprint = model.fingerprint
        self._layers: dict[str, Layers] = {}
        self._lock = threading.Lock()
        self._threads = torch.get_num_threads()

    def __reduce__(self) -> tuple[Any, ...]:
        return Scorer, (self.model, self.only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)

    def of(self, exposure: Exposure) -> Scorer:  # noqa: ARG002 - the protocol's signature
        """See `gpuanom.measuring.stamp_hook.StampTask.of`: every exposure's are used alike."""
        return self

    def wants(self, ccd: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """See `gpuanom.measuring.stamp_hook.StampUse.wants`: all."""
        return True

    def __call__(
        self,
        names: Sequence[str],
        stack: CcdStack,
        background: Background,
        sources: Sources,
        settings: Settings,
        backend: Backend,
    ) -> list[Reconstruction]:
        """See `gpuanom.measuring.stamp_hook.StampUse`: what the model makes of each CCD's stamps."""
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # those who measure are threads already, and more would sum in another order
        host = backend.to_host(sources)
        rows = ROWS.get(backend.name, ROWS["gpu"])
        result = []
        for i in range(len(names)):
            mine = np.flatnonzero(host.ccd == i)
            errors, latent = [np.zeros(0)], [np.zeros((0, N_LATENT))]
            for first in range(0, mine.size, rows):
                some = some_stamps(stack, background, host, mine[first : first + rows], settings, backend)
                its_errors, its_latent = self.errors(some, backend, rows)
                finite = np.isfinite(its_errors)
                errors.append(its_errors[finite])
                latent.append(its_latent[finite])
            features = np.concatenate(latent)
            sums = np.stack([features.sum(axis=0), np.square(features).sum(axis=0)])
            counted = np.concatenate(errors)
            result.append(Reconstruction(counted.size, float(counted.sum()), sums))
        return result

    def errors(self, stamps: Array, backend: Backend, rows: int) -> tuple[Doubles, Doubles]:
        """Mean squared error and latent features of at most `rows` stamps, on the host.

        Parameters
        ----------
        stamps : Array, (n, stamp_size, stamp_size) float32
            Where the backend works.
        backend : Backend
        rows : int
            Of the batch that they are made.

        Returns
        -------
        ndarray, (n,) float64
            NaN for stamps that are not finite.
        ndarray, (n, 32) float64
        """
        with shared(stamps, backend) as found, torch.inference_mode():
            n, width = found.shape
            batch = torch.zeros((rows, width), dtype=torch.float64, device=found.device)
            batch[:n] = found
            reconstructed, latent = reconstruct(self._on(found.device), batch)
            errors = torch.square(reconstructed - batch).mean(dim=1)
            both = torch.cat([errors[:, None], latent], dim=1)[:n].cpu().numpy()
        errors_there = np.where(np.isfinite(both).all(axis=1), both[:, 0], np.nan)
        return errors_there, both[:, 1:]

    def _on(self, device: torch.device) -> Layers:
        with self._lock:
            if str(device) not in self._layers:
                self._layers[str(device)] = layers_of(self.model.weights, self.model.stamp_size, device)
            return self._layers[str(device)]
