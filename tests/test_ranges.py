"""NVTX ranges: what a profiler sees, and that nothing is lost without a profiler."""

from __future__ import annotations

import sys
import timeit
from types import SimpleNamespace

import pytest

from gpuanom import nvtx as ranges


@pytest.fixture(autouse=True)
def forgotten():
    ranges.named.cache_clear()
    yield
    ranges.named.cache_clear()


class Domain:
    def __init__(self):
        self.told = []

    def get_event_attributes(self, message):
        return message

    def push_range(self, attributes):
        self.told.append(attributes)

    def pop_range(self):
        self.told.append("end")


def test_ranges_are_told_to_the_profiler_and_nest(monkeypatch):
    domains = {}
    nvtx = SimpleNamespace(get_domain=lambda name: domains.setdefault(name, Domain()))
    monkeypatch.setitem(sys.modules, "nvtx", nvtx)
    with ranges.named("exposure"), ranges.named("upload"), ranges.named("upload"):
        pass
    assert list(domains) == ["gpuanom"]
    assert domains["gpuanom"].told == ["exposure", "upload", "upload", "end", "end", "end"]


def test_a_range_ends_when_its_block_fails(monkeypatch):
    domain = Domain()
    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(get_domain=lambda _: domain))
    with pytest.raises(ValueError), ranges.named("read"):
        raise ValueError
    assert domain.told == ["read", "end"]


@pytest.mark.parametrize("nvtx", [None, SimpleNamespace()])
def test_without_a_working_nvtx_nothing_happens(monkeypatch, nvtx):
    monkeypatch.setitem(sys.modules, "nvtx", nvtx)
    with ranges.named("upload") as nothing:
        assert nothing is None


def test_the_real_nvtx_without_a_profiler():
    pytest.importorskip("nvtx", reason="needs the nvtx package: pip install nvtx")
    with ranges.named("upload"), ranges.named("upload"):
        pass
    assert ranges.named("upload") is ranges.named("upload")


def test_a_range_costs_next_to_nothing():
    """A stack of CCDs has about twenty ranges, each of which takes milliseconds."""

    def enter():
        with ranges.named("upload"):
            pass

    enter()
    assert min(timeit.repeat(enter, number=1000, repeat=5)) / 1000 < 20e-6
