"""Nights that are scored, merged and forgotten in tests."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from astropy.io import fits

import gpuanom
from gpuanom.store.store import NAME
from tests import nights

SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, simulations=200)
PLAIN = SETTINGS.replace(statistics=False)
"""Without the statistics of METHOD.md Part II, for tests of ids and paths."""
NIGHTS = (("n1", ()), ("n2", ("n1/exposure_002.fits",)), ("n3", ()))
"""The nights of most tests, and what they hold beside their folders."""
CSV = {"formats": "csv", "device": "cpu"}
"""Tables as CSV, which takes half the time of ECSV."""


def score(inputs, folder, settings=PLAIN):
    return gpuanom.score(inputs, folder, settings=settings, **CSV)


def merge(inputs, folder, say=lambda _line: None, **options):
    gpuanom.merge_nights(inputs, folder, say=say, **CSV, **options)
    return nights.tables(folder)


def forget(survey, what, **options):
    lines = []
    gpuanom.forget_nights(survey, what, device="cpu", say=lines.append, **options)
    return lines


def ids(folder):
    return sorted(file_of(folder))


def file_of(folder):
    """The first file of each exposure."""
    with (folder / "exposures.csv").open() as rows:
        return {row["exposure"]: Path(row["file"]) for row in csv.DictReader(rows)}


def by_file(folder, seed):
    path = nights.write(folder, seed, name="img0.fits", ccds=1)
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["EXPNUM"]
    return path


def rows(folder):
    """All rows of a store."""
    with closing(sqlite3.connect(folder / NAME)) as db:
        return list(db.iterdump())


def moved(tmp_path):
    """A night that was scored on one disk, and whose images lie on another one now."""
    disk1, disk2 = tmp_path / "disk1", tmp_path / "disk2"
    for number in (1, 2):
        nights.write(disk1 / "n", number, ccds=1)
    score(disk1 / "n", tmp_path / "o_n")
    shutil.move(disk1, disk2)
    return disk1, disk2
