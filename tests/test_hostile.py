"""Hostile input: what headers, names and stores say is never run, never leaves the output folder, never reaches a
terminal or a page raw; a store that is not ours, altered or damaged stays as it is."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from html.parser import HTMLParser

import pytest

import gpuanom
from gpuanom.cli import main
from gpuanom.nights.alerts import NAME as ALERTS
from gpuanom.review.opened import open_night
from gpuanom.store.store import NAME
from tests import nights

SETTINGS = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)
FLAGS = ("--points", "300", "--sigma-points", "500", "--background-points", "300", "--device", "cpu")
WATCH = ("--once", "--settle", "0", "--every", "0.02", "--patience", "0")

HOSTILE = {
    "markup": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)",
    "shell": "$(touch pwned);`touch pwned`|&",
    "quotes": "a\"b'';DROP TABLE ccds;--",
    "path": "../../../../tmp/pwned",
    "absolute": "/tmp/pwned/x",
    "formula": "=HYPERLINK(1)",
    "option": "--output=pwned",
    "ansi": "\x1b[31m\x1b]0;pwned\x07red",
    "control": "a\x00b\rc\x08d\x7f\x85",
    "format": "%s%n{0}{x!r}$PATH",
    "long": "Z" * 68,
}
show = importlib.import_module("gpuanom.cli.show")  # the package has the command under the same name
SHARING = ("DATE-OBS", "OBJECT", "EXTNAME")


def run(capfd, *arguments):
    """Exit code, standard output and standard error of a command; neither stream may hold a control character."""
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    for text in (out, err):
        assert "Traceback" not in text
        assert "unexpected" not in text, text
        bad = [c for c in text if not c.isprintable() and c != "\n"]
        assert not bad, (bad, arguments)
    return end.value.code, out, err


def _with(content, key, value):
    """A file in which all cards of a key hold this value, byte for byte."""
    card = f"{key:8}= '{value.replace(chr(39), chr(39) * 2)}'".encode("latin-1")[:80].ljust(80)
    return re.sub(rf"(?<=.{{0}}){key:8}= .{{70}}".encode(), lambda _: card, content, flags=re.DOTALL)


def _hostile_night(folder):
    """Every value in every key: the keys that name an exposure and its dataset have a file each, the others share one,
    with a value each."""
    folder.mkdir()
    n = 0
    values = list(HOSTILE.values())
    for i, value in enumerate(values):
        made = nights.write(folder, 1, ccds=1, OBJECT="x")
        content = made.read_bytes()
        made.unlink()
        shared = {key: values[(i + k) % len(values)] for k, key in enumerate(SHARING)}
        for cards in ({"EXPNUM": value}, {"FILTER": value}, {"INSTRUME": value}, shared):
            n += 1
            changed = _with(content, "EXPNUM", f"{n}")
            for key, hostile in cards.items():
                before, changed = changed, _with(changed, key, hostile)
                assert changed != before
            (folder / f"e{n:03d}.fits").write_bytes(changed)
    names = ("-o pwned.fits", "$(touch pwned).fits", "a\x1b[31mb.fits", "<b>&'\".fits", "=1+1.fits", "a\nb.fits")
    for i, name in enumerate(names):
        nights.write(folder, 900 + i, name, ccds=1)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scored night with hostile texts."""
    base = tmp_path_factory.mktemp("hostile")
    _hostile_night(base / "in")
    (base / "work").mkdir()
    return base


def _tree(base):
    return sorted(str(path.relative_to(base)) for path in base.rglob("*"))


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *(name for name, _ in attrs if name.startswith("on"))))


