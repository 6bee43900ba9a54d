"""While a long run measures on a CPU, what makes its tables is imported."""

from __future__ import annotations

import builtins
import sys

import pytest

import gpuanom
from gpuanom.loops.compile_ahead import MODULES
from gpuanom.measuring import threads
from gpuanom.tables import import_ahead as ahead
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


def test_a_broken_library_costs_nothing_yet_and_threads_change_as_before(monkeypatch):
    before, short = sys.getswitchinterval(), []

    def broken(name, *arguments, whole=builtins.__import__, **options):
        if name == "gpuanom.tables":
            short.append(sys.getswitchinterval())
            raise ImportError("no SciPy")
        return whole(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", broken)
    ahead.import_tables()
    monkeypatch.undo()
    assert short == [pytest.approx(ahead.SHORT)]
    assert sys.getswitchinterval() == before


def test_what_the_datasets_of_a_survey_need_is_imported_and_may_be_missing(monkeypatch):
    imported = []

    def without_scipy(name):
        imported.append(name)
        if name == "scipy.special":
            raise ImportError("no SciPy")

    monkeypatch.setattr(ahead.importlib, "import_module", imported.append)
    ahead.import_loops()
    assert imported[0] == "scipy.special"
    assert {"gpuanom.records.histogram_sums", "gpuanom.scoring.judged.exposure_loops"} < set(imported)
    assert {name.removeprefix("gpuanom.") for name in imported[1:]} < set(MODULES)
    monkeypatch.setattr(ahead.importlib, "import_module", without_scipy)
    ahead.import_loops()  # the error is raised where SciPy is used


@pytest.mark.parametrize("model", [False, True])
def test_a_long_run_imports_ahead(tmp_path, monkeypatch, model):
    called = []
    monkeypatch.setattr("gpuanom.nights.new_exposures.import_tables", lambda: called.append(True))
    monkeypatch.setattr(threads, "LONG", 2)
    nights.night(tmp_path / "in", exposures=3, ccds=2)
    given = {}
    if model:
        from gpuanom.autoencoder.model import save
        from tests.autoencoder import made

        save(made.model(), tmp_path / "model.pt")
        given = {"model": tmp_path / "model.pt"}
    gpuanom.score(tmp_path / "in", tmp_path / "out", settings=QUICK, device="cpu", **given)
    assert called
