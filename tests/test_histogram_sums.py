"""The compiled sums over a survey's histograms are those of NumPy, to the last bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpuanom.records import KINDS, Dataset
from gpuanom.scoring.histograms.divergences import histograms_of
from gpuanom.scoring.histograms.reference import Reference


@pytest.fixture(scope="module")
def dataset():
    """An exposure without CCDs, CCDs without counts, and counts whose sums need 64 bits."""
    rng = np.random.default_rng(4)
    owner = np.repeat([0, 1, 3, 4], [61, 3, 61, 1])
    counts = rng.poisson(20.0, (owner.size, len(KINDS), 18)).astype(np.int32)
    counts[5] = counts[70, 2] = 0
    counts[7, 1] = np.iinfo(np.int32).max
    sums = np.zeros((owner.size, len(KINDS)))
    return Dataset("camera", "r", tuple("abcde"), owner, counts, sums, sums)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_compiled_sums_are_those_of_numpy(dataset, kind, monkeypatch):
    def of(found):
        histograms, owner, n = histograms_of(found, kind)
        counts = found.counts[:, kind]
        return [found.totals, histograms, owner, n], Reference.of(counts, counts.sum(axis=1)), Reference.of(counts)

    expected, *references = of(dataset)
    monkeypatch.setattr("gpuanom.records.measurements._MANY", 0)
    made, *compiled = of(dataclasses.replace(dataset))
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for found, wanted in zip(compiled, references, strict=True):
        assert dataclasses.astuple(found)[::3] == dataclasses.astuple(wanted)[::3]
        assert found.shares.tobytes() == wanted.shares.tobytes()
        np.testing.assert_array_equal(found.counts, wanted.counts)
    np.testing.assert_array_equal(made[0].sum(axis=0), dataset.counts.sum(axis=(0, 2), dtype=np.int64))
