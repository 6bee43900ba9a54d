"""The band of a file, and the card from which the band is taken."""

from pathlib import Path

import pytest
from astropy.io import fits

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.fits.exposures.bands import BAND_CARDS, WHEELS, band_of
from gpuanom.fits.exposures.identity import describe
from gpuanom.fits.headers.values import Cards

ANY = BUILTIN_RULES[-1]
MEGACAM = {"INSTRUME": "MegaPrime", "DETECTOR": "MegaCam"}


def band(cards):
    return band_of(
        ANY,
        Cards(
            fits.Header({key if len(key) < 9 and " " not in key else f"HIERARCH {key}": v for key, v in cards.items()})
        ),
    )


@pytest.mark.parametrize("keyword", sorted({*BAND_CARDS, *(card for wheel in WHEELS for card in wheel)}))
def test_every_keyword_tells_a_band(keyword):
    assert band({keyword: "V-Bess"}) == ("V-Bess", keyword, True)


@pytest.mark.parametrize(
    ("cards", "name", "told_by"),
    [
        ({"FILTER": "NO_FILTER", "FILTER2": "V-Bess"}, "V-Bess", "FILTER2"),
        ({"FILTER1": "CLEAR", "FILTER2": "g"}, "g", "FILTER2"),
        ({"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, "F606W", "FILTER1"),
        ({"FILTER1": "r", "FILTER2": "ND3"}, "r+ND3", "FILTER1+FILTER2"),
        ({"FILTER1": "open", "FILTER2": "empty", "FILTER3": "H"}, "H", "FILTER3"),
        ({"FILTER": "CLEAR, r"}, "r", "FILTER"),
        ({"FILTER": 3, "FILTNAME": "V"}, "V", "FILTNAME"),
        ({"FILTER": 3}, "3", "FILTER"),
        ({"FILTER": "Clear"}, "Clear", "FILTER"),
        ({"FILTER": "gri"}, "gri", "FILTER"),
        ({"FILTER": "Halpha"}, "Halpha", "FILTER"),
        ({"FILTER": "N662"}, "N662", "FILTER"),
        ({"FILTER": "r", "FILTER2": "ND3"}, "r", "FILTER"),
        ({"WFFPSYS": "Sloan", "WFFBAND": "g"}, "g", "WFFBAND"),
    ],
)
def test_what_of_the_cards_is_the_band(cards, name, told_by):
    assert band(cards) == (name, told_by, True)


@pytest.mark.parametrize("cards", [{}, {"FILTER": "_unknown_"}, {"FILTER": "N/A"}, {"FILTER": ""}])
def test_no_band(cards):
    assert not band(cards).known


@pytest.mark.parametrize(
    ("value", "name"),
    [("i.MP9702", "i"), ("u.MP9301", "u"), ("r", "r"), ("Ha.MP7605", "Ha"), ("gri.MP9605", "gri"),
     ("CaHK.MP9303", "CaHK"), ("HaOFF.MP7604", "HaOFF")],
)  # fmt: skip
def test_megacams_bands_are_more_than_a_first_letter(value, name):
    header = fits.Header({**MEGACAM, "FILTER": value})
    assert describe(header, None, BUILTIN_RULES, Path("x.fits")).band.name == name
