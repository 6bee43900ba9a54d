"""Lists of inputs as users write them, and file names in the form of other tools."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.fits.exposures.input_lists import with_streams_read
from gpuanom.fits.exposures.inputs import expand
from tests import nights

SMALL = np.arange(12.0, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder that contains two images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in ("a.fits", "b c.fits"):
        fits.PrimaryHDU(SMALL).writeto(tmp_path / name)
    return tmp_path


def files(*inputs):
    return sorted(str(item) for item in expand(inputs))


BOTH = ["a.fits", "b c.fits"]
TEXTS = {
    "plain": b"a.fits\nb c.fits\n",
    "no end": b"a.fits\nb c.fits",
    "comments": b"# tonight\n\n  a.fits\n   \n# b.fits\n\tb c.fits \n",
    "byte-order mark": b"\xef\xbb\xbfa.fits\nb c.fits\n",
    "CRLF": b"a.fits\r\nb c.fits\r\n",
    "old Macintosh": b"a.fits\rb c.fits\r",
    "mark and CRLF": b"\xef\xbb\xbf# tonight\r\na.fits\r\nb c.fits\r\n",
    "UTF-16": "a.fits\r\nb c.fits\r\n".encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + "a.fits\nb c.fits\n".encode("utf-16-be"),
    "quotes": b"'a.fits'\n\"b c.fits\"\n",
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_list_as_any_editor_writes_it(here, what):
    (here / "list.txt").write_bytes(TEXTS[what])
    assert files("@list.txt") == BOTH


def test_a_list_counts_from_its_own_folder_and_home_is_known(here):
    (here / "lists").mkdir()
    (here / "lists" / "list.txt").write_text("../a.fits\n@../home/more.txt\n~/d.fits\n")
    (here / "home" / "more.txt").write_text("../b c.fits\n")
    fits.PrimaryHDU(SMALL).writeto(here / "home" / "d.fits")
    wanted = [f"{here}/home/d.fits", "lists/../a.fits", "lists/../home/../b c.fits"]
    assert files("@lists/list.txt") == wanted
    (here / "home" / "list.txt").write_text("d.fits\n")
    assert files("@~/list.txt", "~/*.fits", Path("~/d.fits"), "~") == [f"{here}/home/d.fits"] * 4
    assert files(f"file://{here}/b%20c.fits") == [f"{here}/b c.fits"]


WRONG = {
    "list.txt": ("text file", "did you mean @list.txt"),
    "list.lst": ("text file", "did you mean @list.lst"),
    "files": ("text file", "did you mean @files"),
    "@a.fits": ("not text", "without @"),
    "@sub": ("list is a folder", "without @"),
    "-": ("names no file", "@-"),
    "s3://bucket/night/a.fits": ("address", "copy"),
    "gs://bucket/*.fits": ("address", "copy"),
    "https://example.org/a.fits": ("address", "copy"),
    "http://example.org/a.fits[1]": ("address", "copy"),
    "a.fits[1]": ("part of a file", "give a.fits alone"),
    "a.fits[SCI,1]": ("part of a file", "give a.fits alone"),
    "a.fits[1][1:100,1:100]": ("part of a file", "give a.fits alone"),
    "a.fits+1": ("does not exist", "give a.fits alone"),
    "$NIGHT/a.fits": ("does not exist", "variables"),
    "a.fits,b c.fits": ("does not exist", "separate"),
    "gone.fits": ("does not exist", "check the path"),
    "~nobody-of-this-name/a.fits": ("does not exist", "check the path"),
    "@gone.txt": ("cannot be read", "check the path after @"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_names_no_file_has_one_line_with_its_remedy(here, name):
    for listed in ("list.txt", "list.lst", "files"):
        (here / listed).write_text("a.fits\nb c.fits\n")
    (here / "sub").mkdir()
    (error,) = expand([name])
    assert isinstance(error, gpuanom.InputError)
    reason, remedy = WRONG[name]
    assert reason in error.reason
    assert remedy in error.remedy
    assert "\n" not in str(error)


def test_a_path_that_counts_from_elsewhere_than_its_list_is_told(here):
    (here / "lists").mkdir()
    (here / "lists" / "list.txt").write_text("a.fits\n")
    (error,) = expand(["@lists/list.txt"])
    assert "paths in a list are relative to the list's folder" in str(error)


def test_a_list_within_a_stream_and_an_empty_one(here, monkeypatch):
    (here / "list.txt").write_text("b c.fits\n")
    for name in ("@-", "@/dev/stdin"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa.fits\r\n@list.txt\r\n")))
        # A pipe can be read only once, but a run looks at its inputs more than once.
        inputs = with_streams_read(["gone.fits", name])
        assert inputs == ["gone.fits", "a.fits", "@list.txt"]
        assert files(*inputs[1:]) == files(*inputs[1:]) == BOTH
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        (error,) = expand(with_streams_read([name]))
        assert str(error) == "standard input: list names no file (one path a line)"
        monkeypatch.setattr(sys, "stdin", None)
        (error,) = expand(with_streams_read([name]))
        assert "list names no file" in str(error)


@pytest.mark.parametrize("command", ["score", pytest.param("watch", marks=pytest.mark.proof)])
@pytest.mark.parametrize(
    "how",
    [
        "ls *.fits | {} @-",
        "{} @<(ls *.fits)",
        pytest.param("ls *.fits | {} @/dev/stdin", marks=pytest.mark.proof),
        pytest.param("{} @- <l.txt", marks=pytest.mark.proof),
    ],
)
def test_a_list_comes_through_a_pipe(tmp_path, command, how):
    nights.night(tmp_path, exposures=2, ccds=1)
    (tmp_path / "l.txt").write_text("exposure_001.fits\nexposure_002.fits\n")
    more = "--once --settle 0" if command == "watch" else ""
    line = f"{sys.executable} -m gpuanom {command} -q -o out --device cpu --points 300 {more}"
    done = subprocess.run(["bash", "-c", how.format(line)], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "exposures.ecsv").read_text().count(" ok ") == 2
