"""A night in shares, as the tasks of a job array measure it."""

from __future__ import annotations

import pytest

import gpuanom
from gpuanom.cli import main
from gpuanom.fits import discover
from gpuanom.nights.plan import shard
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


@pytest.fixture
def small(tmp_path):
    nights.night(tmp_path / "in", exposures=6, ccds=1, bands=("r", "g"), odd=2)
    (tmp_path / "in" / "exposure_007.fits").write_bytes(b"no FITS")
    return tmp_path


def test_shares_make_the_whole_and_do_not_depend_on_the_rest(small):
    found = discover([small / "in"], QUICK)
    for parts in (1, 2, 5, 40):
        shares = [shard(found, k, parts) for k in range(1, parts + 1)]
        assert sorted(e.exposure for s in shares for e in s.exposures) == [e.exposure for e in found.exposures]
        assert [f for s in shares for f in s.failures] == list(found.failures)
        few = discover([small / "in" / "exposure_002.fits"], QUICK)
        (number,) = (k for k, s in enumerate(shares, 1) if few.exposures[0] in s.exposures)
        assert shard(few, number, parts).exposures == few.exposures


def test_shares_merged_are_one_run_byte_for_byte(small):
    gpuanom.score(small / "in", small / "one", settings=QUICK)
    parts = []
    for k in range(1, 9):
        parts.append(small / f"night-{k}")
        gpuanom.score(small / "in", parts[-1], settings=QUICK, shard=(k, 8))
    found = discover([small / "in"], QUICK)
    assert any(shard(found, k, 8).exposures == () for k in range(1, 9))  # an empty share is no failure
    gpuanom.merge_nights(parts, small / "all")
    assert nights.tables(small / "all") == nights.tables(small / "one")


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "3", "/3", "a/b", "1/0", "-1/3"])
def test_what_is_no_share_is_refused(small, capfd, wrong):
    with pytest.raises(SystemExit) as end:
        main(["score", str(small / "in"), "-o", str(small / "out"), f"--shard={wrong}"])
    assert end.value.code == 2
    assert "is not K/N with K from 1 to N" in capfd.readouterr().err
    assert not (small / "out").exists()


def test_a_share_is_told_and_goes_on_where_it_stopped(small, capfd):
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["score", str(small / "in"), "-o", str(small / "out"), "--shard", "1/2", "--points", "300"])
    said = capfd.readouterr().err
    assert said.count("shard 1/2: ") == 2
    assert "measured already" in said
