"""Which stamps are drawn: evenly, reproducibly, with validation exposures kept apart; the stamps are those of the
files.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gpuanom
from gpuanom.autoencoder.drawn_stamps import Candidate, candidates, draw, evenly
from gpuanom.autoencoder.read_stamps import read_stamps
from gpuanom.backends.choice import select
from gpuanom.errors import InputError, OutputError
from gpuanom.records import Exposure
from tests import device, nights
from tests.autoencoder import made


def candidate(i, ccds, *, band="r", camera="C"):
    about = Exposure(str(i), camera, band, "", 1.0, (Path(f"{i}.fits"),), (None,), "", "")
    return Candidate(Path("night"), about, tuple(ccds.items()))


@given(st.integers(0, 500), st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_even_shares(n, rooms):
    shares = evenly(n, rooms)
    assert sum(shares) == min(n, sum(rooms))
    assert all(0 <= share <= room for share, room in zip(shares, rooms, strict=True))
    open_ones = [s for s, room in zip(shares, rooms, strict=True) if s < room]
    # An exposure that could give more stamps gives as many as any other exposure, within one stamp.
    assert not open_ones or max(shares) <= min(open_ones) + 1


def candidates_of_night(n=40):
    rng = random.Random(1)
    return [
        candidate(
            i, {f"CCD{k}": rng.randrange(0, 40) for k in range(4)}, band="gr"[i % 4 == 0], camera="AB"[i % 3 == 0]
        )
        for i in range(n)
    ]


def counted(drawn):
    return {d.candidate.key: sum(map(len, d.chosen.values())) for d in drawn}


def test_drawn_evenly_over_datasets_and_exposures():
    drawn = draw(candidates_of_night(), 400, 0.2, 1)
    amounts = counted(drawn)
    assert sum(amounts.values()) == 400
    datasets, per_exposure = Counter(), {}
    for d in drawn:
        name = (d.candidate.exposure.camera, d.candidate.exposure.band)
        datasets[name] += amounts[d.candidate.key]
        per_exposure.setdefault(name, []).append(amounts[d.candidate.key])
    assert set(datasets.values()) == {100}
    for numbers in per_exposure.values():
        assert max(numbers) - min(numbers) <= 1
    for d in drawn:
        n_sources = dict(d.candidate.ccds)
        for name, chosen in d.chosen.items():
            assert np.all(np.diff(chosen) > 0)
            assert 0 <= chosen[0] <= chosen[-1] < n_sources[name]


def test_what_is_drawn_depends_on_seed_and_ids_alone():
    exposures = candidates_of_night()
    shuffled = random.Random(2).sample(exposures, len(exposures))

    def told(drawn):
        return {d.candidate.key: (d.validation, {k: v.tolist() for k, v in d.chosen.items()}) for d in drawn}

    first = told(draw(exposures, 400, 0.2, 1))
    assert told(draw(shuffled, 400, 0.2, 1)) == first
    assert told(draw(exposures, 400, 0.2, 2)) != first
    # One more exposure changes how many stamps each exposure gives; at most two exposures change between training and
    # validation.
    more = told(draw([*exposures, candidate(99, {"CCD0": 30})], 400, 0.2, 1))
    assert sum(first[key][0] != more[key][0] for key in first) <= 2


def test_within_an_exposure_all_sources_are_alike():
    exposures = [candidate(i, {"a": 5, "b": 0, "c": 15}) for i in range(400)]
    drawn = draw(exposures, 1600, 0.2, 3)
    times = Counter((name, int(k)) for d in drawn for name, chosen in d.chosen.items() for k in chosen)
    assert len(times) == 20
    # 400 exposures each give 4 of their 20 sources: each source is drawn 80 times, with a scatter of 8. The bound is 5
    # times that scatter, for the largest of 20 sources.
    assert max(abs(n - 80) for n in times.values()) < 40


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_validation_is_a_share_of_the_exposures_of_each_dataset(share):
    drawn = draw(candidates_of_night(), 400, share, 1)
    numbers = {}
    for d in drawn:
        numbers.setdefault((d.candidate.exposure.camera, d.candidate.exposure.band), []).append(d.validation)
    held_out = sum(map(sum, numbers.values()))
    assert held_out >= 1
    for flags in numbers.values():
        assert not all(flags)
        assert sum(flags) <= share * len(flags) + 1


def test_two_exposures_are_enough():
    drawn = draw([candidate(1, {"a": 90}), candidate(2, {"a": 60}, band="g")], 150, 0.2, 1)
    assert sorted(d.validation for d in drawn) == [False, True]


@pytest.mark.parametrize(
    ("exposures", "message"),
    [
        ([candidate(1, {"a": 50}), candidate(2, {"a": 49})], "99 sources are too few"),
        ([candidate(1, {"a": 0}), candidate(2, {})], "0 sources are too few"),
        ([candidate(1, {"a": 500}), candidate(2, {"a": 0})], "all sources are of one exposure"),
    ],
)
def test_too_few_sources(exposures, message):
    with pytest.raises(InputError, match=message):
        draw(exposures, 100, 0.2, 1)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    nights.night(folder / "in", exposures=16, bands=("g", "r"))
    gpuanom.score(folder / "in", folder / "out", settings=made.QUICK, device="cpu")
    return folder


def read(night, drawn, settings, backend, threads=2):
    outcomes = []
    found = read_stamps(drawn, settings, [backend], threads, lambda _e, r: outcomes.append(r), pytest.fail)
    return found, outcomes


def test_stamps_are_those_of_the_files_whatever_reads_them(night):
    found, settings = candidates([night / "out"])
    assert settings.measurement() == made.QUICK.measurement()
    assert sum(c.n_sources for c in found) > 100
    drawn = draw(found, 100, 0.25, 1)
    (stamps, validation, left_out), _ = read(night, drawn, settings, select("cpu"), threads=1)
    assert stamps.shape == (100, 4096)
    assert stamps.dtype == torch.float32
    assert left_out == 0
    flags = [d.validation for d in drawn for chosen in d.chosen.values() for _ in chosen]
    assert validation.tolist() == flags
    assert torch.all(stamps[:, 32 * 64 + 32] == 1)
    assert len(torch.unique(stamps, dim=0)) == 100
    (again, _, _), _ = read(night, drawn, settings, select("cpu"), threads=3)
    assert torch.equal(again, stamps)
    with device.installed():
        (on_gpu, _, _), _ = read(night, drawn, settings, select("0"))
        # The sums of the background fit run in another order: a pixel differs by 1e-12, and rarely by one unit in the
        # last place of float32.
        assert torch.allclose(on_gpu.cpu(), stamps, rtol=2e-7, atol=1e-9)


def test_a_changed_file_is_named_and_costs_no_other(night, tmp_path):
    found, settings = candidates([night / "out"])
    drawn = draw(found, 100, 0.25, 1)
    path = drawn[0].candidate.exposure.files[0]
    before = path.read_bytes()
    try:
        path.unlink()
        nights.write(path.parent, 99, name=path.name)
        (stamps, _, _), outcomes = read(night, drawn, settings, select("cpu"))
    finally:
        path.write_bytes(before)
    failed = [o for o in outcomes if isinstance(o, gpuanom.records.Failure)]
    assert len(failed) == 1
    assert str(path) in failed[0].reason
    assert "score them again" in failed[0].reason
    assert len(stamps) == 100 - counted(drawn)[drawn[0].candidate.key]


@pytest.mark.parametrize("on", ["cpu", "0"])
def test_of_a_stack_the_ccd_that_has_changed_is_named(night, on):
    """The CCDs of a stack are measured together; the stamps of the others are those that were drawn."""
    found, settings = candidates([night / "out"])
    drawn = draw(found, 100, 0.25, 1)
    at, exposure = next((k, d.candidate.exposure) for k, d in enumerate(drawn) if len(d.chosen) > 1)
    second = list(drawn[at].chosen)[1]
    # As if that CCD had had one source more when it was measured.
    ccds = tuple((name, n + (name == second)) for name, n in drawn[at].candidate.ccds)
    drawn[at] = replace(drawn[at], candidate=replace(drawn[at].candidate, ccds=ccds))
    with device.installed() if on == "0" else nullcontext():
        (stamps, _, _), outcomes = read(night, drawn, settings, select(on))
    (failed,) = [o for o in outcomes if isinstance(o, gpuanom.records.Failure)]
    n = dict(ccds)[second]
    expected = f"CCD {second} has {n - 1} sources and had {n} when it was measured (its files have changed: score them"
    assert failed.reason == f"{exposure.files[0]}: {expected} again)"
    assert len(stamps) == 100 - counted(drawn)[drawn[at].candidate.key]


def test_files_that_are_gone(night, tmp_path):
    found, settings = candidates([night / "out"])
    (night / "in").rename(night / "away")
    try:
        with pytest.raises(InputError, match="none of the drawn stamps could be read"):
            read(night, draw(found, 100, 0.25, 1), settings, select("cpu"))
    finally:
        (night / "away").rename(night / "in")


def test_odd_stamps_are_left_out(night, monkeypatch):
    found, settings = candidates([night / "out"])
    drawn = draw(found, 100, 0.25, 1)
    backend = select("cpu")
    cut = type(backend).stamps
    spoilt = iter([(0, float("nan")), (0, -1e6)])

    def spoiling(self, *arguments):
        stamps = cut(self, *arguments)
        if (odd := next(spoilt, None)) is not None:
            stamps[odd[0], 3, 3] = odd[1]
        return stamps

    monkeypatch.setattr(type(backend), "stamps", spoiling)
    (stamps, validation, left_out), _ = read(night, drawn, settings, backend, threads=1)
    assert left_out == 2
    assert len(stamps) == len(validation) == 98


def test_nights_that_do_not_fit_together(night, tmp_path):
    with pytest.raises(OutputError, match="there is no such store"):
        candidates([tmp_path])
    gpuanom.score(night / "in", tmp_path / "other", settings=made.QUICK.replace(threshold=10.0), device="cpu")
    with pytest.raises(OutputError, match=r"other settings than .*threshold"):
        candidates([night / "out", tmp_path / "other"])
    once, _ = candidates([night / "out"])
    twice, _ = candidates([night / "out", night / "out"])
    assert [c.key for c in once] == [c.key for c in twice]
