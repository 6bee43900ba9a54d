"""The digest of a compiled loop: the same in every installation, and another one where the machine code is."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from gpuanom.loops import cache, compile_ahead
from gpuanom.loops.digest import digest
from gpuanom.native import native

ROOT = Path(__file__).parent.parent
PROGRAM = f"""
import importlib, json, sys
for name in {compile_ahead.MODULES}:
    importlib.import_module("gpuanom." + name)
from gpuanom.loops.digest import digest
from gpuanom.native import native
def holds_a_set(x):
    return x in {{"north", "south", "east", "west"}}
json.dump([digest(holds_a_set), *(digest(loop._function) for loop in native.made)], sys.stdout)
"""
"""Digests of all loops, and of a function with a set, whose order each process chooses anew."""


def test_every_loop_has_a_digest_of_its_own():
    """Loops of one function for several types of pixels have one digest: Numba tells these apart by their types."""
    for name in compile_ahead.MODULES:
        importlib.import_module(f"gpuanom.{name}")
    made = [loop for loop in native.made if loop.module.removeprefix("gpuanom.") in compile_ahead.MODULES]
    found = {(digest(loop._function), str(loop._signature)) for loop in made}
    assert len(found) == len(made) > 50


def digests_of(folder, seed):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, cwd=folder, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_other_installations_and_other_processes_have_the_same_digests(tmp_path):
    shutil.copytree(ROOT / "gpuanom", tmp_path / "gpuanom", ignore=shutil.ignore_patterns("__pycache__"))
    assert digests_of(ROOT, "1") == digests_of(tmp_path, "2")


def loop(body, arguments="x", **around):
    """A function as a module would hold it, with what is around it."""
    names = {"__name__": "gpuanom.fits.decoding.rice", "np": np, **around}
    exec(f"def loop({arguments}):\n    return {body}\n", names)
    function = names["loop"]
    assert isinstance(function, FunctionType)
    return function


def helper(body, **around):
    """The same, for a function that only loops call."""
    from gpuanom.native import helper as decorate

    return decorate(loop(body, **around))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (loop("x + 1"), loop("x + 2")),
        (loop("x + 1"), loop("x - 1")),
        (loop("x + y", "x, y=1"), loop("x + y", "x, y=2")),
        (loop("x in {'a', 'b'}"), loop("x in {'a', 'c'}")),
        (loop("x + LEAST", LEAST=20.0), loop("x + LEAST", LEAST=21.0)),
        (loop("x + LEAST", LEAST=20.0), loop("x + LEAST", LEAST=20)),
        (loop("x + LEAST", LEAST=np.float32(20)), loop("x + LEAST", LEAST=np.float64(20))),
        (loop("x + LEAST", LEAST=0.0), loop("x + LEAST", LEAST=-0.0)),
        (loop("x[PLACES]", PLACES=np.arange(4)), loop("x[PLACES]", PLACES=np.arange(4)[::-1])),
        (loop("x[PLACES]", PLACES=(1, 2)), loop("x[PLACES]", PLACES=(1, (2,)))),
        (loop("[i + LEAST for i in x]", LEAST=1), loop("[i + LEAST for i in x]", LEAST=2)),
        (loop("called(x)", called=helper("x + 1")), loop("called(x)", called=helper("x + 2"))),
        (loop("called(x)", called=helper("x + A", A=1)), loop("called(x)", called=helper("x + A", A=2))),
    ],
)
def test_what_a_loop_uses_changes_the_digest_wherever_that_is_written(one, other):
    """A number that another file gives is part of the machine code, as are the functions that the loop calls."""
    assert digest(one) != digest(other)


def test_what_is_around_a_loop_without_being_used_changes_nothing():
    one, other = loop("x + LEAST", LEAST=1), loop("x + LEAST", LEAST=1, MOST=3)
    assert digest(one) == digest(other)
    with_lines = FunctionType(one.__code__.replace(co_firstlineno=99, co_filename="elsewhere.py"), one.__globals__)
    assert digest(with_lines) == digest(one)


@pytest.mark.parametrize("unknown", [[1, 2], {"a": 1}, cache, cache.FunctionFiles, print, loop("x")])
def test_what_no_digest_can_tell_is_refused(unknown):
    with pytest.raises(TypeError, match="a compiled loop uses"):
        digest(loop("x + UNKNOWN", UNKNOWN=unknown))


def test_files_of_earlier_states_are_forgotten_but_for_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    named = tmp_path / "gpuanom.fits.decoding.rice"
    named.mkdir()
    for age in range(6):
        for suffix in ("lock", "py311.nbi", "py311.1.nbc"):
            path = named / f"test_loop_digest.rice-state{age}.{suffix}"
            path.touch()
            os.utime(path, (1e9 - age, 1e9 - age))
    other = named / "test_loop_digest.rice_of_another-state9.py311.nbi"
    other.touch()

    def rice(x):
        return x

    rice.__module__, rice.__qualname__ = "gpuanom.fits.decoding.rice", "rice"
    files = cache.FunctionFiles(rice)
    own = named / f"{files._impl.filename_base}.nbi"
    own.touch()
    files._forget_earlier_states()
    left = sorted(path.name for path in named.iterdir())
    kept = [
        f"test_loop_digest.rice-state{age}.{suffix}"
        for age in range(3)
        for suffix in ("lock", "py311.1.nbc", "py311.nbi")
    ]
    assert left == sorted([*kept, other.name, own.name])
