"""Planted mistakes: the check that exists for each mistake notices it. This is a test of the tests."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.device.mistakes import MISTAKES, UNSET, make

USUAL = ("read_past_the_end", "no_barrier")
"""A mistake for each sanitizer; the others are proofs, since a process takes seconds to start under a sanitizer."""


def _those(*flavours):
    return [
        pytest.param(
            mistake,
            number,
            id=f"{mistake.name}-{number}",
            marks=pytest.mark.proof if mistake.by in ("address", "thread") and mistake.name not in USUAL else (),
        )
        for number, mistake in enumerate(MISTAKES)
        if mistake.by in flavours
    ]


@pytest.mark.parametrize(("mistake", "number"), _those("fast", "counted"))
def test_noticed(mistake, number, monkeypatch):
    from cpudevice import settings

    monkeypatch.setattr(settings, "flavour", mistake.by)
    if mistake.message == UNSET:
        result = make(mistake)
        assert np.any(np.isnan(result) | (result < -1e38)), result
        return
    with pytest.raises((RuntimeError, TypeError), match=mistake.message):
        make(mistake)


@pytest.mark.parametrize(("mistake", "number"), _those("address", "thread"))
def test_noticed_by_a_sanitizer(mistake, number, sanitizer):
    done = sanitizer(mistake.by, ["-m", "tests.device.mistakes", str(number)], orders="forward")
    assert done.returncode != 0, done.stdout
    assert "nothing noticed" not in done.stdout
    assert re.search(mistake.message, done.stdout + done.stderr), done.stderr


def test_every_kernel_of_mistakes_is_among_them():
    from pathlib import Path

    from cpudevice.build import declarations

    declared = {d.name for d in declarations((Path(__file__).parent / "mistakes.cu").read_text())}
    assert declared == {mistake.name for mistake in MISTAKES}


def test_after_a_mistake_the_device_still_works():
    """A kernel that ended in a fault leaves no fibers, signal handlers or streams behind."""
    import cupy

    from tests.device import demo

    for mistake in MISTAKES[:1] * 3:
        with pytest.raises(RuntimeError):
            make(mistake)
    kernels = demo.module("demo.cu")
    demo.lanes(kernels.get_function("lanes"))
    assert cupy.cuda.Stream.null.done
