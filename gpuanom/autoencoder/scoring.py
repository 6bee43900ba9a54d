"""How well a trained autoencoder reconstructs the stamps of every source (METHOD.md 7, eq. 9).

The error of a stamp depends on the stamp and the model alone, to the last digit. To that end all is float64, one thread
computes, and stamps pass in batches of one shape (padded with zeros) that hold the sources of one CCD in order: matrix
products of another shape may sum in another order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from gpuanom.autoencoder.model import Model
from gpuanom.autoencoder.network import Layers, layers_of, reconstruct
from gpuanom.autoencoder.tensors import shared, stamps_of
from gpuanom.backends.protocol import Backend
from gpuanom.records import Array, Background, CcdStack, Doubles, Exposure, Reconstruction, Sources
from gpuanom.settings import Settings
from gpuanom.store.reconstructions import N_LATENT

ROWS = {"cpu": 64, "gpu": 1024}
"""Stamps in a batch: few on a CPU, since a CCD has some hundred; many on a GPU, where a launch takes longest."""


class Scorer:
    """Reconstructs the stamps of a run: a `StampTask` and `StampUse` of `gpuanom.measuring.stamp_hook`.

    Use it as a context manager where other code in this process uses PyTorch: the number of PyTorch's threads is then
    restored at the end.

    Parameters
    ----------
    model : Model
    stamps_only : bool, optional
        Whether only the stamps are wanted, of exposures that are measured already.

    Notes
    -----
    The weights are copied to each device once. A scorer can be pickled.
    """

    def __init__(self, model: Model, stamps_only: bool = False) -> None:
        self.model, self.stamps_only = model, stamps_only
        self.fingerprint = model.fingerprint
        self._layers: dict[str, Layers] = {}
        self._lock = threading.Lock()
        self._threads = torch.get_num_threads()

    def __reduce__(self) -> tuple[Any, ...]:
        return Scorer, (self.model, self.stamps_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)

    def of(self, exposure: Exposure) -> Scorer:  # noqa: ARG002 - the protocol's signature
        """See `gpuanom.measuring.stamp_hook.StampTask.of`: all exposures are treated alike."""
        return self

    def wants(self, ccd: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """See `gpuanom.measuring.stamp_hook.StampUse.wants`: the stamps of every CCD are wanted."""
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
        """See `gpuanom.measuring.stamp_hook.StampUse`: the errors and latent features of each CCD."""
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # CCDs are measured in threads already, and more would sum in another order
        host = backend.to_host(sources)
        rows = ROWS.get(backend.name, ROWS["gpu"])
        result = []
        for i in range(len(names)):
            indices = np.flatnonzero(host.ccd == i)
            errors, latent = [np.zeros(0)], [np.zeros((0, N_LATENT))]
            for first in range(0, indices.size, rows):
                stamps = stamps_of(stack, background, host, indices[first : first + rows], settings, backend)
                batch_errors, batch_latent = self.errors(stamps, backend, rows)
                finite = np.isfinite(batch_errors)
                errors.append(batch_errors[finite])
                latent.append(batch_latent[finite])
            features = np.concatenate(latent)
            sums = np.stack([features.sum(axis=0), np.square(features).sum(axis=0)])
            counted = np.concatenate(errors)
            result.append(Reconstruction(counted.size, float(counted.sum()), sums))
        return result

    def errors(self, stamps: Array, backend: Backend, rows: int) -> tuple[Doubles, Doubles]:
        """Mean squared errors and latent features of at most `rows` stamps (METHOD.md 7, eq. 9).

        Parameters
        ----------
        stamps : Array, (n, stamp_size, stamp_size) float32
            On the backend's device.
        backend : Backend
        rows : int
            Stamps of a full batch; the missing ones are zeros.

        Returns
        -------
        errors : ndarray, (n,) float64
            On the host; NaN for stamps that are not finite.
        latent : ndarray, (n, 32) float64
        """
        with shared(stamps, backend) as found, torch.inference_mode():
            n, width = found.shape
            batch = torch.zeros((rows, width), dtype=torch.float64, device=found.device)
            batch[:n] = found
            reconstructed, latent = reconstruct(self._on(found.device), batch)
            errors = torch.square(reconstructed - batch).mean(dim=1)
            both = torch.cat([errors[:, None], latent], dim=1)[:n].cpu().numpy()
        finite_errors = np.where(np.isfinite(both).all(axis=1), both[:, 0], np.nan)
        return finite_errors, both[:, 1:]

    def _on(self, device: torch.device) -> Layers:
        with self._lock:
            if str(device) not in self._layers:
                self._layers[str(device)] = layers_of(self.model.weights, self.model.stamp_size, device)
            return self._layers[str(device)]
