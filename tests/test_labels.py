"""Labels: the format of the file, the labels of each analyst, the consensus of several, and their agreement."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest

from gpuanom.errors import InputError
from gpuanom.review import analysts, labels, marked
from gpuanom.review.labels import Label
from gpuanom.review.marked import Place


def label(exposure="1", grade="prominent", analyst="ann", kind="source", time="2026-01-01T00:00:00Z", camera="C"):
    return Label(exposure, camera, kind, grade, "trail", analyst, time)


def test_labels_go_to_a_file_and_come_back(tmp_path):
    given = [label(exposure='a"b,c'), label(exposure="<b>&é", analyst="bob, jr.")]
    labels.write(tmp_path / "labels.csv", given)
    assert labels.read(tmp_path / "labels.csv") == given
    assert labels.kept(tmp_path) == given
    assert labels.kept(tmp_path / "none") == []


def test_marked_places_go_to_a_file_and_come_back(tmp_path):
    places = [Place("N4", 1023.5, 2045.0), Place('a b;c,%"<é>', 0.5, 12.25), Place("R22_S11", -3.0, 100000.0)]
    text = marked.to_text(places)
    assert text == "N4 1023.5 2045; a%20b%3Bc%2C%25%22%3C%C3%A9%3E 0.5 12.25; R22_S11 -3 100000"
    assert marked.from_text(text) == places
    assert marked.from_text(" ; ") == []
    given = [replace(label(), places=text)]
    labels.write(tmp_path / "labels.csv", given)
    assert labels.read(tmp_path / "labels.csv") == given
    (tmp_path / "old.csv").write_text("exposure,kind,label,analyst,time\n1,source,normal,ann,t\n")
    assert labels.read(tmp_path / "old.csv")[0].places == ""
    # A label that finds its camera keeps its places.
    assert labels.placed([replace(given[0], camera="")], [("C", "1")])[0] == given


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "exposure, kind, label missing"),
        ("exposure,label\n1,normal\n", "kind missing"),
        ("exposure,kind,label\n1,source,bad\n", "line 2: label 'bad'"),
        ("exposure,kind,label\n1,stars,normal\n", "line 2: kind 'stars'"),
        ("exposure,kind,label,reason\n1,source,normal,aliens\n", "reason 'aliens'"),
        ("exposure,kind,label\n,source,normal\n", "line 2: no exposure"),
        ('exposure,kind,label\n"1,source,normal\n', "line 2: "),
        ("exposure;kind;label\n1;source;normal\n", "the line is 'exposure;kind;label'; names are written in small"),
        ("exposure,kind,label,analyst\n1,source,normal,Ann, jr.\n", "line 2: more values than columns .quote a text"),
        ("exposure,kind,label,places\n1,source,normal,N4 1\n", "line 2: 'N4 1' is no place"),
        ("exposure,kind,label,places\n1,source,normal,N4 1 y\n", "'N4 1 y' is no place"),
        ("exposure,kind,label,places\n1,source,normal,N4 nan 2\n", "outside of every image"),
        ("exposure,kind,label,places\n1,source,normal," + "N4 1 2;" * 201 + "\n", "201 places"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, text, word):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        labels.read(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        labels.read(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        labels.read(tmp_path / "bytes.csv")


def test_a_spreadsheets_byte_order_mark_and_a_nameless_analyst(tmp_path):
    (tmp_path / "carol.csv").write_text("\ufeffexposure,kind,label\n7,source,dubious\n", encoding="utf-8")
    (found,) = labels.read(tmp_path / "carol.csv")
    assert (found.exposure, found.analyst, found.camera) == ("7", "carol", "")


def test_the_latest_of_an_analysts_labels_counts():
    early, late = label(time="2026-01-01T00:00:00Z"), label(grade="normal", time="2026-01-02T00:00:00Z")
    other = label(analyst="bob")
    assert labels.merged([late, other, early]) == [late, other]
    assert labels.merged([label(exposure="10"), label(exposure="9")])[0].exposure == "9"


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05-05:00"),  # 08:04:05 UTC
        ("2026-01-02T03:04:05+05:00", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5Z"),
        ("yesterday", "2026-01-02"),  # no time, and greater than one as a text
        ("", "2026-01-02"),
    ],
)
def test_the_later_moment_counts_and_not_the_greater_text(early, late):
    first, second = label(time=early), label(grade="normal", time=late)
    assert labels.merged([first, second]) == labels.merged([second, first]) == [second]


def test_empty_values_behind_the_last_column_are_a_spreadsheets(tmp_path):
    (tmp_path / "ann.csv").write_text("exposure,kind,label\n7,source,dubious,,\n")
    assert labels.read(tmp_path / "ann.csv")[0].label == "dubious"


def test_labels_find_their_camera():
    night = [("A", "1"), ("B", "1"), ("A", "2")]
    given = [label("2", camera=""), label("1", camera=""), label("1", camera="B"), label("3", camera="A")]
    ours, strangers = labels.placed(given, night)
    assert [(a.camera, a.exposure) for a in ours] == [("A", "2"), ("B", "1")]
    assert strangers == [given[1], given[3]]


@pytest.mark.parametrize(
    ("votes", "any_", "majority", "all_"),
    [
        (["prominent"], "prominent", "prominent", "prominent"),
        (["prominent", "normal", "normal"], "prominent", "normal", "normal"),
        (["prominent", "dubious", "normal"], "prominent", "dubious", "normal"),
        (["prominent", "prominent", "dubious"], "prominent", "prominent", "dubious"),
        (["prominent", "normal"], "prominent", "normal", "normal"),
    ],
)
def test_consensus(votes, any_, majority, all_):
    given = [label(grade=grade, analyst=str(i)) for i, grade in enumerate(votes)]
    for how, grade in zip(analysts.CONSENSUS, (any_, majority, all_), strict=True):
        assert analysts.consensus(given, how) == {("C", "1", "source"): grade}


def test_agreement_is_cohens_kappa():
    # Cohen's table by hand: 2 of 4 agree; the agreement by chance is 3/4 x 1/4 + 1/4 x 3/4 = 0.375.
    first = ["prominent", "prominent", "prominent", "normal"]
    second = ["prominent", "normal", "normal", "normal"]
    given = [label(str(i), grade, "ann") for i, grade in enumerate(first)]
    given += [label(str(i), grade, "bob") for i, grade in enumerate(second)]
    given.append(label("99", "dubious", "eve"))
    (found,) = analysts.agreement(given)
    assert (found.first, found.second, found.n, found.same) == ("ann", "bob", 4, 0.5)
    assert found.kappa == pytest.approx((0.5 - 0.375) / (1 - 0.375))
    (alike,) = analysts.agreement([label(), label(analyst="bob")])
    assert alike.same == 1.0
    assert math.isnan(alike.kappa)


def test_labels_that_are_kept_at_the_same_time_are_all_kept(tmp_path, monkeypatch):
    read = labels.kept

    def slowly(folder):
        found = read(folder)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(labels, "kept", slowly)
    programs = [threading.Thread(target=labels.keep, args=(tmp_path, [label(exposure=str(i))])) for i in range(6)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert [one.exposure for one in read(tmp_path)] == list("012345")
    assert [path.name for path in tmp_path.iterdir()] == [labels.NAME]


def test_contradictions_are_found():
    said = [label(), label(analyst="bob", grade="normal"), label(exposure="2"), label("2", "dubious", "bob")]
    said.append(label(kind="background", grade="normal"))
    assert analysts.contradictions(said) == {("C", "1", "source"): said[:2]}
