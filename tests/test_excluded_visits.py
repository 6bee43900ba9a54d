"""Lists of excluded visits in ECSV, as Rubin keeps them: written by `export`, read by `label`."""

from __future__ import annotations

import pytest
from astropy.table import Table

import gpuanom
from gpuanom.errors import InputError, OutputError
from gpuanom.review import excluded_visits, export, labels
from gpuanom.review.export import Reason
from tests import nights
from tests.test_cli import run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)

LIST = """# %ECSV 1.0
# ---
# datatype:
# - {name: exposure, datatype: uint64}
# - {name: comment, datatype: string}
# delimiter: ','
# schema: astropy-2.0
exposure,comment
1, slew during exposure
3,stripes; out of focus
2024110600163, "rotator, and laser"
"""


def test_numbers_stay_numbers_in_order():
    """The largest id is above 2^63; 10 comes after 9."""
    comments = {("LSSTCam", name): f"comment {name}, quoted" for name in ("10", "18446744073709551615", "9")}
    text = excluded_visits.to_text(comments)
    table = Table.read(text.split("\n"), format="ascii.ecsv")
    assert table.colnames == ["exposure", "comment"]
    assert table["exposure"].dtype == "uint64"
    assert table["exposure"].tolist() == [9, 10, 2**64 - 1]
    assert table["comment"][0] == "comment 9, quoted"
    assert "\nexposure,comment\n" in text
    assert "delimiter: ','" in text


@pytest.mark.parametrize("name", ["007", "n1-img0", "18446744073709551616", "1.5", "\u0661"])
def test_other_ids_stay_texts(name):
    text = excluded_visits.to_text({("", name): "why", ("", "8"): ""})
    rows = excluded_visits.from_text(text, "a list")
    assert sorted(rows) == sorted([(name, "why"), ("8", "")])


def test_an_empty_list_is_a_list():
    assert excluded_visits.from_text(excluded_visits.to_text({}), "a list") == []


def test_cameras_have_no_column():
    with pytest.raises(OutputError, match="holds one camera, not a, b"):
        excluded_visits.to_text({("a", "1"): "", ("b", "2"): ""})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIST.replace("name: comment", "name: remark").replace(",comment", ",remark"), "comment missing"),
        (LIST.replace("\n1, slew", "\nx, slew"), "cannot be read as ECSV"),
        (LIST.replace("\n1, slew", '\n"", slew'), "without an exposure"),
        ("# %ECSV 1.0\n", "cannot be read as ECSV"),
    ],
)
def test_damaged_lists_are_one_line(tmp_path, text, words):
    path = tmp_path / "bad.ecsv"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        labels.read(path)
    assert "bad.ecsv" in str(error.value)
    assert "\n" not in str(error.value)


def test_comments_become_labels(tmp_path):
    path = tmp_path / "bad.ecsv"
    path.write_text(LIST)
    found = {(a.exposure, a.kind, a.reason) for a in labels.read(path)}
    assert found == {
        ("1", "source", "trail"),
        ("3", "background", "stripes"),
        ("3", "source", "focus"),
        ("2024110600163", "background", "other"),
    }
    assert {(a.label, a.analyst, a.camera) for a in labels.read(path)} == {("prominent", "bad", "")}


@pytest.mark.parametrize("reason", ["", *labels.REASONS])
@pytest.mark.parametrize("kind", labels.LABEL_KINDS)
def test_labels_that_are_exported_come_back(tmp_path, kind, reason):
    """The kind comes back always, the reason where the comment's words tell it."""
    path = tmp_path / "labels.ecsv"
    chosen = {("", "4"): [Reason(kind, f"{kind} {reason or 'prominent'}", "ann")]}
    path.write_text(export.visit_list(chosen))
    (label,) = labels.read(path)
    assert (label.exposure, label.kind, label.label) == ("4", kind, "prominent")
    assert label.reason == (reason or "other")


def test_a_night_is_labelled_and_exported(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=3, ccds=1)
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    (tmp_path / "bad.ecsv").write_text(LIST)
    code, out, err = run(capfd, "label", tmp_path / "night", tmp_path / "bad.ecsv")
    assert (code, out.splitlines()[0]) == (0, "bad: 3 labels (3 prominent, 0 dubious, 0 normal)")
    assert "1 of the excluded visits are not in" in err
    code, out, err = run(capfd, "export", tmp_path / "night", "--format", "excluded_visits", "--label", "prominent")
    assert code == 0
    table = Table.read(out.split("\n"), format="ascii.ecsv")
    assert table["exposure"].tolist() == [1, 3]
    assert table["comment"].tolist() == ["source trail", "source focus; background stripes"]
    assert "chosen as bad: 2 of 3 exposures; 0 could not be measured" in err
