"""What may surprise an observer is said of each file by `gpuanom explain`, and once by `gpuanom score`."""

import tomllib

import numpy as np
import pytest

from gpuanom.fits import discover
from gpuanom.fits.explain import doubtful, explain
from gpuanom.nights.events import Events
from gpuanom.nights.found_files import tell_of_files
from gpuanom.settings import Settings

DATA = np.random.default_rng(1).normal(1000, 10, (20, 22)).astype(np.float32)
CARDS = {"INSTRUME": "MYCAM", "EXPNUM": 1001, "FILTER": "r", "DATE-OBS": "2026-01-01T00:30:00", "EXPTIME": 60.0}


def mycam(text):
    return Settings.from_mapping(tomllib.loads(f'[cameras.mycam]\nmatch = {{INSTRUME = "MYCAM"}}\n{text}\n'))


def said(paths, settings):
    """The lines of a run about its files."""
    lines = []
    tell_of_files(discover(paths, settings), Events(say=lines.append), settings)
    return lines


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("exposure", "RUNNO", "no card RUNNO for 'exposure'; EXPNUM tells the exposure"),
        ("band", "FILTNAMM:word", "no card FILTNAMM for 'band'"),
        ("date", "DATEBEG", "no card DATEBEG for 'date'"),
        ("exptime", "SHUTTER", "no card SHUTTER for 'exptime'"),
        ("ccd", "CHIP+AMP", "no card CHIP+AMP for 'ccd'"),
        ("saturation", "FULLWELL", "no card FULLWELL for 'saturation'"),
        ("trim", "SKYSEC", "no card SKYSEC for 'trim'; taken whole"),
        ("trim", "SKYSEC1+SKYSEC2", "no card SKYSEC1+SKYSEC2 for 'trim'; taken whole"),
    ],
)
def test_a_keyword_that_no_header_has_is_said_and_others_are_tried(write, key, value, line):
    paths = [write(f"{n}.fits", (DATA, {"EXTNAME": "C1"}), **CARDS | {"EXPNUM": n}) for n in (1001, 1002)]
    settings = mycam(f'{key} = ["{value}"]')
    account, plain = explain(paths, settings)[0], explain(paths, Settings())[0]
    for name in ("exposure", "exposure_told_by", "band", "date_obs", "exptime"):
        assert getattr(account, name) == getattr(plain, name)
    assert [ccd.name for ccd in account.ccds] == ["C1"]
    assert account.remarks == (f"camera rule 'mycam': {line}",)
    assert said(paths, settings) == [f"2 files: camera rule 'mycam': {line} (such as 1001.fits)"]
    assert plain.remarks == ()
    assert said(paths, Settings()) == []


def test_a_rule_that_fits_no_file_is_said(write):
    path = write("x.fits", data=DATA, **CARDS)
    wrong = Settings.from_mapping({"cameras": {"mycam": {"match": {"INSTRUM": "MYCAM"}}}})
    assert said([path], wrong) == [
        "the camera rule mycam of the settings does not fit any of these files "
        "(gpuanom explain FILE tells which rule does)"
    ]
    two = Settings.from_mapping({"cameras": {name: {"match": {"INSTRUME": name}} for name in ("a", "b")}})
    assert said([path], two)[0].startswith("none of the camera rules a, b of the settings fits any of these files (")
    one_fits = Settings.from_mapping({"cameras": {name: {"match": {"INSTRUME": name}} for name in ("a", "MYCAM")}})
    assert said([path], one_fits) == []


def test_a_section_that_is_there_is_no_doubt(write):
    path = write("x.fits", data=DATA, **CARDS, TRIMSEC="[1:20,1:20]")
    for ways in ('["TRIMSEC"]', '["SKYSEC", "TRIMSEC"]', "[]", '["amplifiers", "SKYSEC"]'):
        assert said([path], mycam(f"trim = {ways}")) == []


def test_the_name_of_the_file_is_said_too_where_it_tells_the_exposure(write):
    path = write("x.fits", data=DATA, INSTRUME="MYCAM", FILTER="r")
    assert "no card RUNNO for 'exposure'; the name of the file tells" in said([path], mycam('exposure = ["RUNNO"]'))[0]
    only = mycam('exposure = ["RUNNO", "only"]')
    numbered = write("y.fits", data=DATA, **CARDS)
    assert explain([numbered], only)[0].exposure == "y"
    assert doubtful(discover([numbered], only))
    assert not doubtful(discover([numbered], mycam("exposure = []")))


def test_one_of_several_keywords_is_enough(write):
    path = write("x.fits", data=DATA, **CARDS, RUNNO=7)
    settings = mycam('exposure = ["SHOT", "RUNNO"]')
    assert explain([path], settings)[0].exposure == "7"
    assert not doubtful(discover([path], settings))


def test_an_exposure_number_of_0_is_said_once(write):
    paths = [write(f"{n}.fits", data=DATA, **CARDS | {"EXPNUM": n, "DATE-OBS": f"2026-01-01T00:0{n}:00"})
             for n in range(3)]  # fmt: skip
    line = "0 is taken for no number of an exposure, so DATE-OBS tells the exposure"
    assert said(paths, Settings()) == [f"1 file: {line} (EXPNUM is '0' in 0.fits)"]
    assert [account.remarks for account in explain(paths, Settings())] == [(f"EXPNUM is '0': {line}",), (), ()]
    dateless = write("x.fits", data=DATA, INSTRUME="A", FILTER="r", EXPNUM="0000")
    assert said([dateless], Settings()) == [
        f"1 file: {line.replace('DATE-OBS', 'the name of the file')} (EXPNUM is '0000' in x.fits)"
    ]


def test_an_exposure_number_of_0_beside_another_number_is_not_said(write):
    path = write("x.fits", data=DATA, **CARDS | {"EXPNUM": 0, "EXPID": 17})
    assert explain([path], Settings())[0].exposure == "17"
    assert said([path], Settings()) == []
    unknown = write("y.fits", data=DATA, **CARDS | {"EXPNUM": -1})
    assert said([unknown], Settings()) == []
