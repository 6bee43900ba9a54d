"""Which stamps a model is trained on (METHOD.md 7).

Stamps are drawn evenly over datasets, then evenly over the exposures of each, then at random within an exposure. The
choice depends on the seed, the ids of the exposures and their numbers of sources, and on nothing else: not on the order
of nights, on threads or devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpuanom import sampling
from gpuanom.errors import InputError
from gpuanom.fits.exposures.grouping import names_apart
from gpuanom.natural_order import natural_key
from gpuanom.records import DatasetKey, Exposure, ExposureKey, Integers
from gpuanom.settings import Settings
from gpuanom.store.planned import unfinished_line
from gpuanom.store.recorded_settings import require_alike
from gpuanom.store.store import NAME, Store

MIN_STAMPS = 100
"""The smallest number of stamps to train with: fewer teach nothing."""


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
        return self.exposure.key


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
