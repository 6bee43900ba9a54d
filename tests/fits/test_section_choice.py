"""Which section cards are believed, for cameras without a rule and for frames that were trimmed before."""

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.section_choice import data_sections
from gpuanom.fits.ccds.sections import Section
from gpuanom.fits.headers.values import Cards

ANY = CameraRule(name="any", trim=("amplifiers", "TRIMSEC", "DATASEC", "eso-output"))
DATA, BIAS = "[21:532,1:512]", "[533:552,1:512]"
WANTED = (Section(0, 20, 512, 532),)


def sections(shape, rule=ANY, **cards):
    header = fits.Header()
    for key, value in cards.items():
        header[key.replace("_", " ") if key.startswith("ESO") else key] = value
    return data_sections(rule, Cards(header), shape)


@pytest.mark.parametrize(
    "cards",
    [
        {"DATASEC": DATA},
        {"TRIMSEC": DATA},
        {"DATASEC": DATA, "BIASSEC": BIAS},
        {"TRIMSEC": DATA, "DATASEC": "[11:542,1:532]", "BIASSEC": BIAS},
        {"TRIMSEC": "[1:552,1:532]", "DATASEC": DATA, "BIASSEC": BIAS},
        {"DATASEC": "[21:532,1:512,1:1]"},
    ],
)
def test_a_raw_image_is_trimmed(cards):
    found = sections((532, 552), **cards)
    assert found.sections == WANTED
    assert found.why.startswith("trimmed to ")
    assert not found.remark


@pytest.mark.parametrize("stem", ["DATASEC", "TRIMSEC", "DSEC", "TSEC"])
@pytest.mark.parametrize("ends", ["ABCD", "1234", ("11", "12", "21", "22")])
def test_amplifiers_are_joined(stem, ends):
    if len(stem + ends[0]) > 8:
        ends = "ABCD"  # a keyword has at most eight letters
    texts = ["[5:54,1:40]", "[71:120,1:40]", "[5:54,61:100]", "[71:120,61:100]"]
    cards = {stem + end: text for end, text in zip(ends, texts, strict=True)}
    found = sections((100, 124), **cards)
    assert [s.text for s in found.sections] == texts


def test_the_valid_pixels_of_esos_only_output():
    cards = {"ESO_DET_OUT1_NX": 500, "ESO_DET_OUT1_PRSCX": 20, "ESO_DET_OUT1_OVSCX": 32, "ESO_DET_OUT1_NY": 532}
    header = fits.Header([(f"HIERARCH {k.replace('_', ' ')}", v) for k, v in cards.items()])
    header["ORIGIN"] = "ESO"
    assert data_sections(ANY, Cards(header), (532, 552)).sections == (Section(0, 20, 532, 520),)
    assert data_sections(ANY, Cards(header), (532, 500)).sections == ()


@pytest.mark.parametrize(
    ("shape", "cards"),
    [
        ((512, 512), {"DATASEC": DATA}),
        ((512, 512), {"DATASEC": DATA, "BIASSEC": BIAS, "TRIMSEC": DATA}),
        ((512, 512), {"DATASEC": DATA, "TRIMSEC": "[31:500,11:500]"}),
        ((512, 512), {"DATASEC": "[1:512,1:512]", "BIASSEC": BIAS}),
        ((256, 256), {"DATASEC": DATA, "CCDSUM": "2 2"}),
        ((512, 520), {"DATASEC": "[21:520,1:512]", "CCDSIZE": "[1:520,1:512]"}),
        ((512, 532), {"DATASEC": DATA, "TRIM": "Mar 3 12:00 Trim data section is [1:532,1:512]"}),
        ((512, 532), {"DATASEC": DATA, "TRIMMED": True}),
        ((512, 532), {"DATASEC": DATA, "TRIMIM": "ccd=<CCDData>, fits_section=[1:532,1:512]"}),
        ((512, 512), {}),
    ],
)
def test_a_trimmed_image_is_taken_whole_and_nothing_is_doubtful(shape, cards):
    found = sections(shape, **cards)
    assert found.sections == ()
    assert found.why
    assert not found.remark


@pytest.mark.parametrize(
    ("shape", "cards", "word"),
    [
        ((532, 552), {"BIASSEC": BIAS}, "BIASSEC"),
        ((300, 300), {"DATASEC": DATA}, "DATASEC"),
        # Joined from amplifiers, with the header of the first amplifier.
        ((1024, 1024), {"DATASEC": DATA, "BIASSEC": BIAS}, "DATASEC"),
        ((532, 552), {"DATASEC": "UNKNOWN"}, "DATASEC"),
        ((532, 552), {"DATASEC": "[0:0,0:0]"}, "DATASEC"),
        ((1000, 1000), {"DATASEC": "[900:990,900:990]"}, "DATASEC"),
        ((532, 552), {"DATASECA": "[1:300,1:532]", "DATASECB": "[200:552,1:532]"}, "overlap"),
    ],
)
def test_what_cannot_be_told_is_said_and_the_image_taken_whole(shape, cards, word):
    found = sections(shape, **cards)
    assert found.sections == ()
    assert word in found.remark
    assert "overscan" in found.remark


def test_sections_that_contradict_each_other():
    found = sections((532, 552), DATASEC="[21:540,1:512]", BIASSEC=BIAS)
    assert found.sections == (Section(0, 20, 512, 540),)
    assert "overlap" in found.remark
    found = sections((532, 552), DATASEC=DATA, TRIMSEC="[11:542,1:532]")
    assert "TRIMSEC" in found.remark
    assert "DATASEC" in found.remark


def test_sections_in_unbinned_pixels():
    found = sections((266, 276), DATASEC=DATA, BIASSEC=BIAS, CCDSUM="2 2")
    assert found.sections == (Section(0, 10, 256, 266),)
    assert "binned 2 x 2" in found.why
    assert sections((266, 276), DATASEC="[11:266,1:256]", CCDSUM="2 2").sections == found.sections


def test_a_cameras_own_rule():
    """A section that leaves a raw image is an error; an image of the size of the section is not cut again."""
    rule = CameraRule(name="r", trim=("DATASEC",))
    assert sections((512, 512), rule, DATASEC=DATA).sections == ()
    assert sections((532, 552), rule, DATASEC=DATA).sections == WANTED
    for text, shape in ((DATA, (600, 500)), ("UNKNOWN", (532, 552))):
        with pytest.raises(InputError) as caught:
            sections(shape, rule, DATASEC=text)
        assert caught.value.status == "bad_section"
    assert sections((532, 552), CameraRule(name="q"), DATASEC=DATA).sections == ()


def test_pixels_of_a_raw_file_are_those_of_its_trimmed_twin(write, read):
    image = np.random.default_rng(1).normal(1000, 10, (512, 512)).astype(np.float32)
    raw = np.full((532, 552), 300, np.float32)
    raw[:512, 20:532] = image
    ccds = read(
        write("a.fits", (raw, {"EXTNAME": "A", "DATASEC": DATA, "BIASSEC": BIAS}),
              (image, {"EXTNAME": "B", "DATASEC": DATA}), INSTRUME="NEW")
    )  # fmt: skip
    np.testing.assert_array_equal(ccds["A"].image, image)
    np.testing.assert_array_equal(ccds["B"].image, image)