def test_what_headers_and_names_say_stays_text_in_every_command(scene, capfd, monkeypatch):
    monkeypatch.chdir(scene / "work")
    out, others = scene / "out", scene / "others"
    code, _, _ = run(capfd, "score", scene / "in", "-o", out, "--format", "ecsv,csv,fits", *FLAGS, "-v")
    assert code == 0
    made = {path.name for path in out.iterdir()}
    assert made == {NAME, *(f"{t}.{s}" for t in ("exposures", "ccds") for s in ("ecsv", "csv", "fits"))}
    with closing(sqlite3.connect(out / NAME)) as db:
        exposures = db.execute("SELECT exposure, camera, band FROM exposures").fetchall()
    assert len(exposures) >= 45
    for names in exposures:
        assert all(name.isprintable() and "/" not in name and not name.startswith(".") for name in names)

    assert run(capfd, "reference", out, "-o", scene / "ref.ecsv")[0] == 0
    nights.night(scene / "good", exposures=2, ccds=1, camera="OTHERCAM")
    run(capfd, "score", scene / "good", "-o", others, *FLAGS)
    assert run(capfd, "merge", out, others, "-o", scene / "both")[0] == 0
    with monkeypatch.context() as patch:
        for i, (exposure, camera, _) in enumerate(exposures[::6]):
            if i == 1:  # the first `show` has opened the night for itself; each further one would open the same again
                night = open_night(out)
                patch.setattr(show, "open_night", lambda *_, night=night, **__: night)
            assert run(capfd, "show", out, "--camera", camera, "--", exposure)[0] == 0
        run(capfd, "show", out, "--", HOSTILE["ansi"])
    lists = {}
    for form in ("exclude", "bad_expid"):
        code, lists[form], _ = run(capfd, "export", out, "--format", form, "--rank", "1")
        assert code == 0
    code, _, err = run(capfd, "export", out, "--format", "list", "--rank", "1")
    assert code == 0 or "control character in its name" in err
    code, _, _ = run(capfd, "export", out, "--format", "regions", "--rank", "1", "-o", scene / "regions")
    assert code in (0, 1)
    for path in (scene / "regions").rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)
        assert path.parent == scene / "regions"
        lines = path.read_text().splitlines()
        assert all(line.startswith(("#", "image", "circle(", "ellipse(")) for line in lines), lines
    labels = scene / "labels.csv"
    rows = "".join(f'"{e}","{c}",source,prominent,"x\x1b[31m<b>"\n' for e, c, _ in exposures if '"' not in e + c)
    labels.write_text("exposure,camera,kind,label,analyst\n" + rows)
    assert run(capfd, "label", out, labels)[0] == 0
    assert run(capfd, "evaluate", out)[0] == 0
    run(capfd, "export", out, "--format", "bad_expid", "--label", "prominent")
    run(capfd, "report", out, "--top", "3", "--no-cache")
    page = _Tags()
    page.feed((out / "report.html").read_text())
    assert {tag for tag, *_ in page.tags}.isdisjoint({"img", "b", "iframe", "svg", "object"})
    assert not [tag for tag in page.tags if len(tag) > 1]
    assert not [path for path in scene.rglob("*") if "pwned" in path.name and path.parent != scene / "in"]
    assert not list((scene / "work").iterdir())


def test_a_hook_gets_values_and_no_shell_does(scene, tmp_path, capfd, monkeypatch):
    """There is an alert for every exposure, and the hook gets the values of the table."""
    monkeypatch.chdir(tmp_path)
    hook = tmp_path / "hook.py"
    hook.write_text(
        "import json, os, sys\n"
        "row = json.load(sys.stdin)\n"
        "assert sys.argv[1:] == ['$(touch pwned)', ';touch pwned']\n"
        "names = ('exposure', 'camera', 'band', 'file')\n"
        "assert [row[n] for n in names] == [os.environ['GPUANOM_' + n.upper()] for n in names]\n"
        "with open('heard', 'a') as file:\n"
        "    file.write(json.dumps(row) + '\\n')\n"
    )
    monkeypatch.setattr("gpuanom.nights.alerts.LEAST_Z", -100.0)
    command = f"{sys.executable} {hook} '$(touch pwned)' ';touch pwned'"
    # Without verdicts, so that almost every exposure gives an alert.
    flags = [*WATCH, *FLAGS, "--profile", "paper", "--alert", "-100", "--least", "2", "--hook", command]
    code, _, err = run(capfd, "watch", scene / "in", "-o", tmp_path / "out", *flags)
    assert code == 0
    assert "hook for exposure" not in err
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    kept = [json.loads(line) for line in (tmp_path / "out" / ALERTS).read_text().splitlines()]
    assert len(heard) == len(kept) > 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heard", "hook.py", "out"]
    # What `watch` prints as JSON needs no night: every hostile value once, each in another key, and the hostile names.
    some = tmp_path / "some"
    some.mkdir()
    values = [f"e{4 * i + i % 4 + 1:03d}.fits" for i in range(len(HOSTILE))]
    for path in (scene / "in").iterdir():
        if path.name in values or not re.fullmatch(r"e\d{3}\.fits", path.name):
            shutil.copy(path, some)
    assert len(list(some.iterdir())) == len(HOSTILE) + 6
    code, out, _ = run(capfd, "watch", some, "-o", tmp_path / "again", *flags[:-4], "--json")
    assert all(json.loads(line)["event"] for line in out.splitlines())


