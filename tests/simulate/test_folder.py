"""What the folder of a night may contain: the same night is kept, and another night is never replaced silently."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

pytest.importorskip("galsim")

from gpuanom.errors import OutputError
from gpuanom.simulate import simulate_night
from tests.commands import run

TINY = {"exposures": 2, "ccds": 1, "shape": (64, 64)}
WORDS = ("--exposures", "2", "--ccds", "1", "--shape", "64,64")


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_readme_s_first_command_twice(tmp_path, capfd):
    """`gpuanom simulate night && gpuanom score night --output scored`, a second time in the same folder."""
    night, scored = tmp_path / "night", tmp_path / "scored"
    said, seen = [], []
    for _ in range(2):
        code, out, err = run(capfd, "simulate", night, "--exposures", "4", "--ccds", "1", "--shape", "96,96")
        assert code == 0
        said.append((out, err))
        seen.append(digests(night))
        assert run(capfd, "score", night, "--output", scored, "--device", "cpu", "--points", "200")[0] == 0
    assert seen[0] == seen[1] == digests(night)
    assert said[0][0] == said[1][0]
    assert "kept" not in said[0][1]
    assert "holds this night already" in said[1][1]
    assert "it is kept" in said[1][1]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (("--seed", "2"), "its seed: 1, not 2"),
        (("--exposures", "1"), "its exposures: 2, not 1"),
        (("--exposures", "3"), "its exposures: 2, not 3"),
        (("--shape", "64,65"), "its shape: [64, 64], not [64, 65]"),
        (("--bands", "g"), "its bands"),
        (("--anomalies", "none"), "its anomalies: default, not none"),
        (("--headers", "decam"), "its headers"),
        (("--compress",), "its compress"),
    ],
)
def test_another_night_is_refused_and_replaced_when_asked(tmp_path, capfd, other, difference):
    simulate_night(tmp_path / "night", **TINY)
    before = digests(tmp_path / "night")
    code, out, err = run(capfd, "simulate", tmp_path / "night", *WORDS, *other)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert difference in err
    assert "--overwrite" in err
    assert digests(tmp_path / "night") == before
    assert run(capfd, "simulate", tmp_path / "night", *WORDS, *other, "--overwrite")[0] == 0
    assert run(capfd, "simulate", tmp_path / "new", *WORDS, *other)[0] == 0
    assert digests(tmp_path / "night") == digests(tmp_path / "new")


def test_a_night_of_an_older_version_is_refused_and_replaced_when_asked(tmp_path):
    simulate_night(tmp_path, **TINY)
    truth = Table.read(tmp_path / "truth.ecsv")
    truth.meta.clear()
    truth.remove_column("ccds")
    truth.write(tmp_path / "truth.ecsv", overwrite=True)
    before = digests(tmp_path)
    with pytest.raises(OutputError, match="nothing in it says how it was made"):
        simulate_night(tmp_path, **TINY)
    assert digests(tmp_path) == before
    simulate_night(tmp_path, **TINY, overwrite=True)
    assert "ccds" in Table.read(tmp_path / "truth.ecsv").colnames


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_are_no_night_s_own_are_never_touched(tmp_path, overwrite):
    """Files with other names, and files with our names but other contents: pixels, a table, an injected copy."""
    telescope = fits.PrimaryHDU(np.ones((64, 64), np.float32))
    telescope.header["INSTRUME"] = "MYCAM"
    injected = fits.PrimaryHDU()
    injected.header["INSTRUME"] = "GPUANOM-SIM"
    injected.header["HISTORY"] = "gpuanom inject: stripes of 1 along 30 deg"
    makers = {
        "thesis.tex": lambda path: path.write_text("ten years of work"),
        "truth.ecsv": lambda path: path.write_text("mine"),
        "sim_000001.fits": telescope.writeto,
        "sim_000009.fits": injected.writeto,
        "c4d_260101_020000_ooi_g_v1.fits": telescope.writeto,
    }
    for i, (name, make) in enumerate(makers.items()):
        alone, beside = tmp_path / f"alone{i}", tmp_path / f"beside{i}"
        alone.mkdir()
        make(alone / name)
        folders = [alone]
        if name not in ("truth.ecsv", "sim_000001.fits"):
            simulate_night(beside, **TINY, seed=5)
            make(beside / name)
            folders.append(beside)
        for folder in folders:
            before = digests(folder)
            with pytest.raises(OutputError, match=f"holds other files .{name}"):
                simulate_night(folder, **TINY, overwrite=overwrite)
            assert digests(folder) == before


def test_notes_beside_a_night_do_not_matter_while_it_is_kept(tmp_path):
    simulate_night(tmp_path, **TINY)
    (tmp_path / "notes.txt").write_text("stripes in exposure 2")
    before = digests(tmp_path)
    simulate_night(tmp_path, **TINY)
    assert digests(tmp_path) == before


def test_an_interrupted_night_has_no_truth_and_is_gone_on_with(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    arguments = TINY | {"exposures": 3, "anomalies": ["guiding"]}
    with pytest.raises(KeyboardInterrupt):
        simulate_night(tmp_path / "night", **arguments, progress=interrupt)
    assert not (tmp_path / "night" / "truth.ecsv").exists()
    (tmp_path / "night" / ".sim_000002.fits.partial").write_bytes(b"left over")
    with pytest.raises(OutputError, match="its seed: 1, not 9"):
        simulate_night(tmp_path / "night", **arguments, seed=9)
    simulate_night(tmp_path / "night", **arguments)
    simulate_night(tmp_path / "whole", **arguments)
    ours, whole = digests(tmp_path / "night"), digests(tmp_path / "whole")
    ours.pop(".sim_000002.fits.partial", None)
    assert ours == whole


def test_a_missing_exposure_is_drawn_again(tmp_path):
    simulate_night(tmp_path, **TINY)
    before = digests(tmp_path)
    (tmp_path / "sim_000001.fits").unlink()
    simulate_night(tmp_path, **TINY)
    assert digests(tmp_path) == before


def test_a_quiet_simulation_prints_nothing(tmp_path, capfd):
    assert run(capfd, "simulate", tmp_path / "night", *WORDS, "-q") == (0, "", "")
    assert (tmp_path / "night" / "truth.ecsv").is_file()
