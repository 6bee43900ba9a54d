"""Headers that gpuanom scans have the same cards as when astropy reads them."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.column import KEYWORD_NAMES
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.fits import discover, open_ccds
from gpuanom.fits.headers.scanned import OF_COLUMNS, CompressedImageHeader, ScannedHeader, find_end
from gpuanom.fits.headers.values import card
from gpuanom.fits.opening.file import File
from gpuanom.records import Ccd

ODD = [
    "FLOAT   = 1.5D3 / double",
    "SHORT   = 12",
    "NEGATIVE= -.5E-3",
    "TEXT    = 'it''s'",
    "EMPTY   = ''",
    "BLANKS  = '   '",
    "NOTHING =",
    "NOVALUE =                      / why",
    "BAD     = 12 abc",
    "LOWER   = t",
    "BOOL    =                    T/x",
    "COMPLEX = (1.0, 2.0)",
    "HIERARCH ESO OBS ID = 17 / long",
    "DP1     = 'AXIS.1: 2'",
    "lower   = 3",
    "SPACES  =   7   ",
    "LEADING = 007",
    "PLUS    = +5",
    "BIG     = 123456789012345678901234567890",
    "OPEN    = 'no end",
    "COLON   = '12:30: 5'",
    "DUP     = 1",
    "DUP     = 2",
    "LONG    = 'first&'",
    "CONTINUE  ' second'",
    "SLASH   = 'a/b' / c",
    "NODATA",
    "AFTER   = 'x' y",
    "UNDER_-1= 3",
    "DOT     = 5.",
    "EXP     = 1e5",
    "NOSPACE =5",
]


def values(header, keywords):
    return {keyword: card(header, keyword) for keyword in keywords}


def same(ours, theirs):
    """Whether two values are equal and of the same type."""
    return {k: (type(v), repr(v)) for k, v in ours.items()} == {k: (type(v), repr(v)) for k, v in theirs.items()}


def both(lines):
    text = "".join(line.ljust(80) for line in [*lines, "END"]).encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ScannedHeader(text), fits.Header.fromstring(text)


@pytest.mark.parametrize("line", ODD)
def test_odd_cards(line):
    """Each odd card stands beside a plain card, which must be read correctly."""
    ours, theirs = both(["PLAIN   = 'yes'", line])
    keywords = {line[:8].strip(), line[:8].strip().upper(), "PLAIN", "ESO OBS ID", "DP1.AXIS.1", "ABSENT"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keywords -= {"CONTINUE", "HIERARCH", "NODATA"}
        assert same(values(ours, keywords), values(theirs, keywords))


def test_all_odd_cards_together():
    ours, theirs = both([line for line in ODD if not line.startswith(("NODATA", "lower"))])
    keywords = {line[:8].strip() for line in ODD} - {"CONTINUE", "HIERARCH", "NODATA", "lower"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same(values(ours, keywords), values(theirs, keywords))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70))
def test_any_value(text):
    ours, theirs = both([f"KEY     = {text}"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same(values(ours, ["KEY"]), values(theirs, ["KEY"]))


@pytest.mark.parametrize("unusual", [False, True])
def test_a_part_of_a_header_has_the_same_values(unusual):
    lines = [line for line in ODD if unusual or not line.startswith("lower")]
    whole, _ = both(lines)
    assert whole.unusual == unusual
    keywords = ["LONG", "DUP", "BAD", "ABSENT", "UNDER_-1", "SLASH"]
    part = ScannedHeader(whole.part(tuple(keyword.ljust(8) for keyword in keywords)).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same(values(part, keywords), values(whole, keywords))
        assert ("FLOAT" in part) == unusual  # of an unusual header the part is the whole


def test_the_end_is_a_card():
    text = b"A       = 'END".ljust(80) + b"END     x".ljust(80) + b" " * 3 + b"END".ljust(157) + b"END".ljust(80)
    assert find_end(text, 0, len(text)) == len(text)
    assert find_end(text, 0, len(text) - 1) == -1


def test_a_broken_card_does_not_keep_others_from_being_listed():
    """Found by tests.fuzz_score: the MP_ cards of a mask are searched for among all cards."""
    cards = ("XTENSION= 'BINTABLE'", "ZIMAGE  =                    T", "MP_BAD  = \x1b[31m", "MP_SAT  = 3")
    header = CompressedImageHeader(ScannedHeader("".join(c.ljust(80) for c in (*cards, "END")).encode()))
    assert [keyword for keyword in header if keyword.startswith("MP_")] == ["MP_BAD", "MP_SAT"]
    assert (card(header, "MP_BAD"), card(header, "MP_SAT")) == (None, 3)


@pytest.mark.real
def test_every_value_of_every_real_header_is_astropys(real_data, all_fits):
    count = 0
    for path in all_fits(real_data):
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path) as hdus:
                for hdu in hdus:
                    place = hdu.fileinfo()
                    header = ScannedHeader(raw[place["hdrLoc"] : place["datLoc"]])
                    image = CompressedImageHeader(header) if isinstance(hdu, fits.CompImageHDU) else header
                    # Astropy adds EXTEND to a primary header that has none.
                    keywords = set(hdu.header) - {"COMMENT", "HISTORY", "", "EXTEND"} | {"NAXIS3", "BLANK", "ABSENT"}
                    assert same(values(image, keywords), values(hdu.header, keywords)), path
                    assert all((k in image) == (k in hdu.header) for k in keywords - {"EXTEND"}), path
                    count += len(keywords)
    assert count > 30_000


def test_no_file_stays_open(write, settings):
    """No file is closed explicitly: a file closes when the last of its CCDs is released."""
    path = write("a.fits", (np.zeros((70, 80), np.float32), {"EXTNAME": "C1"}))
    (exposure,) = discover([path], settings).exposures
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    for _ in range(200):
        (item,) = open_ccds(exposure, settings)
        assert isinstance(item.load(), Ccd)
    assert len(list(folder.iterdir())) <= before + 1


def test_a_file_that_is_cut_off_while_it_is_open(write, settings):
    """Reading mapped pages that the file has lost would end the process."""
    path = write("a.fits", (np.zeros((300, 400), np.float32), {"EXTNAME": "C1"}))
    (exposure,) = discover([path], settings).exposures
    (item,) = open_ccds(exposure, settings)
    os.truncate(path, 8000)
    failure = item.load()
    assert (failure.status, "cut off while it was open" in failure.reason) == ("corrupt", True)


def test_listing_reads_no_pixels(write, settings, monkeypatch):
    path = write("a.fits", (np.zeros((70, 80), np.float32), {"EXTNAME": "C1"}))
    (exposure,) = discover([path], settings).exposures
    monkeypatch.setattr(File, "check", lambda *_: pytest.fail("pixels were looked at"))
    (item,) = open_ccds(exposure, settings)
    assert (item.name, item.shape) == ("C1", (70, 80))


@pytest.mark.parametrize("where", ["nowhere", "full"])
def test_without_a_cache_it_still_reads(tmp_path, write, where):
    """Compiled code that cannot be kept is compiled again, without any message."""
    path = write("a.fits", (np.arange(5600, dtype=np.float32).reshape(70, 80), {"EXTNAME": "C1"}))
    program = f"""
