"""A small part of `tests.fits.fuzz`, which runs as long as one likes."""

from __future__ import annotations

import pytest

from tests.fits import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_tiles(seed):
    decoded, refused, _ = fuzz.tiles(4000, seed)
    assert decoded > 500
    assert refused > 500


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files(seed):
    read, failed, _ = fuzz.files(100, seed)
    assert read > 50
    assert failed > 50
