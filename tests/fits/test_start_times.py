"""The start of an exposure in one form, whatever the card looks like, and the exposure time with its unit."""

import math
from pathlib import Path

import pytest
from astropy.io import fits

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.fits.exposures.identity import describe


def about(**cards):
    header = fits.Header({"INSTRUME": "X", "OBSTYPE": "object"} | {k.replace("_", "-"): v for k, v in cards.items()})
    return describe(header, None, BUILTIN_RULES, Path("x.fits"))


@pytest.mark.parametrize(
    "date", ["2019-04-02T05:06:18.3", "2026-01-01", "2026-01-01T00:30:00.123456789", "2016-12-31T23:59:60.5",
             "2026-01-01T00:30"],
)  # fmt: skip
def test_a_date_that_is_in_this_form_stays_as_it_is(date):
    assert about(DATE_OBS=date).date_obs == date
    assert not about(DATE_OBS=date).doubts


@pytest.mark.parametrize(
    ("cards", "date"),
    [
        ({"DATE_OBS": "2026-01-01T20:00:00-04:00"}, "2026-01-02T00:00:00"),
        ({"DATE_OBS": "2026-01-01T03:30:00.25+0530"}, "2025-12-31T22:00:00.250"),
        ({"DATE_OBS": "2026-01-02T00:00:00Z"}, "2026-01-02T00:00:00"),
        ({"DATE_OBS": "2026-01-02 01:02:03 UTC"}, "2026-01-02T01:02:03"),
        ({"DATE_OBS": "2026/01/02 01:02:03"}, "2026-01-02T01:02:03"),
        ({"DATE_OBS": "2026-01-02T1:02:03"}, "2026-01-02T01:02:03"),
        ({"DATE_OBS": "2026-01-02T01:02:03."}, "2026-01-02T01:02:03"),
        ({"DATE_OBS": "2017-01-01T01:59:60+02:00"}, "2016-12-31T23:59:59"),
        ({"DATE_OBS": "31/12/99"}, "1999-12-31"),
        ({"DATE_OBS": "31/12/99", "UT": "9:08:7.5"}, "1999-12-31T09:08:07.5"),
        ({"DATE_OBS": "2026-01-02", "UTSTART": "01:02:03"}, "2026-01-02T01:02:03"),
        ({"MJD_OBS": 61041.5}, "2026-01-01T12:00:00"),
        ({"MJD": "61041.500001"}, "2026-01-01T12:00:00.086"),
        ({"DATE_OBS": "2026-01-02", "MJD_OBS": 61041.5}, "2026-01-02"),
    ],
)
def test_other_forms_are_changed_to_it(cards, date):
    assert about(**cards).date_obs == date
    assert not about(**cards).doubts


@pytest.mark.parametrize(
    "date", ["99/31/12", "2026-13-01T00:00:00", "yesterday", 20260101, "2026-01-01T00:00:00 EST",
             "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00",
             "2026-13-45T25:00:60", "2026-01-01T12:60"],
)  # fmt: skip
def test_a_date_that_cannot_be_read_is_said(date):
    found = about(DATE_OBS=date)
    said = f"DATE-OBS is '{date}': no date of the form YYYY-MM-DDThh:mm:ss, so "
    assert (found.date_obs, [str(d) for d in found.doubts]) == ("", [said + "the start is unknown"])
    found = about(DATE_OBS=date, MJD_OBS=61041.5)
    assert found.date_obs == "2026-01-01T12:00:00"
    assert [str(d) for d in found.doubts] == [said + "MJD-OBS tells the start"]


@pytest.mark.parametrize("mjd", [0.0, -1.0, 2461041.5, "none", True])
def test_what_is_no_modified_julian_date_tells_no_start(mjd):
    assert about(MJD_OBS=mjd).date_obs == ""


def test_the_modified_julian_date_names_an_exposure_whose_number_does_not():
    found = about(EXPNUM=-1, MJD_OBS=61041.5)
    assert (found.exposure, found.told_by) == ("2026-01-01T12_00_00", "MJD-OBS is '61041.5'")


@pytest.mark.parametrize("text", ["60 s", "60s", "60.0 sec", "60 seconds", "6e1 S", " 60 "])
def test_an_exposure_time_may_have_its_unit(text):
    assert about(EXPTIME=text).exptime == 60.0
    assert not about(EXPTIME=text).doubts


@pytest.mark.parametrize("value", ["60 min", "-1 s", -1.0, "long", "e s"])
def test_an_exposure_time_that_is_none_is_unknown_and_said(value):
    found = about(EXPTIME=value)
    assert math.isnan(found.exptime)
    assert [str(d) for d in found.doubts] == [
        f"EXPTIME is '{value}': no number of seconds, so the exposure time is unknown"
    ]
