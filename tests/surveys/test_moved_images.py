"""Surveys whose images were moved to another disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpuanom.store.store import NAME
from tests import nights
from tests.commands import run
from tests.surveys.common import file_of, merge, moved, score


def test_a_night_that_was_moved_to_another_disk(versions, tmp_path, capfd):
    disk1, disk2 = moved(tmp_path)
    move = ("--relocate", f"{disk1}={disk2}", "--relocate", "/nowhere=/else")
    words = ("merge", tmp_path / "o_n", versions / "o_v0", "-o", tmp_path / "all", "--format", "csv", *move)
    code, _, err = run(capfd, *words)
    assert (code, err) == (0, "no stored path begins with /nowhere: nothing was relocated from there to /else\n")
    score([disk2 / "n", versions / "v0"], tmp_path / "fresh")
    assert nights.tables(tmp_path / "all") == nights.tables(tmp_path / "fresh")
    # Copies that lost their dates were measured again at the new place: one exposure, not two.
    for file in (disk2 / "n").iterdir():
        file.touch()
    score(disk2 / "n", tmp_path / "o_again")
    merge([tmp_path / "o_n", tmp_path / "o_again"], tmp_path / "both", relocate={disk1: disk2})
    assert nights.tables(tmp_path / "both") == nights.tables(tmp_path / "o_again")


@pytest.mark.proof
def test_commands_find_images_on_another_disk(tmp_path, capfd):
    disk1, disk2 = moved(tmp_path)
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 1
    move = ("--relocate", f"{disk1}={disk2}")
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png", *move)[0] == 0
    assert run(capfd, "report", tmp_path / "o_n", "--no-cache", "-q", *move)[0] == 0
    code, out, _ = run(
        capfd, "export", tmp_path / "o_n", "--format", "list", "--rank", "1", "--by", "background", *move
    )
    assert {Path(line).parent for line in out.splitlines()} == {disk2 / "n"}
    code, _, err = run(capfd, "report", tmp_path / "o_n", "--relocate", f"{disk2}={disk1}")
    assert (code, "no stored path begins with" in err) == (2, True)
    # A run keeps the new places, so that no command needs to be told again.
    assert run(capfd, "score", "-q", "-o", tmp_path / "o_n", *move)[0] == 0
    assert run(capfd, "show", tmp_path / "o_n", "1", "-o", tmp_path / "p.png")[0] == 0


def test_a_survey_that_grows_keeps_the_formats_of_its_tables_and_knows_its_moved_files(base, tmp_path, capfd):
    shutil.copytree(base / "o_n1", tmp_path / "survey")
    move = ("--relocate", f"{base / 'n1'}=/elsewhere")
    move += ("--relocate", "/nowhere=/else")
    code, _, err = run(capfd, "merge", base / "o_n3", "-o", tmp_path / "survey", "--add", *move)
    assert (code, err) == (0, "no stored path begins with /nowhere: nothing was relocated from there to /else\n")
    assert sorted(path.name for path in tmp_path.joinpath("survey").iterdir()) == ["ccds.csv", "exposures.csv", NAME]
    assert {str(path.parent) for path in file_of(tmp_path / "survey").values()} == {"/elsewhere", str(base / "n3")}
