"""The network: dense layers 4096-128-64-32-32-64-128-4096, ReLU between, linear output (METHOD.md 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from gpuanom.autoencoder.model import HIDDEN, LATENT, Weights, shapes

Layers = list[tuple[Tensor, Tensor]]
"""Weight (out, in) and bias (out,) of each layer."""


class Autoencoder:
    """The network as it is trained, its first weights drawn as PyTorch draws those of linear layers.

    Parameters
    ----------
    stamp_size : int
        Side of a stamp in pixels; the first and the last layer have stamp_size^2 units.
    device : torch.device
        Where the network is trained.
    """

    def __init__(self, stamp_size: int, device: torch.device) -> None:
        self._names = [name for name, _ in shapes(stamp_size)]
        sizes = (stamp_size**2, *HIDDEN, stamp_size**2)
        # The first weights are drawn on the host, so that they are the same for every device.
        linear = [nn.Linear(a, b).to(device) for a, b in pairwise(sizes)]
        self.layers: Layers = [(layer.weight, layer.bias) for layer in linear]

    def __call__(self, stamps: Tensor) -> Tensor:
        """Reconstruct stamps, (n, stamp_size^2) to the same."""
        return reconstruct(self.layers, stamps)[0]

    def parameters(self) -> list[Tensor]:
        """Weights and biases, layer by layer."""
        return [tensor for layer in self.layers for tensor in layer]

    def copy(self) -> list[Tensor]:
        """Copies of weights and biases as they are now, layer by layer, on the device."""
        return [tensor.detach().clone() for tensor in self.parameters()]

    def weights(self, copied: list[Tensor]) -> Weights:
        """Copied weights and biases on the host, by their names in a model's file."""
        values = (np.array(tensor.cpu().numpy()) for tensor in copied)
        return dict(zip(self._names, values, strict=True))


def reconstruct(layers: Layers, stamps: Tensor) -> tuple[Tensor, Tensor]:
    """Pass stamps through the layers (METHOD.md 7).

    Parameters
    ----------
    layers : list of (Tensor, Tensor)
        Weight (out, in) and bias (out,) of each layer.
    stamps : Tensor, (n, stamp_size^2)

    Returns
    -------
    reconstructions : Tensor, (n, stamp_size^2)
    latent : Tensor, (n, 32)
    """
    value, latent = stamps, stamps
    for i, (weight, bias) in enumerate(layers):
        value = functional.linear(value, weight, bias)
        if i < len(layers) - 1:
            value = functional.relu(value)
        if i == LATENT:
            latent = value
    return value, latent


def layers_of(weights: Mapping[str, npt.NDArray[np.float32]], stamp_size: int, device: torch.device) -> Layers:
    """Copy a model's layers to a device as float64, so that all devices compute the same errors.

    Parameters
    ----------
    weights : mapping of str to ndarray, float32
        By the names of `gpuanom.autoencoder.model.shapes`.
    stamp_size : int
        Side of a stamp in pixels.
    device : torch.device

    Returns
    -------
    list of (Tensor, Tensor)
        Weight (out, in) and bias (out,) of each layer.
    """
    tensors: Iterator[Tensor] = (
        torch.from_numpy(np.array(weights[name], dtype=np.float64)).to(device) for name, _ in shapes(stamp_size)
    )
    return list(zip(tensors, tensors, strict=True))
