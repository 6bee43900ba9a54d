"""Exposures of other sizes: which exposures are compared, and what the tables say about the others."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.cli import main
from gpuanom.nights.merge import make_references
from gpuanom.scoring.histograms.comparable import ENOUGH, LIKE, split

SIZES = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=20)
FEW = st.lists(st.sampled_from([(1000, 1000), (1004, 997), (300, 300), (500, 500), (0, 0)]), min_size=1, max_size=20)


def _names(found):
    return {frozenset(map(int, g)) for g in found.groups}, frozenset(map(int, found.apart)), found.mixed


@given(sizes=st.one_of(SIZES, FEW), data=st.data())
def test_the_order_of_exposures_does_not_matter(sizes, data):
    n = len(sizes)
    order = data.draw(st.permutations(range(n)))
    groups, apart, mixed = _names(split(np.array(sizes), n))
    shuffled, apart_shuffled, mixed_shuffled = _names(split(np.array([sizes[i] for i in order]), n))
    assert {frozenset(order[i] for i in g) for g in shuffled} == groups
    assert {order[i] for i in apart_shuffled} == apart
    assert mixed == mixed_shuffled


@given(sizes=st.one_of(SIZES, FEW))
def test_every_exposure_has_one_place_and_those_alike_share_it(sizes):
    found = split(np.array(sizes), len(sizes))
    everyone = np.concatenate([*found.groups, found.apart])
    assert sorted(everyone) == list(range(len(sizes)))
    areas = [ny * nx for ny, nx in sizes]
    place = {int(i): k for k, g in enumerate((*found.groups, found.apart)) for i in g}
    for i, a in enumerate(areas):
        for j, b in enumerate(areas):
            if a and b and max(a, b) <= LIKE * min(a, b):
                assert place[i] == place[j]
    for group in found.groups:
        assert found.whole or found.mixed or len(group) >= min(2, ENOUGH)


@pytest.mark.parametrize(
    ("counts", "groups", "apart", "mixed"),
    [
        ({1000: 14}, [14], 0, False),
        ({1000: 11, 300: 3}, [11], 3, False),
        ({1000: 11, 300: 6, 500: 2}, [11, 6], 2, False),
        ({1000: 2, 300: 1}, [2], 1, False),
        ({1000: 1, 300: 1, 100: 1}, [3], 0, True),
        ({1000: 4, 990: 4, 980: 4}, [12], 0, False),
    ],
)
def test_which_sizes_are_compared(counts, groups, apart, mixed):
    sizes = np.array([(n, n) for n, times in counts.items() for _ in range(times)])
    found = split(sizes, len(sizes))
    assert [len(g) for g in found.groups] == groups
    assert (len(found.apart), found.mixed) == (apart, mixed)


def test_without_sizes_all_are_compared():
    assert split(None, 3).whole


def _score(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, arguments), "--device", "cpu"])
    assert ended.value.code in (0, None)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of eight full frames of stars, a window of one frame, and one binned frame."""
    folder = tmp_path_factory.mktemp("night")
    for i in range(8):
        image = _stars(i)
        fits.PrimaryHDU(image, fits.Header({"INSTRUME": "CAM", "FILTER": "r"})).writeto(folder / f"e{i}.fits")
    cards = {"INSTRUME": "CAM", "FILTER": "r"}
    fits.PrimaryHDU(_stars(8)[:150, :200].copy(), fits.Header(cards)).writeto(folder / "window.fits")
    binned = _stars(9).reshape(160, 2, 160, 2).mean((1, 3)).astype(np.float32)
    for i in range(2):
        fits.PrimaryHDU(binned + i, fits.Header(cards | {"CCDSUM": "2 2"})).writeto(folder / f"binned{i}.fits")
    _score(folder, "-o", folder / "scored")
    return folder


def _stars(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 10, (320, 320))
    y, x = np.mgrid[-6:7, -6:7]
    for cy, cx in rng.integers(40, 280, (25, 2)):
        image[cy - 6 : cy + 7, cx - 6 : cx + 7] += rng.uniform(300, 3000) * np.exp(-(x**2 + y**2) / 6)
    return image.astype(np.float32)


def test_windows_and_binned_exposures_are_not_ranked_among_full_frames(night):
    table = Table.read(night / "scored" / "exposures.ecsv")
    row = {str(r["exposure"]): r for r in table}
    assert row["window"]["status"] == "other_size"
    assert "200 x 150 pixels" in row["window"]["note"]
    assert "320 x 320 pixels" in row["window"]["note"]
    assert np.ma.is_masked(row["window"]["source_rank"])
    assert np.ma.is_masked(row["window"]["background_deviation"])
    assert row["binned0"]["camera"] == row["binned1"]["camera"] == "CAM-bin2x2"
    full = [row[f"e{i}"] for i in range(8)]
    assert sorted(r["background_rank"] for r in full) == list(range(1, 9))


def test_the_scores_of_full_frames_are_those_without_the_window(night, tmp_path):
    alone = tmp_path / "alone"
    paths = [str(night / f"e{i}.fits") for i in range(8)]
    _score(*paths, "-o", alone)
    with_window, without = (Table.read(f / "exposures.ecsv") for f in (night / "scored", alone))
    for r in without:
        (same,) = (s for s in with_window if s["exposure"] == r["exposure"])
        for name in ("source_kl", "background_kl", "background_deviation", "source_rank"):
            assert r[name] == same[name] or (np.ma.is_masked(r[name]) and np.ma.is_masked(same[name]))


def test_a_reference_holds_the_usual_size_and_is_compared_with_that_size_alone(night, tmp_path):
    references = make_references([night / "scored"])
    usual = references.get("CAM", "r")
    assert set(usual.exposures) == {f"e{i}" for i in range(8)}
    assert usual.size == (320, 320)
    references.save(tmp_path / "r.ecsv")
    paths = [str(night / f"{name}.fits") for name in ("e0", "window")]
    _score(*paths, "-o", tmp_path / "out", "--reference", tmp_path / "r.ecsv")
    row = {str(r["exposure"]): r for r in Table.read(tmp_path / "out" / "exposures.ecsv")}
    assert row["window"]["status"] == "other_size"
    assert np.ma.is_masked(row["window"]["background_kl"])
    assert row["e0"]["status"] == "ok"
