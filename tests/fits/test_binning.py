import numpy as np
import pytest
from astropy.io import fits

from gpuanom.fits import discover
from gpuanom.fits.headers.binning import binning
from gpuanom.fits.headers.values import Cards


@pytest.mark.parametrize(
    ("cards", "wanted"),
    [
        ({}, (1, 1)),
        ({"CCDSUM": "1 1"}, (1, 1)),
        ({"CCDSUM": "2 4"}, (2, 4)),
        ({"BINNING": 2}, (2, 2)),
        ({"BINNING": "2x2"}, (2, 2)),
        ({"BINNING": "1x3"}, (1, 3)),
        ({"XBINNING": 2, "YBINNING": 2}, (2, 2)),
        ({"XBINNING": 2, "YBINNING": 1}, (2, 1)),
        ({"XBINNING": 1, "YBINNING": 2}, (1, 2)),
        ({"XBINNING": 2.0}, (2, 2)),
        ({"CCDBIN1": 2, "CCDBIN2": 2}, (2, 2)),
        ({"CCDXBIN": 2, "CCDYBIN": 2}, (2, 2)),
        ({"BIN-FCT1": 2, "BIN-FCT2": 2}, (2, 2)),
        ({"CCDSUM": "1 1", "XBINNING": 2, "YBINNING": 2}, (2, 2)),
        ({"DETBIN": "2,2"}, (2, 2)),
        ({"BINNING": 0}, (1, 1)),
        ({"BINNING": "fast"}, (1, 1)),
        ({"XBINNING": -2, "YBINNING": True}, (1, 1)),
        ({"ORIGIN": "ESO", "HIERARCH ESO DET WIN1 BINX": 2, "HIERARCH ESO DET WIN1 BINY": 2}, (2, 2)),
    ],
)
def test_cards_of_binning(cards, wanted):
    assert binning(Cards(fits.Header(cards))) == wanted


def test_binned_exposures_are_a_dataset_of_their_own(write, settings):
    for name, cards in (("a", {}), ("b", {"CCDSUM": "2 2"}), ("c", {"XBINNING": 1, "YBINNING": 1})):
        write(f"{name}.fits", data=_image(), INSTRUME="CAM", **cards)
    found = discover([write("d.fits", data=_image(), INSTRUME="CAM", BINNING="3x3").parent], settings).exposures
    assert {e.exposure: e.camera for e in found} == {"a": "CAM", "b": "CAM-bin2x2", "c": "CAM", "d": "CAM-bin3x3"}


def _image():
    return np.ones((40, 40), np.float32)
