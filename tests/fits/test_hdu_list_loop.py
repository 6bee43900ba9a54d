"""The headers that one native call reads, against those that are read and understood one by one."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from gpuanom.errors import InputError
from gpuanom.fits.opening.file import File
from gpuanom.fits.opening.first_headers import BLOCK
from gpuanom.fits.opening.hdu_list_loop import walk_headers


def block(*cards):
    text = "".join(card.ljust(80) for card in (*cards, "END")).encode()
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def image(*more, nx=40, ny=30, pcount=0):
    cards = [
        "XTENSION= 'IMAGE   '", "BITPIX  =                   16 / bits", "NAXIS   =                    2",
        f"NAXIS1  = {nx:20d}", f"NAXIS2  = {ny:20d} / rows", f"PCOUNT  = {pcount:20d}",
        "GCOUNT  =                    1", *more,
    ]  # fmt: skip
    return cards, 2 * (nx * ny + pcount)


def write(path, *extensions):
    """Write a file of these extensions: cards, and bytes of data."""
    whole = block("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0")
    for cards, n_bytes in extensions:
        whole += block(*cards) + b"\1" * n_bytes + b"\0" * (-n_bytes % BLOCK)
    path.write_bytes(whole)
    return path


def walked(path):
    """First byte of each header that the walk finds, bytes of the header and of the data, and whether names are alike;
    and the texts."""
    memory, found = np.zeros(2**20, np.uint8), np.full((20, 5), -1)
    file = os.open(path, os.O_RDONLY)
    try:
        n = walk_headers(file, memory, BLOCK, path.stat().st_size, found)
    finally:
        os.close(file)
    return found[:n][:, [0, 2, 3, 4]].tolist(), [bytes(memory[a : a + b]) for a, b in found[:n, 1:3].tolist()]


def listed(path, monkeypatch, *, ahead):
    """What a file says of its HDUs, with headers that were read ahead and without."""
    with monkeypatch.context() as patch:
        if not ahead:
            patch.setattr("gpuanom.fits.opening.hdu_list.headers_ahead", lambda *_: {})
        return [
            str(item) if isinstance(item, InputError) else
            (item.number, item.claimed_shape, item.bitpix,
             item.stored.start, item.stored.data_start, item.stored.data_size,
             item.stored.header.text, item.stored.header.layout, item.compressed)
            for item in File(path).hdus()
        ]  # fmt: skip


def test_headers_of_two_layouts(tmp_path, monkeypatch):
    long = [f"KEY{i:<5d}= {i:20d}" for i in range(400)]
    extensions = [image(), image(nx=7), image("CCD     = 3"), image(*long), (["XTENSION= 'IMAGE'"], 0)]
    path = write(tmp_path / "a.fits", *extensions)
    rows, texts = walked(path)
    assert [row[2:] for row in rows] == [[2400, 0], [420, 1], [2400, 0], [2400, 0]]  # the last one lacks its cards
    assert texts[2].startswith(b"XTENSION= 'IMAGE   '")
    assert texts[2].endswith(b"CCD     = 3".ljust(80) + b"END".ljust(80))
    assert rows[0][0] == BLOCK
    assert rows[1][0] == 3 * BLOCK
    assert listed(path, monkeypatch, ahead=True) == listed(path, monkeypatch, ahead=False)


@pytest.mark.parametrize(
    ("at", "card"),
    [
        (1, "BITPIX  =                   16 bits"), (1, "BITPIX  = 16.0"), (1, "BITPIX  =                  128"),
        (2, "NAXIS   =                    3"), (3, "NAXIS1  =                   -1"), (3, "NAXIS1  = 9999999999999999"),
        (3, "NAXIS2  =                    7"), (5, "PCOUNT  = '0'"), (5, "PCOUNT  =  1 \x07"), (6, "PCOUNT  = 1"),
        (0, "XTENSION"), (0, "EXTENSION= 'IMAGE'"), (6, "GCOUNT   =                  1"), (6, ""),
    ],
)  # fmt: skip
def test_what_is_not_plain_ends_the_walk(tmp_path, monkeypatch, at, card):
    cards, n_bytes = image()
    cards[at] = card
    path = write(tmp_path / "a.fits", image(), (cards, n_bytes), image())
    found = len(walked(path)[0])
    assert found == (3 if card == "XTENSION" else 1)
    assert listed(path, monkeypatch, ahead=True) == listed(path, monkeypatch, ahead=False)


def test_a_card_that_is_named_end_hides_the_cards_behind_it_from_both(tmp_path, monkeypatch):
    cards, n_bytes = image()
    path = write(tmp_path / "a.fits", image(), ([*cards[:3], "END     = 1", *cards[3:]], n_bytes), image())
    assert len(walked(path)[0]) == 1
    assert listed(path, monkeypatch, ahead=True) == listed(path, monkeypatch, ahead=False)


def test_mutated_files(tmp_path, monkeypatch):
    """Whatever stands in a file: headers that are read ahead say what they say when they are read one by one."""
    rng = random.Random(3)
    path = write(tmp_path / "a.fits", *(image("CCD     = 1", nx=rng.randrange(1, 60)) for _ in range(5)))
    whole = path.read_bytes()
    ahead = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randrange(3)):
            place = rng.randrange(BLOCK, len(data)) if rng.random() < 0.3 else BLOCK + rng.randrange(700)
            data[place] = rng.choice(b" 0179-=/.AEN'\0\xff")
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(BLOCK, len(data))))])
        ahead += len(walked(path)[0])
        assert listed(path, monkeypatch, ahead=True) == listed(path, monkeypatch, ahead=False)
    assert ahead > 400


def test_a_file_without_extensions_and_one_that_is_cut_off(tmp_path):
    assert walked(write(tmp_path / "a.fits")) == ([], [])
    path = write(tmp_path / "b.fits", image())
    path.write_bytes(path.read_bytes()[: BLOCK + 400])
    assert walked(path) == ([], [])
