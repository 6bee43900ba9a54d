"""A card of several headers at once: the numbers are those that each header gives, or nobody says any."""

from __future__ import annotations

import pytest

from gpuanom.fits.decoding.table_header import have_same_table, table_form
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.scanned import ScannedHeader, whole_numbers
from gpuanom.fits.headers.values import card, number
from gpuanom.fits.opening.checksum import datasum_of, datasums_of

CARDS = [
    "= 5", "=                   17 / a comment", "= 0", "=                   007", "= '12'", "= '12      ' / a comment",
    "= '4294967295'", "= '4294967296'", "= '12", "= 12'", "= ' 12 '", "= '1'' '", "= +5", "= -5", "= 5.0", "= T", "=",
    "=5", "  5", "= 5 6", "= 5 / 6\n= 7", "= 123456789012", "= '123456789012'", "= '12: 5'", "= ''", "= 5\n",
]  # fmt: skip


def header(*cards):
    return ScannedHeader("".join(card.ljust(80) for card in (*cards, "END")).encode())


@pytest.mark.parametrize("one", CARDS)
@pytest.mark.parametrize("name", ["DATASUM", "ZDITHER0"])
def test_numbers_are_those_that_each_header_gives(name, one):
    for cards in ([one], [one, "= 3"], ["= '3'", one], ["= '3'", "= '4'", one, "= '5'"]):
        headers = [header("XTENSION= 'BINTABLE'", name.ljust(8) + value, "GAIN    = 2") for value in cards]
        values = [card(h, name) for h in headers]
        assert datasums_of(headers) == [datasum_of(card(h, "DATASUM")) for h in headers]
        assert whole_numbers(headers, name) in (None, values)
        quoted = whole_numbers(headers, name, quoted=True)
        assert quoted is None or ([int(value) for value in values] == quoted and {type(v) for v in values} == {str})


REALS = [
    *CARDS, "= -1.5E-05", "= 1.", "= .5 / half", "= +0.1", "= 1.5D3", "= 1.5e3", "= 1E999", "= -1E+30", "= 1E", "= .",
    "= NaN", "= 1.0 2", "= 5.55555555555555E-05 / [deg]", "= 283.83433333422554", "= 0.1\n", "= -0.0", "= 9" + 60 * "9",
]  # fmt: skip


@pytest.mark.parametrize("one", REALS)
def test_reals_are_those_that_each_header_gives(one):
    for cards in ([one], [one, "= 3.5"], ["= '3'", one, "= 4"]):
        headers = [header("XTENSION= 'BINTABLE'", "CD1_1   " + value, "GAIN    = 2") for value in cards]
        values = [card(h, "CD1_1") for h in headers]
        found = FileHeaders(header("SIMPLE  = T"), *headers).numbers("CD1_1")
        assert found is None or (found == values == [number(value) for value in values])


def test_plain_reals_need_not_be_asked_one_by_one():
    headers = [header(f"CRVAL1  = {n} / [deg]") for n in (1, -20.5, "1.5E-12", "+.5")]
    of_file = FileHeaders(header("SIMPLE  = T", "GAIN    = 2"), *headers)
    assert of_file.numbers("CRVAL1") == [1.0, -20.5, 1.5e-12, 0.5]
    assert of_file.numbers("GAIN") is None  # of the primary header
    assert FileHeaders(header("SIMPLE  = T"), *headers, header("OTHER   = 1")).numbers("CRVAL1") is None
    assert FileHeaders().numbers("CRVAL1") is None


def test_cards_that_are_the_same():
    headers = [header("CTYPE1  = 'RA---TAN'", f"GAIN    = {n}") for n in (1, 2)]
    of_file = FileHeaders(header("SIMPLE  = T"), *headers)
    assert [of_file.are_same(keyword) for keyword in ("CTYPE1", "GAIN", "CTYPE2")] == [True, False, True]
    continued = [header("CTYPE1  = 'RA--&'", f"CONTINUE  '{n}'") for n in (1, 2)]
    assert not FileHeaders(header("SIMPLE  = T"), *continued).are_same("CTYPE1")


def test_plain_cards_need_not_be_asked_one_by_one():
    headers = [header(f"ZDITHER0= {n} / seed", f"DATASUM = '{n}' / sum") for n in (1, 20, 10000)]
    assert whole_numbers(headers, "ZDITHER0") == whole_numbers(headers, "DATASUM", quoted=True) == [1, 20, 10000]
    assert whole_numbers(headers, "GAIN") is None


def test_a_sum_that_goes_on_in_the_next_card():
    headers = [header(f"DATASUM = '{n}'", "CONTINUE  '7'") for n in (1, 2)]
    assert datasums_of(headers) == [datasum_of(card(h, "DATASUM")) for h in headers]


TABLE = (
    *("XTENSION= 'BINTABLE'", "NAXIS1  = 8", "NAXIS2  = 10", "TFIELDS = 1", "TTYPE1  = 'COMPRESSED_DATA'"),
    *("ZIMAGE  = T", "ZBITPIX = 16", "ZCMPTYPE= 'RICE_1'", "ZTILE1  = 20", "ZTILE2  = 1"),
)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("'1PB(333)'", "'1PB(333)'", True),
        ("'1PB(333)'", "'1PB(7)  ' / longest", True),
        ("'1PB(333)'", "'1PB(2604)'", True),
        ("'1PB(333)'", "'1QB(333)'", False),
        ("'1PB(333)'", "'1PB     '", False),
        ("'1PB(333)'", "'1PB(33'", False),
        ("'1PB(333)'", "'1PB(33)", False),
        ("'1PB(333)'", "'1PB''(3)'", False),
    ],
)
def test_tables_are_the_same_but_for_their_longest_tiles(first, second, same):
    headers = [header(*TABLE, f"TFORM1  = {value}") for value in (first, second)]
    assert have_same_table(headers) == same
    if same:
        one, other = (table_form(h, (10, 20)) for h in headers)
        assert one == other


def test_tables_that_differ_in_another_card():
    others = [tuple(card.replace("= 8", "= 16") for card in TABLE), tuple(c.replace("RICE", "GZIP") for c in TABLE)]
    for cards in others:
        assert not have_same_table([header(*t, "TFORM1  = '1PB(5)'") for t in (TABLE, cards)])
    assert have_same_table([header(*TABLE, "TFORM1  = '1PB(5)'", f"EXTNAME = 'N{n}'") for n in (1, 2)])
