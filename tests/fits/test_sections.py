import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.section_choice import data_sections
from gpuanom.fits.ccds.sections import Section, parse_section, trim
from gpuanom.fits.headers.values import Cards

ENDS = st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)).map(lambda t: (t[0], t[0] + t[1]))


@given(x=ENDS, y=ENDS)
def test_a_section_is_one_based_and_inclusive(x, y):
    section = parse_section(f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]")
    assert section == Section(y[0] - 1, x[0] - 1, y[1], x[1])


@given(st.one_of(st.text(), st.from_regex(r"\[-?[0-9]{0,12}:[0-9]*,[0-9]+:[0-9]+\]"), st.integers(), st.none()))
def test_nonsense_is_refused_and_never_crashes(text):
    try:
        section = parse_section(text)
    except InputError:
        return
    assert 0 <= section.x0 < section.x1
    assert 0 <= section.y0 < section.y1
    numbers = [int(n) for n in re.findall("[0-9]+", text)]
    assert numbers == [section.x0 + 1, section.x1, section.y0 + 1, section.y1]


@pytest.mark.parametrize("text", ["[10:5,1:5]", "[1:5,9:1]", "[0:5,1:5]", "[0:0,0:0]", "UNKNOWN", "", None, 7])
def test_reversed_empty_and_unknown(text):
    with pytest.raises(InputError) as caught:
        parse_section(text)
    assert caught.value.status == "bad_section"


@given(widths=st.lists(st.integers(1, 7), min_size=1, max_size=4), gap=st.integers(0, 3), data=st.data())
def test_amplifiers_join_in_image_order_without_overscan(widths, gap, data):
    """Each column holds its number in the joined image, and the overscan -1: joined columns must count 0, 1, 2 ..."""
    columns, sections, x = [], [], 0
    for width in widths:
        columns += [-1] * gap
        sections.append(Section(1, len(columns), 4, len(columns) + width))
        columns += range(x, x + width)
        x += width
    pixels = np.tile(np.array(columns + [-1] * gap), (6, 1))
    order = data.draw(st.permutations(sections))
    joined = trim(pixels, tuple(order))
    np.testing.assert_array_equal(joined, np.tile(np.arange(x), (3, 1)))


def test_four_quadrants_join():
    wanted = np.arange(24).reshape(4, 6)
    pixels = np.full((7, 9), -1)
    pixels[0:2, 1:4], pixels[0:2, 5:8] = wanted[:2, :3], wanted[:2, 3:]
    pixels[4:6, 1:4], pixels[4:6, 5:8] = wanted[2:, :3], wanted[2:, 3:]
    sections = (Section(4, 5, 6, 8), Section(0, 1, 2, 4), Section(4, 1, 6, 4), Section(0, 5, 2, 8))
    np.testing.assert_array_equal(trim(pixels, sections), wanted)


@pytest.mark.parametrize(
    "sections",
    [
        (Section(0, 0, 5, 11),),
        (Section(0, 0, 11, 5),),
        (Section(0, 0, 5, 5), Section(0, 4, 5, 8)),
        (Section(0, 0, 5, 5), Section(5, 0, 8, 4)),
    ],
    ids=["too wide", "too high", "overlap", "no rectangle"],
)
def test_sections_that_make_no_image(sections):
    with pytest.raises(InputError) as caught:
        trim(np.zeros((10, 10)), sections)
    assert caught.value.status == "bad_section"


def test_a_cut_out_is_taken_whole_but_a_whole_ccd_is_not():
    section = (Section(0, 32, 4612, 2080),)
    cut_out = np.zeros((251, 251))
    assert trim(cut_out, section, (2112, 4644)) is cut_out
    with pytest.raises(InputError):
        trim(np.zeros((100, 2112)), section, (2112, 4644))
    with pytest.raises(InputError):
        trim(cut_out, section)


def test_ways_to_trim_in_order():
    rule = CameraRule(name="r", trim=("DSECA+DSECB", "DATASEC", "subaru-channels"))
    both = fits.Header({"DSECA": "[5:8,1:9]", "DSECB": "[9:12,1:9]", "DATASEC": "[2:12,1:9]"})
    found = data_sections(rule, Cards(both), (9, 14))
    assert found.sections == (Section(0, 4, 9, 8), Section(0, 8, 9, 12))
    assert found.why == "trimmed to DSECA [5:8,1:9] and DSECB [9:12,1:9]"
    one = fits.Header({"DSECA": "[5:8,1:9]", "DATASEC": "[2:12,1:9]"})
    assert data_sections(rule, Cards(one), (9, 14)).sections == (Section(0, 1, 9, 12),)
    assert data_sections(rule, Cards(fits.Header()), (9, 14)).sections == ()


@pytest.mark.real
def test_real_hsc_channels(real_header):
    header = real_header("fitsheader-hsc")
    sections = data_sections(CameraRule(name="r", trim=("subaru-channels",)), Cards(header), (4241, 2144)).sections
    pixels = np.zeros((4241, 2144), np.uint8)
    for section in sections:
        pixels[section.y0 : section.y1, section.x0 : section.x1] += 1
    assert trim(pixels, sections).shape == (4176, 2048)
    assert trim(pixels, sections).min() == trim(pixels, sections).max() == 1


@pytest.mark.real
def test_real_decam_amplifiers(real_header):
    header = real_header("fitsheader-decam")
    rule = CameraRule(name="r", trim=("DATASECA+DATASECB",))
    sections = data_sections(rule, Cards(header), (4146, 2160)).sections
    pixels = np.tile(np.arange(2160), (4146, 1))
    joined = trim(pixels, sections)
    assert joined.shape == (4096, 2048)
    np.testing.assert_array_equal(joined[0], np.arange(56, 2104))
