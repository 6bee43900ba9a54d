"""A survey is changed as a whole or not at all: interrupts, damage, dry runs, and names that stand for nothing."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

import gpuanom
from gpuanom.errors import OutputError
from gpuanom.files import partial_path
from gpuanom.store.store import NAME
from gpuanom.tables import build, writing
from tests import nights
from tests.commands import run
from tests.surveys.common import file_of, forget, ids, merge, rows, score


def test_names_that_stand_for_the_same_exposures(base, tmp_path):
    merge([base / "o_n1", base / "o_n3"], tmp_path / "survey")
    lines = forget(tmp_path / "survey", ["5", "5", base / "o_n3", base / "n3"])
    assert lines == [
        "exposure 5: 1 exposure forgotten",
        *(f"{name}: nothing more forgotten, after the names before"
          for name in ("exposure 5", f"night {base / 'o_n3'}", f"what lies in {base / 'n3'}")),
    ]  # fmt: skip
    assert nights.tables(tmp_path / "survey") == nights.tables(base / "o_n1")


@pytest.mark.parametrize("at", ["write", pytest.param("build", marks=pytest.mark.proof)])
def test_an_interrupt_leaves_a_survey_as_it_was_and_the_command_can_be_repeated(base, tmp_path, monkeypatch, at):
    survey, store = tmp_path / "survey", tmp_path / "survey" / NAME

    def interrupted(*_):
        raise KeyboardInterrupt

    def broken(command, *arguments, **options):
        with monkeypatch.context() as patch:
            if at == "build":
                patch.setattr(build, "build", interrupted)
            else:
                patch.setattr(writing, "write_table", interrupted)
            with pytest.raises(KeyboardInterrupt):
                command(*arguments, **options)

    broken(merge, [base / "o_n1"], survey)
    assert not survey.exists() or not [path for path in survey.iterdir() if "sqlite" in path.name]
    # A run that was killed leaves a store that is not whole.
    survey.mkdir(exist_ok=True)
    shutil.copy(base / "o_n3" / NAME, partial_path(store))
    merge([base / "o_n1"], survey)
    assert nights.tables(survey) == nights.tables(base / "o_n1")
    assert sorted(path.name for path in survey.iterdir()) == ["ccds.csv", "exposures.csv", NAME]
    before = rows(survey)
    broken(merge, [base / "o_n3"], survey, add=True)
    assert rows(survey) == before
    merge([base / "o_n3"], survey, add=True)
    before = rows(survey)
    broken(forget, survey, "1")
    assert rows(survey) == before
    forget(survey, ["1", "5"])
    score([base / "n1" / "exposure_002.fits"], tmp_path / "never")
    assert nights.tables(survey) == nights.tables(tmp_path / "never")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE nights SET position = 'x' WHERE night LIKE '%o_v1%'",
        "UPDATE nights SET night = '7'",
        *(pytest.param(f"UPDATE {damage}", marks=pytest.mark.proof) for damage in (
            "versions SET version = '[1]'", "aside_versions SET version = '[[\"x\"], 1, [2], 3]'",
            "aside_exposures SET copy = 'x'", "aside_exposures SET copy = 0", "aside_exposures SET files = '[1]'",
            "aside_exposures SET histograms = 'a'", "aside_exposures SET camera = NULL",
            "aside_exposures SET exposure = x'00ff'",
        )),
        pytest.param("DROP TABLE aside_exposures; CREATE TABLE aside_exposures (copy)", marks=pytest.mark.proof),
    ],
)  # fmt: skip
def test_a_damaged_survey_is_one_line_and_left_as_it_is(versions, tmp_path, capfd, damage):
    survey = tmp_path / "survey"
    merge([versions / "o_v0", versions / "o_v1"], survey)
    with closing(sqlite3.connect(survey / NAME)) as db:
        db.executescript(damage)
    before = rows(survey)
    for words in (("forget", survey, versions / "o_v1"), ("merge", versions / "o_v2", "-o", survey, "--add"),
                  ("merge", survey, "-o", tmp_path / "other")):  # fmt: skip
        code, out, err = run(capfd, *words)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gpuanom: {survey / NAME}: ")
        assert "unexpected" not in err
    assert rows(survey) == before
    assert not (tmp_path / "other" / NAME).exists()


def test_quiet_commands_say_nothing(base, tmp_path, capfd):
    survey = tmp_path / "survey"
    assert run(capfd, "merge", base / "o_n1", base / "o_n3", "-o", survey, "-q") == (0, "", "")
    assert run(capfd, "forget", survey, base / "o_n3", "-q") == (0, "", "")
    gpuanom.merge_nights([base / "o_n1"], tmp_path / "one", device="cpu")
    assert nights.tables(survey) == nights.tables(tmp_path / "one")
    code, out, err = run(capfd, "forget", survey, "1", "-q", "--dry-run")
    assert (code, out, "leave out --quiet" in err) == (2, "", True)
    code, out, err = run(capfd, "forget", survey, "nothing", "-q")
    assert (code, out, "the survey holds no exposure" in err) == (2, "", True)


def test_the_command_says_what_it_does_and_changes_nothing_in_a_dry_run(base, tmp_path, capfd):
    survey = tmp_path / "survey"
    gpuanom.merge_nights([base / "o_n1", base / "o_n3"], survey, formats=["csv", "ecsv"], device="cpu")
    before = {path: path.read_bytes() for path in survey.iterdir()}
    code, out, err = run(capfd, "forget", survey, base / "o_n3", "2", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"night {base / 'o_n3'}: 1 exposure would be forgotten",
        "exposure 2: 1 exposure would be forgotten",
    ]
    assert {path: path.read_bytes() for path in survey.iterdir()} == before
    code, out, _ = run(capfd, "forget", survey, base / "o_n3")
    assert (code, out.splitlines()[-1]) == (0, f"2 exposures in {survey}")
    assert len((survey / "exposures.csv").read_text().splitlines()) == 3
    for words, why in (
        (
            ("forget", survey, "nothing"),
            "the survey holds no exposure, night or folder nothing (it holds the nights",
        ),
        (("forget", survey, "1", base / "o_n3"), "holds none of the exposures of this night"),
        (("forget", tmp_path, "1"), "there is no such store"),
        (("forget", survey, "1", "--camera", "Other"), "no exposure, night or folder 1"),
        (("forget", survey, ""), "the path is empty"),
        (("forget", survey, "a" * 300), "no exposure, night or folder a"),
        (("merge", base / "o_n1", "-o", tmp_path / "x", "--relocate", "nothing"), "'nothing' is not OLD=NEW"),
    ):
        code, _, err = run(capfd, *words)
        assert code == 2
        assert why in err
    assert ids(survey) == ["1", "2"]  # nothing is forgotten where one name is wrong


def test_an_id_of_two_cameras_needs_the_camera(tmp_path):
    for camera in ("ONE", "TWO"):
        nights.write(tmp_path / "in", 1, name=f"{camera}.fits", camera=camera, ccds=1)
    score(tmp_path / "in", tmp_path / "survey")
    with pytest.raises(OutputError, match=r"several cameras have an exposure 1 \(choose one with --camera: ONE, TWO"):
        forget(tmp_path / "survey", "1")
    forget(tmp_path / "survey", "1", camera="TWO")
    assert file_of(tmp_path / "survey")["1"].name == "ONE.fits"