import pathlib, resource
from gpuanom.fits import discover, read_ccds
from gpuanom.settings import Settings
(exposure,) = discover([{str(path)!r}], Settings()).exposures
if {where == "full"}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
(ccd,) = read_ccds(exposure, Settings())
print(ccd.image.sum())
"""
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    cache = {"nowhere": str(nowhere / "below"), "full": str(tmp_path / "cache")}[where]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    assert float(done.stdout) == np.arange(5600, dtype=np.float32).sum()


def test_the_keywords_of_columns_are_those_of_astropy():
    assert set(OF_COLUMNS) == set(KEYWORD_NAMES)


LONG = (
    *("EXPOSURE_ID", "DPR TYPE", "ESO OBS ID", "OBS ID", "ESO  OBS", "TEL NAME", "TEL FOCU SCALE", "MIXED CASE"),
    *("DP1.AXIS.1", "A B", "HIERARCH ESO OBS ID", "COMMENT", "HISTORY", ""),
)
"""Keywords that are no plain ones: long, with blanks, or of astropy's own kinds."""
HEADERS = {
    "plain": ["OBSERVER= 'me'", "EXPOSURE= 3"],
    "hierarch": ["HIERARCH ESO OBS ID = 17", "HIERARCH EXPOSURE_ID = 'x'", "HIERARCH TEL FOCU SCALE = 0.2"],
    "mixed case": ["HIERARCH Mixed Case = 5", "HIERARCH eso obs id = 6"],
    "blanks": ["A B     = 4", "DPR TYPE= 'sky'"],
    "record": ["DP1     = 'AXIS.1: 2'", "COMMENT a word", "HISTORY EXPOSURE_ID"],
    "unusual": ["lower   = 3", "HIERARCH EXPOSURE_ID = 'x'"],
}


@pytest.mark.parametrize("kind", HEADERS)
def test_long_keywords_are_found_as_by_astropy(kind):
    text = "".join(line.ljust(80) for line in [*HEADERS[kind], "END"]).encode()
    header, expected = ScannedHeader(text), fits.Header.fromstring(text)
    for keyword in LONG:
        assert str(header.get(keyword, "none")) == str(expected.get(keyword, "none")), keyword
        assert (keyword in header) == (keyword in expected), keyword


def test_warnings_of_astropy_are_ignored_also_where_astropy_is_imported_meanwhile():
    """The outer block begins before astropy is imported, the inner one after; afterwards warnings are as before."""
    program = """
import sys, warnings
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
before = list(warnings.filters)
with ignore_astropy_warnings():
    assert "astropy" not in sys.modules
    from astropy.utils.exceptions import AstropyWarning
    with ignore_astropy_warnings():
        warnings.warn("inside", AstropyWarning)
    warnings.warn("still inside", AstropyWarning)
assert not any(filter[2] is AstropyWarning for filter in warnings.filters)
warnings.warn("outside", AstropyWarning)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "outside" in done.stderr
    assert "inside" not in done.stderr.replace("outside", "")
