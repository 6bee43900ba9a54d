"""The search of folders: each linked folder is followed once, and unreadable files and folders are named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.fits.discover import discover
from gpuanom.fits.exposures.inputs import NotFollowedError, expand
from gpuanom.settings import Settings

SMALL = np.arange(12.0, dtype=np.float32).reshape(3, 4)


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(SMALL).writeto(path)
    return path


def found(*inputs):
    """The files below the inputs, and the lines about everything else."""
    items = list(expand(inputs))
    errors = [item for item in items if isinstance(item, gpuanom.InputError)]
    return sorted(str(item) for item in items if isinstance(item, Path)), [str(error) for error in errors]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_linked_folder_is_followed_with_all_that_is_below_it(here):
    write(here / "disk7" / "20260101" / "ccds" / "a.fits")
    write(here / "disk7" / "20260101" / "b.fits")
    (here / "tonight").mkdir()
    (here / "tonight" / "20260101").symlink_to("../disk7/20260101")
    (here / "link").symlink_to("tonight")
    for folder in ("tonight", "link"):
        assert found(folder) == ([f"{folder}/20260101/b.fits", f"{folder}/20260101/ccds/a.fits"], [])


def test_every_real_folder_is_searched_once_under_its_own_path(here):
    write(here / "night" / "real" / "a.fits")
    for name in ("a_link", "z_link"):
        (here / "night" / name).symlink_to("real")
    (here / "night" / "real" / "again").symlink_to(".")
    (here / "night" / "real" / "up").symlink_to("..")
    assert found("night") == (["night/real/a.fits"], [])
    # Two inputs may well name the same file twice; it is still one exposure.
    (exposure,) = discover(["night", "night/a_link", "night/real/a.fits"], Settings()).exposures
    assert [str(file) for file in exposure.files] == ["night/a_link/a.fits"]


def test_a_link_to_a_folder_above_is_not_followed_and_said(here):
    write(here / "all" / "night" / "a.fits")
    write(here / "all" / "other" / "b.fits")
    (here / "all" / "night" / "up").symlink_to("..")
    files, lines = found("all/night")
    assert files == ["all/night/a.fits"]
    assert lines == ["all/night/up: is a link back to a folder above; it is not followed"]
    assert any(isinstance(item, NotFollowedError) for item in expand(["all/night"]))
    result = discover(["all/night"], Settings())
    assert result.failures == ()
    assert [str(skipped.path) for skipped in result.skipped] == ["all/night/up"]


def test_links_between_linked_folders_end(here):
    for name, other in (("p", "q"), ("q", "p")):
        write(here / "disk" / name / f"{name}.fits")
        (here / "disk" / name / "other").symlink_to(f"../{other}")
    (here / "night").mkdir()
    (here / "night" / "p").symlink_to("../disk/p")
    assert found("night") == (["night/p/other/q.fits", "night/p/p.fits"], [])


def test_broken_links_are_named_each_in_a_line(here):
    write(here / "night" / "a.fits")
    for name in ("20260101", "b.fits", "loop", "notes.txt", ".hidden"):
        (here / "night" / name).symlink_to(name if name == "loop" else "../gone")
    files, lines = found("night", "night/b.fits")
    assert files == ["night/a.fits"]
    assert sorted(line.partition(":")[0] for line in lines) == [
        "night/20260101", "night/b.fits", "night/b.fits", "night/loop",
    ]  # fmt: skip
    for line in lines:
        assert "is a link to " in line
        assert "(mend or remove the link)" in line
    failures = discover(["night", "night/b.fits", "night/*.fits"], Settings()).failures
    assert sorted(failure.path.name for failure in failures) == ["20260101", "b.fits", "loop"]


def test_a_sub_folder_whose_listing_fails_is_named(here, monkeypatch):
    """As on a failing disk, or without permission; the failure is simulated, since the tests may run as root."""
    write(here / "night" / "a.fits")
    write(here / "night" / "sub" / "b.fits")
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("sub"):
            raise OSError(5, os.strerror(5))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    files, lines = found("night")
    assert files == ["night/a.fits"]
    assert lines == ["night/sub: folder cannot be read: Input/output error (check the disk that it lies on)"]
