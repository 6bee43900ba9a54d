"""What Python's interpreter executes for an exposure on a GPU: a count that other jobs of the machine do not change."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

PROFILING = Path(__file__).parents[2] / "profiling"
CCDS = 12, 24
"""Of the small exposures: stacks from which the threads that read take as many pieces."""
MOST = {"same": (890, 55_700), "wcs": (955, 57_300), "decam": (2160, 65_500)}
"""What the package may execute for a CCD, and for an exposure besides, by the headers of `bench_feed.py`: what was
counted and a tenth more. Whoever needs less lowers them; profiling/log/feeding-a-gpu.md tells what was counted when."""


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(PROFILING))
    names = "bench_feed", "instructions", "night_headers"
    yield [importlib.import_module(name) for name in names]
    for name in (*names, "scene"):
        sys.modules.pop(name, None)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python have other instructions")
@pytest.mark.parametrize("headers", MOST)
def test_the_host_spends_few_instructions_on_an_exposure_of_a_gpu(scripts, tmp_path, headers):
    """With the interpreter's lock held, of which every thread that feeds the GPU has to wait."""
    bench_feed, instructions, _ = scripts
    nights = [tmp_path / str(n) for n in CCDS]
    for folder, n_ccds in zip(nights, CCDS, strict=True):
        bench_feed.night(folder, range(4), n_ccds, bench_feed.SMALL, headers)
    few, many = (instructions.of_package(found["instructions"]) for found in instructions.counted(nights))
    of_ccd = (many - few) / (CCDS[1] - CCDS[0])
    besides = few - CCDS[0] * of_ccd
    most_of_ccd, most_besides = MOST[headers]
    assert (of_ccd < most_of_ccd, besides < most_besides) == (True, True), (of_ccd, besides)
