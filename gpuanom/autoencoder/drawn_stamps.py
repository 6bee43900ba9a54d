"""Which stamps a model is trained on, and how they are read again (METHOD.md 7).

Stamps are drawn evenly over datasets, then evenly over the exposures of each, then at random within an exposure. The
choice depends on the seed, the ids of the exposures and their numbers of sources, and on nothing else: not on the order
of nights, on threads or devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuanom import sampling
from gpuanom.autoencoder.tensors import shared, stamps_of
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError
from gpuanom.fits.exposures.grouping import names_apart
from gpuanom.measuring.threads import Threads
from gpuanom.natural_order import natural_key
from gpuanom.paths import path_text
from gpuanom.records import (
    Background,
    CcdStack,
    DatasetKey,
    Exposure,
    ExposureKey,
    Failure,
    Integers,
    Reconstruction,
    Sources,
)
from gpuanom.settings import Settings
from gpuanom.store.planned import unfinished_line
from gpuanom.store.recorded_settings import require_alike
from gpuanom.store.store import NAME, Store

MIN_STAMPS = 100
"""The smallest number of stamps to train with: fewer teach nothing."""
LARGEST = 100.0
"""Stamps with a pixel whose absolute value is larger than this many times the central pixel are not trained on, because
the square of that pixel would outweigh all others. (The central pixel is the brightest one, so that only pixels far
below the sky, such as unmasked dead pixels, are meant.)"""


@dataclass(frozen=True)
class Candidate:
    """A measured exposure to draw stamps from.

    Attributes
    ----------
    night : Path
        The folder of the scored night.
    exposure : Exposure
    ccds : tuple of (str, int)
        Name and number of sources of each CCD.
    """

    night: Path
    exposure: Exposure
    ccds: tuple[tuple[str, int], ...]

    @property
    def n_sources(self) -> int:
        """Number of sources on all CCDs."""
        return sum(n for _, n in self.ccds)

    @property
    def key(self) -> ExposureKey:
        """Camera and id."""
        return self.exposure.camera, self.exposure.exposure


@dataclass(frozen=True)
class Drawn:
    """The sources that are drawn from one exposure.

    Attributes
    ----------
    candidate : Candidate
    chosen : dict of str to ndarray
        Indices of sources by the name of the CCD, ascending; sources are ordered by (y, x).
    validation : bool
        Whether its stamps are for validation.
    """

    candidate: Candidate
    chosen: Mapping[str, Integers]
    validation: bool


def candidates(
    nights: Sequence[Path], say: Callable[[str], None] = lambda _line: None
) -> tuple[list[Candidate], Settings]:
    """The measured exposures of nights, and the settings that all were measured with.

    An exposure that several nights hold counts once.

    Parameters
    ----------
    nights : sequence of Path
    say : callable, optional
        Takes a line on a night whose run was ended early.

    Returns
    -------
    exposures : list of Candidate
    settings : Settings

    Raises
    ------
    OutputError
        When a folder holds no night, or nights were measured with different settings.
    """
    found: dict[ExposureKey, Candidate] = {}
    settings, origin = None, ""
    parts: list[tuple[dict[ExposureKey, Exposure], dict[ExposureKey, list[tuple[str, int]]]]] = []
    for night in nights:
        path = night / NAME
        with Store(path, Settings(), read_only=True) as store:
            if line := unfinished_line(night, store.n_unmeasured()):
                say(line)
            recorded, _ = store.recorded_settings()
            require_alike(night, recorded, origin, None if settings is None else settings.measurement())
            parts.append((store.measured_exposures(), store.source_counts()))
        settings, origin = Settings(checksum=False).with_measurement(recorded), str(night)
    # Exposures that are named after their files may share a name in several nights: they then get the names that
    # `gpuanom merge` would give them.
    apart = names_apart([exposures for exposures, _ in parts])
    for night, (exposures, sources), names in zip(nights, parts, apart, strict=True):
        for key, exposure in exposures.items():
            named = replace(exposure, exposure=names.get(key, key[1]), measured_as=exposure.points_id)
            candidate = Candidate(night, named if key in names else exposure, tuple(sources.get(key, ())))
            found.setdefault(candidate.key, candidate)
    assert settings is not None
    return sorted(found.values(), key=lambda c: (c.exposure.camera, natural_key(c.exposure.exposure))), settings


def draw(exposures: Sequence[Candidate], n: int, validation: float, seed: int) -> list[Drawn]:
    """Draw stamps evenly over datasets and exposures.

    Parameters
    ----------
    exposures : sequence of Candidate
    n : int
        Number of stamps; if there are fewer sources, all of them are drawn.
    validation : float
        Share of the exposures of each dataset whose stamps validate the model and do not train it.
    seed : int
        Seed of the choice.

    Returns
    -------
    list of Drawn
        In the order given, without exposures of which no stamp is drawn.

    Raises
    ------
    InputError
        When there are fewer than `MIN_STAMPS` sources, or all are of one exposure.
    """
    total = sum(c.n_sources for c in exposures)
    if total < MIN_STAMPS:
        raise InputError(
            f"{total} sources are too few to train with", remedy=f"score more exposures; {MIN_STAMPS} at least"
        )
    # Two random words for each exposure: by the first, exposures get the odd stamps; by the second, validation.
    words = {c.key: sampling.stream(seed, c.key[1], c.key[0], "split").random_raw(2).tolist() for c in exposures}
    datasets: dict[DatasetKey, list[Candidate]] = {}
    for c in exposures:
        if c.n_sources:
            datasets.setdefault((c.exposure.camera, c.exposure.band), []).append(c)
    shares = evenly(n, [sum(c.n_sources for c in datasets[name]) for name in sorted(datasets)])
    amounts: dict[ExposureKey, int] = {}
    held_out: set[ExposureKey] = set()
    for name, share in zip(sorted(datasets), shares, strict=True):
        members = sorted(datasets[name], key=lambda c: words[c.key][0])
        amounts |= dict(zip((c.key for c in members), evenly(share, [c.n_sources for c in members]), strict=True))
        members = sorted((c for c in members if amounts[c.key]), key=lambda c: words[c.key][1])
        held_out |= {c.key for c in members[: min(int(validation * len(members) + 0.5), len(members) - 1)]}
    drawn_from = [c for c in exposures if amounts.get(c.key)]
    if len(drawn_from) < 2:
        raise InputError("all sources are of one exposure", remedy="validation needs another: score more exposures")
    if not held_out:
        held_out = {_to_hold_out(drawn_from, words)}
    return [Drawn(c, _chosen(c, amounts[c.key], seed), c.key in held_out) for c in drawn_from]


def _to_hold_out(exposures: Sequence[Candidate], words: Mapping[ExposureKey, list[int]]) -> ExposureKey:
    """An exposure of the largest dataset, for validation where every dataset is too small to give one."""
    names = [(c.exposure.camera, c.exposure.band) for c in exposures]
    largest = max(sorted(set(names)), key=names.count)
    members = [c.key for c, name in zip(exposures, names, strict=True) if name == largest]
    return min(members, key=lambda key: words[key][1])


def evenly(n: int, rooms: Sequence[int]) -> list[int]:
    """Share a number as evenly as limits allow.

    Parameters
    ----------
    n : int
        The number to share.
    rooms : sequence of int
        The largest value of each share.

    Returns
    -------
    list of int
        Shares that add up to n, or to the sum of the limits if that is less. Where n cannot be shared evenly, earlier
        shares are larger by one.
    """
    shares = [0] * len(rooms)
    left = min(n, sum(rooms))
    while left:
        wanting = [i for i, room in enumerate(rooms) if shares[i] < room]
        each = max(left // len(wanting), 1)
        for i in wanting[:left]:
            more = min(each, rooms[i] - shares[i], left)
            shares[i] += more
            left -= more
    return shares


def _chosen(c: Candidate, n: int, seed: int) -> dict[str, Integers]:
    """Choose n sources of an exposure at random: their indices by CCD."""
    words = sampling.stream(seed, c.key[1], c.key[0], "stamps").random_raw(c.n_sources)
    chosen = np.sort(np.argsort(words, kind="stable")[:n])
    found: dict[str, Integers] = {}
    first = 0
    for name, n_sources in c.ccds:
        indices = chosen[(chosen >= first) & (chosen < first + n_sources)] - first
        if indices.size:
            found[name] = indices.astype(np.int64)
        first += n_sources
    return found


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
    left_out : int
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
    fit = (everything.abs() <= LARGEST).all(dim=1)
    if bool(fit.all()):
        return everything, validation, 0
    return everything[fit], validation[fit.cpu()], int((~fit).sum())
