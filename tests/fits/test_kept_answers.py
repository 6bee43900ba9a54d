"""Answers that are remembered for headers in which the cards that they follow from are the same."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.errors import InputError
from gpuanom.fits.ccds.axes import Mosaic, axes_of_file
from gpuanom.fits.ccds.mask_planes import are_named
from gpuanom.fits.ccds.names import roles_of_images
from gpuanom.fits.ccds.plane_kinds import plane_reason
from gpuanom.fits.ccds.saturation import saturation, saturations
from gpuanom.fits.ccds.section_choice import data_sections, sections_and_shapes
from gpuanom.fits.ccds.wcs import sky_axes
from gpuanom.fits.headers.card_places import layout_of
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader
from gpuanom.fits.headers.values import Cards, card


def header(*cards):
    return ScannedHeader("".join(c.ljust(80) for c in (*cards, "END")).encode())


@pytest.fixture
def asking():
    """A function that says which CCD and, of a long exposure, how warm it was; and the list of its calls."""
    calls = []

    @once_for_same_cards
    def ask(cards, unit):
        calls.append(unit)
        found = cards.get("CCD")
        return (found, cards.get("TEMP"), unit) if cards.get("EXPTIME") == 60 else (found, None, unit)

    return ask, calls


def numbered(ccd, exptime=60, temp=1, other=0):
    return Cards(header(f"CCD     = {ccd:20d}", f"TEMP    = {temp:20d}", f"OTHER   = {other:20d}"), time(exptime))


def time(exptime):
    return header(f"EXPTIME = {exptime:20d}", "DATE    = '2026'")


def test_cards_that_are_not_asked_for_do_not_count(asking):
    ask, calls = asking
    assert [ask(numbered(3, other=n), "K") for n in range(5)] == [(3, 1, "K")] * 5
    assert len(calls) == 1


def test_cards_that_are_asked_for_count(asking):
    ask, calls = asking
    for _ in range(2):
        assert ask(numbered(3), "K") == (3, 1, "K")
        assert ask(numbered(4), "K") == (4, 1, "K")
        assert ask(numbered(4, temp=2), "K") == (4, 2, "K")
        assert ask(numbered(4, temp=2), "C") == (4, 2, "C")
        # The temperature counts only where the exposure is long: two ways through the function.
        assert ask(numbered(4, exptime=30, temp=5), "K") == (4, None, "K")
        assert ask(numbered(4, exptime=30, temp=6), "K") == (4, None, "K")
    assert len(calls) == 5


def test_a_card_that_is_added_or_moved(asking):
    ask, _ = asking
    assert ask(Cards(header("CCD     = 3", "OTHER   = 1"), time(60)), "K") == (3, None, "K")
    assert ask(Cards(header("CCD     = 3", "TEMP    = 1"), time(60)), "K") == (3, 1, "K")
    assert ask(Cards(header("TEMP    = 7", "CCD     = 3"), time(60)), "K") == (3, 7, "K")
    assert ask(Cards(time(60), header("CCD     = 3", "TEMP    = 1")), "K") == (3, 1, "K")


def test_headers_are_not_kept_with_the_answers(asking):
    ask, _ = asking
    cards = numbered(3)
    kept = weakref.ref(cards)
    assert ask(cards, "K") == (3, 1, "K")
    del cards
    gc.collect()
    assert kept() is None


def test_a_function_that_asks_in_many_ways_is_not_remembered():
    calls = []

    @once_for_same_cards
    def ask(cards, keyword):
        calls.append(type(cards))
        # Which card is asked for follows from the one before: each header goes another way.
        return cards.get(f"C{cards.get(keyword)}")

    headers = [header(f"A       = {n:20d}", *(f"C{k:<7}= {k:20d}" for k in range(12))) for n in range(12)]
    for _ in range(3):
        assert [ask(one, "A") for one in headers] == list(range(12))
    assert len(calls) == 36
    assert calls[0] is not ScannedHeader  # it notes what is asked for
    assert calls[-1] is ScannedHeader


def test_a_text_that_goes_on_in_the_next_card(asking):
    ask, _ = asking
    for end in ("one", "two"):
        long = header("CCD     = 'CCD &'", f"CONTINUE  '{end}'", "TEMP    = 1")
        assert ask(Cards(long, time(60)), "K") == (f"CCD {end}", 1, "K")


def test_a_card_of_hierarch():
    @once_for_same_cards
    def detector(cards):
        return cards.get("ESO DET CHIP1 ID")

    for name in ("A", "B"):
        assert detector(Cards(header(f"HIERARCH ESO DET CHIP1 ID = '{name}'"))) == name


def test_a_table_is_another_header_than_its_image():
    @once_for_same_cards
    def bitpix(header):
        return card(header, "BITPIX")

    table = header("BITPIX  = 8", "ZBITPIX = -32")
    assert [bitpix(h) for h in (table, CompressedImageHeader(table)) * 2] == [8, -32] * 2


def test_an_error_is_raised_each_time():
    calls = []

    @once_for_same_cards
    def refuse(header):
        calls.append(header.get("A"))
        raise InputError("no")

    for _ in range(3):
        with pytest.raises(InputError, match="no"):
            refuse(header("A       = 1"))
    assert calls == [1, 1, 1]


def test_what_is_never_alike_is_not_remembered_for_ever(asking):
    """Coordinates that change from exposure to exposure: nothing is kept of them in the end."""
    ask, calls = asking
    assert [ask(numbered(n), "K")[0] for n in range(2000)] == list(range(2000))
    assert ask(numbered(1), "K") == (1, 1, "K")
    assert len(calls) == 2001


def test_headers_with_the_same_names_share_a_layout():
    one, two = header("A       = 1", "B       = 1"), header("A       = 2", "B       = 'x'")
    assert one.layout is two.layout
    assert one.layout is not header("B       = 1", "A       = 1").layout
    assert layout_of(b"A       = 1".ljust(80)[:75]).places == {"A       ": 0}


def test_answers_are_those_of_the_functions_themselves():
    """Random headers, many of them alike: the functions that are remembered against the functions as written."""
    rules = BUILTIN_RULES
    rng = random.Random(1)
    for _ in range(3000):
        names = rng.sample(sorted(POOLS), rng.randint(1, 5)) if rng.random() < 0.3 else sorted(POOLS)
        one = drawn(rng, names)
        cards, rule = Cards(one, header("OBSTYPE = 'object'")), rng.choice(rules)
        for function, arguments in (
            (saturation, (rule, cards)), (sky_axes, (cards,)), (plane_reason, (rule, one)),
            (data_sections, (rule, cards, (60, 64))),
        ):  # fmt: skip
            assert _outcome(function, arguments) == _outcome(function.__wrapped__, arguments)


def drawn(rng, names):
    return header(*(f"{name:8s}= {rng.choice(POOLS[name])}" for name in names))


def test_answers_about_files_are_those_of_the_functions_themselves():
    """Files of 12 images, of which one or none has another card than in the file before."""
    rng = random.Random(2)
    names, numbers = sorted(POOLS), tuple(range(1, 13))
    images = [drawn(rng, names) for _ in numbers]
    for _ in range(300):
        if rng.random() < 0.7:
            images[rng.randrange(12)] = drawn(rng, names)
        rule, label = rng.choice(BUILTIN_RULES[:4]), rng.choice(("", "a"))
        headers = FileHeaders(
            header(f"OBSTYPE = {rng.randrange(2)}"), *map(ScannedHeader, (h.text.encode() for h in images))
        )
        called = tuple(rng.choice((None, f"N{n}")) if rng.random() < 0.1 else f"N{n}" for n in numbers)
        for function, arguments in (
            (roles_of_images, (rule, label, numbers, headers)),
            (sections_and_shapes, (rule, ((60, 64),) * 12, headers)),
            (are_named, ("MASK", headers)),
        ):  # fmt: skip
            assert _outcome(function, arguments) == _outcome(function.__wrapped__, arguments)
        assert repr(saturations(rule, headers)) == repr([saturation(rule, cards) for cards in headers.cards()])
        ccds = list(zip(called, headers.cards(), strict=True))
        mosaic = Mosaic.of(rule, [(name, cards) for name, cards in ccds if name is not None])
        one_by_one = [mosaic.axes(name or "", cards) for name, cards in ccds]
        assert repr(axes_of_file(rule, called, headers)) == repr(one_by_one)


def test_a_file_is_asked_about_again_where_a_card_of_one_image_is_another_one():
    calls = []

    @once_for_same_cards
    def ask(headers):
        calls.append(len(headers.of_images))
        return [card(image, "CCD") for image in headers.of_images]

    def file(*ccds):
        images = [header(f"CCD     = {ccd:20d}", f"OTHER   = {len(calls):20d}") for ccd in ccds]
        return FileHeaders(header("SIMPLE  = T"), *images)

    plain, other = tuple(range(20)), (*range(19), 33)
    for ccds, asked in ((plain, 1), (plain, 2), (plain, 2), (other, 3), (other, 3), (plain, 3)):
        assert ask(file(*ccds)) == list(ccds)
        assert len(calls) == asked  # with the first file nothing is kept: its layouts may not come again


POOLS = {
    "EXTNAME": ("'N1'", "'MASK'", "'WEIGHT'", "5"), "CTYPE1": ("'RA---TAN'", "'DEC--TAN'"),
        "CTYPE2": ("'DEC--TAN'", "'RA---TAN'"), "CD1_1": ("0.1", "-0.2", "'x'"), "CD2_2": ("0.1", "0.3"),
        "CDELT1": ("1.0", "2"), "CDELT2": ("1.0",), "SATURATE": ("60000", "'a'", "0"), "DATASEC": ("'[1:50,1:60]'",),
        "BIASSEC": ("'[51:64,1:60]'", "'nothing'"), "BUNIT": ("'adu'", "'adu**2'"), "DATASECA": ("'[1:50,1:60]'",),
}  # fmt: skip
"""Values of cards to draw from."""


def _outcome(function, arguments):
    try:
        return repr(function(*arguments))
    except InputError as error:
        return str(error)