# ---- stores


def _db(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-5000])


def _random(path):
    path.write_bytes(os.urandom(40_000))


def _header_only(path):
    path.write_bytes(path.read_bytes()[:100] + os.urandom(40_000))


def _of_another(path):
    path.unlink()
    _db(path, "CREATE TABLE moz_places (url TEXT)", "INSERT INTO moz_places VALUES ('x')", "PRAGMA application_id = 7")


def _folder(path):
    path.unlink()
    path.mkdir()


def _dangling(path):
    path.unlink()
    path.symlink_to(path.parent.parent / "made_by_mistake")


def _link(path):
    path.unlink()
    target = path.parent.parent / "someones.sqlite"
    _db(target, "CREATE TABLE mine (x)")
    path.symlink_to(target)


def _set(what, where="1"):
    return lambda path: _db(path, f"UPDATE exposures SET {what} WHERE {where}")


STORES = {
    "truncated": _truncated,
    "random bytes": _random,
    "a header and random bytes": _header_only,
    "another application's": _of_another,
    "a folder": _folder,
    "a link to nowhere": _dangling,
    "a link to another's": _link,
    "another version's": lambda path: _db(path, "PRAGMA user_version = 1000"),
    "with a trigger": lambda path: _db(
        path, "CREATE TRIGGER t BEFORE DELETE ON exposures BEGIN DELETE FROM ccds; DELETE FROM settings; END"
    ),
    "with a view": lambda path: _db(
        path, "ALTER TABLE failures RENAME TO f", "CREATE VIEW failures AS SELECT * FROM f"
    ),
    "without a table": lambda path: _db(path, "DROP TABLE exposures"),
    "negative n_ccd": _set("n_ccd = -1"),
    "n_ccd a text": _set("n_ccd = 'many'"),
    "a million CCDs": _set("n_ccd = 1000000"),
    "short histograms": _set("histograms = substr(histograms, 2)", "exposure = '2'"),
    "short sums": _set("sums = zeroblob(8)"),
    "histograms a text": _set("histograms = 'x'"),
    "an id that is a blob": _set("exposure = x'ff00'", "exposure = '2'"),
    "no histograms": _set("histograms = zeroblob(0)"),
}
LATER = {
    "histograms of 17 bins": _set("histograms = substr(histograms, 1, length(histograms) / 18 * 17)"),
    "negative counts": _set("histograms = cast(replace(hex(histograms), '00', 'ff') AS BLOB)")
    and _set("histograms = (SELECT CAST(x'ffffffff' || substr(histograms, 5) AS BLOB))"),
    "infinite sums": _set("sums = CAST(x'000000000000f07f' || substr(sums, 9) AS BLOB)"),
    "files no list": _set("files = '7'"),
    "files no JSON": _set("files = '[{'"),
    "files of numbers": _set("files = '[1, 2]'"),
    "remarks no JSON": _set("remarks = 'x'"),
    # A gpuanom of before kept no columns of CCDs: their rows are read.
    "a CCD too few": lambda path: (
        _db(path, "DELETE FROM ccd_columns"),
        _db(path, "DELETE FROM ccds WHERE exposure = '2' AND position = 0"),
    ),
    "columns of a CCD too few": lambda path: _db(path, "UPDATE ccd_columns SET numbers = substr(numbers, 9)"),
    "columns no JSON": lambda path: _db(path, "UPDATE ccd_columns SET texts = '['"),
    "a CCD too many": lambda path: _db(
        path, "UPDATE exposures SET n_ccd = 1, histograms = substr(histograms, 1, 288), sums = substr(sums, 1, 64)"
    ),
    "CCDs with texts for numbers": lambda path: (
        _db(path, "DELETE FROM ccd_columns"),
        _db(path, "UPDATE ccds SET n_sources = 'x', sky = 'y'"),
    ),
    "settings no JSON": lambda path: _db(path, "UPDATE settings SET measurement = '{'"),
    "settings a list": lambda path: _db(path, "UPDATE settings SET measurement = '[]'"),
    "settings without bins": lambda path: _db(path, "UPDATE settings SET measurement = '{}'"),
    "settings of a million bins": lambda path: _db(
        path, "UPDATE settings SET measurement = json_set(measurement, '$.bins', 1000000)"
    ),
    "no settings": lambda path: _db(path, "DELETE FROM settings"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A night and its store, both intact."""
    base = tmp_path_factory.mktemp("good")
    nights.night(base / "in", exposures=3)
    gpuanom.score(base / "in", base / "out", settings=SETTINGS, device="cpu")
    labels = "exposure,camera,kind,label\n2,TESTCAM,source,prominent\n"
    (base / "labels.csv").write_text(labels)
    (base / "out" / "labels.csv").write_text("exposure,camera,kind,label,reason,analyst,time\n" + "")
    return base


def commands(base, out):
    """Every command that opens a night."""
    return {
        "score": ("score", base / "in", "-o", out, "-q", *FLAGS),
        "score again": ("score", "-o", out, "-q"),
        "watch": ("watch", base / "in", "-o", out, "-q", "--report", *WATCH, *FLAGS),
        "report": ("report", out, "-q"),
        "history": ("history", out, "-o", base / "history.html"),
        "show": ("show", out, "2"),
        "evaluate": ("evaluate", out, "--labels", base / "labels.csv"),
        "export": ("export", out, "--format", "exclude", "--rank", "1"),
        "merge": ("merge", out, "-o", base / "merged"),
        "forget": ("forget", out, "2", "--dry-run"),
        "reference": ("reference", out, "-o", base / "ref.ecsv"),
        "label": ("label", out, base / "labels.csv"),
    }


def _state(folder):
    """Everything in a folder and in its parent folder: names, times and contents."""
    found = {}
    for path in sorted([*folder.iterdir(), *folder.parent.iterdir()]):
        status = path.lstat()
        if path.name == ALERTS:  # the alerts of a watch, which are empty
            assert not path.read_bytes()
        elif path.is_file():
            found[path] = (status.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        elif path != folder:
            found[path] = ("folder or link", status.st_mtime_ns)
    return found


@pytest.mark.parametrize("what", STORES)
def test_a_store_that_is_not_ours_or_damaged_is_left_as_it_is(good, tmp_path, what, capfd):
    out = tmp_path / "night" / "out"
    shutil.copytree(good / "out", out)
    STORES[what](out / NAME)
    before = _state(out)
    for name, arguments in commands(good, out).items():
        code, _, err = run(capfd, *arguments)
        assert code == 2, (name, err)
        assert err.count("\n") == 1, (name, err)
        assert str(out) in err, (name, err)
        assert _state(out) == before, name
    assert not (good / "merged" / NAME).exists()
    assert not (tmp_path / "night" / "made_by_mistake").exists()


@pytest.mark.parametrize("what", LATER)
def test_a_store_that_makes_no_sense_is_one_line_or_of_no_matter(good, tmp_path, what, capfd):
    """Some commands read these values, and refuse them; only `score` and `watch` write at all."""
    out = tmp_path / "night" / "out"
    refused = 0
    for name, arguments in commands(good, out).items():
        shutil.copytree(good / "out", out)
        LATER[what](out / NAME)
        before = _state(out)
        code, _, err = run(capfd, *arguments)
        assert code in (0, 1, 2), (name, err)
        if code == 2:
            refused += 1
            assert err.count("\n") == 1, (name, err)
            assert any(text in err for text in (str(out), str(good), "recorded settings")), (name, err)
        if name not in ("score", "watch", "score again", "label"):
            extra = {out / "report.html"} if code != 2 else set()
            after = {path: state for path, state in _state(out).items() if path not in extra}
            assert {p: s for p, s in after.items() if p.name != "report"} == before, name
        shutil.rmtree(out.parent)
        shutil.rmtree(good / "merged", ignore_errors=True)
    assert refused, what
