"""The drawn stamps are read again from the files of their exposures, to train a model with them (METHOD.md 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuanom.autoencoder.drawn_stamps import Drawn
from gpuanom.autoencoder.tensors import shared, stamps_of
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError
from gpuanom.measuring.threads import Threads
from gpuanom.paths import path_text
from gpuanom.records import Background, CcdStack, Exposure, ExposureKey, Failure, Integers, Reconstruction, Sources
from gpuanom.settings import Settings

LARGEST = 100.0
"""Stamps with a pixel whose absolute value is larger than this many times the central pixel are not trained on, because
the square of that pixel would outweigh all others. (The central pixel is the brightest one, so that only pixels far
below the sky, such as unmasked dead pixels, are meant.)"""


class _Collector:
    """Keeps the drawn stamps on the backend's device: a `gpuanom.measuring.stamp_hook.StampTask`."""

    fingerprint = ""

    def __init__(self, drawn: Sequence[Drawn]) -> None:
        self._drawn = {d.candidate.key: d for d in drawn}
        self.kept: dict[tuple[ExposureKey, str], Tensor] = {}
        self.changed: dict[tuple[ExposureKey, str], str] = {}
        """What is said of CCDs whose stamps are not kept, since their sources are others than were measured."""

    def of(self, exposure: Exposure) -> _Collecting:
        """See `gpuanom.measuring.stamp_hook.StampTask.of`."""
        return _Collecting(self._drawn[exposure.key], self)


class _Collecting:
    """Keeps the drawn stamps of one exposure: a `gpuanom.measuring.stamp_hook.StampUse`, called by any thread."""

    stamps_only = True

    def __init__(self, drawn: Drawn, collector: _Collector) -> None:
        self._drawn, self._collector = drawn, collector

    def wants(self, ccd: str) -> bool:
        """Whether stamps of a CCD are drawn: only such CCDs of an exposure are read."""
        return ccd in self._drawn.chosen

    def __call__(
        self,
        names: Sequence[str],
        stack: CcdStack,
        background: Background,
        sources: Sources,
        settings: Settings,
        backend: Backend,
    ) -> list[Reconstruction | None]:
        """See `gpuanom.measuring.stamp_hook.StampUse`."""
        host = backend.to_host(sources)
        key, counts = self._drawn.candidate.key, dict(self._drawn.candidate.ccds)
        chosen: dict[str, Integers] = {}
        for i, name in enumerate(names):
            indices = np.flatnonzero(host.ccd == i)
            if indices.size == counts[name]:
                chosen[name] = indices[self._drawn.chosen[name]]
                continue
            # An error would cost the stamps of all CCDs of the stack.
            error = InputError(
                f"CCD {name} has {indices.size} sources and had {counts[name]} when it was measured",
                file=self._drawn.candidate.exposure.files[0],
                remedy="its files have changed: score them again",
            )
            self._collector.changed[key, name] = str(error)
        if not chosen:
            return [None] * len(names)
        # All CCDs at once: a call for each would take longer than the stamps.
        ends = np.cumsum([len(indices) for indices in chosen.values()]).tolist()
        every = np.concatenate(list(chosen.values()))
        with shared(stamps_of(stack, background, host, every, settings, backend), backend) as stamps:
            copied = stamps.clone()
        for name, begin, end in zip(chosen, [0, *ends], ends, strict=False):
            self._collector.kept[key, name] = copied[begin:end]
        return [None] * len(names)


def read_stamps(
    drawn: Sequence[Drawn],
    settings: Settings,
    backends: Sequence[Backend],
    threads: int | None,
    done: Callable[[Exposure, Any], None],
    debug: Callable[[str], None],
) -> tuple[Tensor, Tensor, int]:
    """Read the drawn stamps again.

    Parameters
    ----------
    drawn : sequence of Drawn
    settings : Settings
        The settings that the exposures were measured with.
    backends : sequence of Backend
        Where stamps are read.
    threads : int or None
        Threads that read; None for the usual number.
    done : callable
        Takes an exposure and its Measurement or Failure.
    debug : callable
        Takes the traceback of an unexpected error.

    Returns
    -------
    stamps : Tensor, (n, stamp_size^2) float32
        In the order of `drawn`, on the device of the first backend.
    validation : Tensor, (n,) bool
        Which stamps are for validation.
    n_left_out : int
        Number of drawn stamps that are not finite, or have a pixel beyond `LARGEST`.

    Raises
    ------
    InputError
        When no stamp could be read.
    """
    task = _Collector(drawn)
    failed: set[ExposureKey] = set()
    wanted = {d.candidate.key: d.chosen for d in drawn}
    with Threads(settings, backends, threads, debug, task) as running:
        for exposure, result, _ in running.measured([d.candidate.exposure for d in drawn]):
            key = exposure.key
            lost = [name for name in wanted[key] if (key, name) not in task.kept]
            if not isinstance(result, Failure) and lost:
                reason_of_ccd = {ccd.name: ccd.reason for ccd in result.ccds}
                reasons = [task.changed.get((key, name)) or reason_of_ccd.get(name) for name in lost]
                # The reason of a file that cannot be read at all stands under the name of the file, not of a CCD.
                reasons += reason_of_ccd.values()
                reason = next(filter(None, reasons), "CCDs that were measured are missing now")
                result = Failure(path_text(exposure.files[0]), key[0], exposure.band, key[1], "changed", reason)
            if isinstance(result, Failure):
                failed.add(key)
            done(exposure, result)
    parts, flags = [], []
    for d in drawn:
        for name in d.chosen:
            stamps = task.kept.pop((d.candidate.key, name), None)
            if stamps is not None and d.candidate.key not in failed:
                parts.append(stamps)
                flags.append(torch.full((len(stamps),), d.validation))
    if not parts:
        raise InputError("none of the drawn stamps could be read", remedy="the lines before name the files")
    validation = torch.cat(flags)
    device = parts[0].device
    everything = torch.cat([part.to(device) for part in parts])
    # NaN compares as false.
    is_usable = (everything.abs() <= LARGEST).all(dim=1)
    if bool(is_usable.all()):
        return everything, validation, 0
    return everything[is_usable], validation[is_usable.cpu()], int((~is_usable).sum())
