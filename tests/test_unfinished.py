"""Nights that are not measured as a whole, which every command names that uses them."""

from __future__ import annotations

import pytest

import gpuanom
from gpuanom.cli import cli
from gpuanom.nights.events import Events
from gpuanom.settings import Settings
from gpuanom.store.store import NAME, Store
from tests import nights
from tests.commands import run

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)
ENDED = "3 exposures of this night are not measured yet: a run was ended early"


def end_early(given, output, after=2):
    """A run that is ended after so many exposures."""
    stored = []

    def stop(*told):
        stored.append(told)
        if len(stored) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpuanom.score(given, output, settings=QUICK, events=Events(done=stop), threads=1)


def n_unmeasured(folder):
    with Store(folder / NAME, Settings(), read_only=True) as store:
        return store.n_unmeasured()


@pytest.fixture
def ended(tmp_path):
    nights.night(tmp_path / "in", exposures=5, ccds=1)
    end_early(tmp_path / "in", tmp_path / "out")
    return tmp_path


def words(folder):
    """The words of each command that uses a night, with the exit code, by the name of the command."""
    out = folder / "out"
    (folder / "labels.csv").write_text("exposure,kind,label\n1,source,normal\n")
    return {
        "report": (("report", out), 0),
        "show": (("show", out, "1"), 0),
        "history": (("history", out), 0),
        "reference": (("reference", out, "-o", folder / "r.ecsv"), 0),
        "export": (("export", out, "--format", "exclude"), 0),
        "evaluate": (("evaluate", out, "--known", known(folder)), 0),
        "merge": (("merge", out, "-o", folder / "merged", "-q"), 1),
        "score": (("score", "-o", out), 0),
        "label": (("label", out, folder / "labels.csv"), 0),
        "forget": (("forget", out, "1", "--dry-run"), 0),
        "train": (("train", out, "-o", folder / "model.pt"), 2),
        "inject": (("inject", folder / "in", "-o", folder / "injected", "--anomaly", "stripes", "--reference", out), 0),
    }


USE_NO_NIGHT = {
    "tables": "shows the tables as a run that came to its end wrote them",
    "watch": "goes on with the night, and its page and tables are those of an unfinished night all the time",
    **dict.fromkeys(("explain", "settings", "simulate", "doctor", "completion"), "opens no scored night"),
}


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_names_a_night_whose_run_was_ended(ended, capfd, command):
    if command in USE_NO_NIGHT:
        assert command not in words(ended)
        return
    if command == "train":
        pytest.importorskip("torch")
    if command == "inject":
        pytest.importorskip("galsim")
    given, code = words(ended)[command]
    got, out, err = run(capfd, *given)
    assert (got, (out + err).count(ENDED)) == (code, 1), out + err


def test_nights_are_added_to_one_whose_run_was_ended(ended, capfd):
    nights.night(ended / "next", exposures=2, ccds=1, EXPTIME=20.0, camera="OTHER")
    gpuanom.score(ended / "next", ended / "two", settings=QUICK)
    code, _, err = run(capfd, "merge", ended / "two", "-o", ended / "out", "--add", "-q")
    assert (code, err.count(ENDED)) == (1, 1)


def test_notebooks_say_so_too(ended):
    assert "3 not measured yet" in repr(gpuanom.open_night(ended / "out"))


def known(folder):
    path = folder / "known.csv"
    path.write_text("exposure,anomaly\n1,elongation\n")
    return path


def test_a_run_that_goes_on_finishes_the_night(ended, capfd):
    gpuanom.score(ended / "in", ended / "out", settings=QUICK)
    assert n_unmeasured(ended / "out") == 0
    assert run(capfd, "merge", ended / "out", "-o", ended / "merged", "-q") == (0, "", "")
    assert "not measured" not in repr(gpuanom.open_night(ended / "out"))


def test_exposures_that_fail_or_are_gone_are_not_waited_for(ended):
    files = sorted((ended / "in").iterdir())
    files[2].write_bytes(files[2].read_bytes()[:5000])  # cut after the headers
    files[3].unlink()
    left = n_unmeasured(ended / "out")
    gpuanom.score(files[2], ended / "out", settings=QUICK)
    assert (left, n_unmeasured(ended / "out")) == (3, 1)  # the last exposure has its file, and was not given again
    gpuanom.score(ended / "in", ended / "out", settings=QUICK)
    assert n_unmeasured(ended / "out") == 0


def test_a_night_begun_anew_forgets_the_ended_run(ended):
    gpuanom.score(ended / "in" / "exposure_001.fits", ended / "out", settings=QUICK, existing="overwrite")
    assert n_unmeasured(ended / "out") == 0


def test_stores_of_earlier_versions_lack_nothing(ended):
    with Store(ended / "out" / NAME, QUICK) as store:
        store._db.execute("DROP TABLE planned")
    assert n_unmeasured(ended / "out") == 0


@pytest.fixture
def shares(tmp_path):
    nights.night(tmp_path / "in", exposures=7, ccds=1)
    for part in (1, 2, 3):
        gpuanom.score(tmp_path / "in", tmp_path / f"part{part}", settings=QUICK, shard=(part, 3))
    return tmp_path


def test_missing_shares_are_named(shares, capfd):
    parts = [shares / f"part{part}" for part in (1, 2, 3)]
    assert run(capfd, "merge", *parts, "-o", shares / "all", "-q") == (0, "", "")
    code, _, err = run(capfd, "merge", parts[0], parts[2], "-o", shares / "two", "-q")
    assert code == 1
    assert err.startswith(
        f"{parts[0]} and 1 other folder: 1 share of this night, which has 3, not among the inputs: 2 ("
    )
    code, _, err = run(capfd, "merge", parts[1], "-o", shares / "one", "-q")
    assert code == 1
    assert err.startswith(f"{parts[1]}: 2 shares of this night, which has 3, not among the inputs: 1, 3 (")


def test_shares_of_several_nights_and_whole_nights_are_told_apart(shares, capfd):
    nights.night(shares / "next", exposures=3, ccds=1, EXPTIME=20.0)
    others = []
    for part in (1, 2):
        others.append(shares / f"next{part}")
        gpuanom.score(shares / "next", others[-1], settings=QUICK, shard=(part, 2))
    parts = [shares / f"part{part}" for part in (1, 2, 3)]
    code, _, err = run(capfd, "merge", *parts, others[1], "-o", shares / "all", "-q")
    assert code == 1
    assert [line.partition(":")[0] for line in err.splitlines()] == [str(others[1])]


def test_a_share_that_becomes_a_whole_night_is_no_share(shares, capfd):
    gpuanom.score(shares / "in", shares / "part1", settings=QUICK)
    assert run(capfd, "merge", shares / "part1", "-o", shares / "all", "-q") == (0, "", "")


def test_files_that_came_between_the_jobs_are_named(shares, capfd):
    """An exposure that came after its share was measured is in none of the shares."""
    nights.write(shares / "in", 8, ccds=1)
    gpuanom.score(shares / "in", shares / "part3", settings=QUICK, shard=(3, 3))
    parts = [shares / f"part{part}" for part in (1, 2, 3)]
    code, _, err = run(capfd, "merge", *parts, "-o", shares / "all", "-q")
    assert code == 1
    assert err.count("score each share again") == 2
