"""A survey is scored by threads, blocks and compiled loops; its tables have the bytes that a night's way gives."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import gpuanom
from gpuanom import digits
from gpuanom.records import measurements, texts
from gpuanom.scoring.evidence import evidence, regression
from gpuanom.scoring.judged import ccd_grid
from gpuanom.store.store import NAME, Store
from gpuanom.tables import as_table, ecsv, joined_columns, parquet, statistic_columns, writing
from profiling import synthetic_survey

CCDS = 7
LIMITS = [
    (as_table, "MANY"),
    (ccd_grid, "MANY"),
    (digits, "_MANY"),
    (ecsv, "MANY"),
    (measurements, "_MANY"),
    (evidence, "_AT_ONCE"),
    (evidence, "_IN_CACHE"),
    (joined_columns, "MANY"),
    (parquet, "MANY"),
    (regression, "_MANY"),
    (statistic_columns, "MANY"),
    (texts, "MANY"),
]
"""From these numbers on a survey takes its own way."""
FEW = 40
"""Fewer than the CCDs of a dataset below, so that a dataset has several blocks."""


def dead(ccd):
    """The record of a CCD that holds nothing to measure."""
    nothing = np.zeros_like(ccd.counts)
    return replace(
        ccd, status="constant", reason="all pixels are 0", counts=nothing, cosine=0.0 * ccd.cosine, sine=0.0 * ccd.sine,
        n_sources=0, n_isophote=0, n_gradients=0, statistics=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A store of 120 exposures in two bands, each with a dead CCD; three exposures stand out."""
    folder, settings, rng = tmp_path_factory.mktemp("survey"), gpuanom.Settings(), np.random.default_rng(3)
    with Store(folder / NAME, settings) as store:
        for band, first in (("g", 0), ("r", 1000)):
            for i, one in enumerate(synthetic_survey.measurements(band, first, 60, settings, rng, CCDS)):
                ccds = (*one.ccds[:-1], dead(one.ccds[-1]))
                if i % 25 == 7:
                    odd = ccds[2].statistics
                    ccds = (*ccds[:2], replace(ccds[2], statistics=replace(odd, values=5 * odd.values)), *ccds[3:])
                store.add(replace(one, ccds=ccds))
        synthetic_survey.keep_pattern_values(store, settings, rng, CCDS)
    return folder


def scored(survey, folder):
    """The bytes of the tables that are made of a copy of the store."""
    shutil.copytree(survey, folder)
    night = gpuanom.score((), folder, device="cpu", formats=["ecsv", "csv", "parquet"])
    tables = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != NAME[NAME.index(".") :]}
    return tables, night.left_out


def test_the_tables_are_those_of_a_night(survey, tmp_path, monkeypatch):
    expected, left_out = scored(survey, tmp_path / "night")
    assert {"exposures.ecsv", "ccds.ecsv", "exposures.csv", "ccds.csv", "ccds.parquet"} <= set(expected)
    assert [(group.status, group.n_ccds, group.n_exposures) for group in left_out] == [("constant", 120, 120)]
    for module, name in LIMITS:
        assert getattr(module, name) > FEW
        monkeypatch.setattr(module, name, FEW)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    found, again = scored(survey, tmp_path / "survey")
    assert found == expected
    assert again == left_out
    assert writing.LARGE > FEW  # formats were asked for by name: this limit chooses among them
