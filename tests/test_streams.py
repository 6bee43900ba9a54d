"""The output of commands on any terminal, in any encoding, and into pipes whose reader has gone."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gpuanom
from gpuanom.cli import cli
from gpuanom.nights import alerts
from tests import nights

ROOT = Path(__file__).parent.parent
FLAGS = ("--points", "300", "--sigma-points", "500", "--background-points", "300", "--device", "cpu")
ONCE = ("--once", "--settle", "0", "--patience", "0")
NAMES = ("a.fits", "field \u591c 3.fits", "\u03b1 Cen \U0001f52d.fits", os.fsdecode(b"no\xff utf8.fits"))
BARE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "C": BARE,
    "another locale": {"LC_ALL": "", "LANG": "de_DE"},
}


def run(arguments, cwd, environment=(), **options):
    """Run a command as a new process; standard output and standard error are bytes."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)}
    command = [sys.executable, "-m", "gpuanom", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 240, **options}
    return subprocess.run(command, cwd=cwd, env=settings, check=False, **options)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A scored night with names that few encodings can express, and with the labels of a foreign analyst."""
    base = tmp_path_factory.mktemp("streams")
    for i, name in enumerate(NAMES):
        nights.write(base / "in", i + 1, name, ccds=1)
    (base / "in" / "bad \u591c.fits").write_text("no FITS")
    gpuanom.score(base / "in", base / "out \u591c", settings={"gradient_points": 300, "sigma_points": 500,
                  "background_points": 300}, device="cpu")  # fmt: skip
    text = "exposure,camera,kind,label,analyst\n2,TESTCAM,source,prominent,\u591c\n3,TESTCAM,source,normal,\u591c\n"
    (base / "labels.csv").write_text(text, encoding="utf-8")
    (base / "list \u591c.txt").write_text("in/gone \u591c.fits\nin/a.fits\n", encoding="utf-8")
    return base


OUT = "out \u591c"


def commands(base, made):
    """Every command, on a night with names that the encoding cannot express; and the exit codes that are allowed."""
    return {
        "score": (("score", "in", "@list \u591c.txt", "-v", "-o", made / "s \u591c", *FLAGS), {1}),
        "watch": (
            ("watch", "in", "-o", made / "w \u591c", "--once", "--settle", "0", "--patience", "0", "--report", *FLAGS),
            {0, 1},
        ),
        "report": (("report", OUT, "-o", made / "r \u591c.html"), {0}),
        "show": (("show", OUT, "2"), {0}),
        "history": (("history", OUT, "-o", made / "h \u591c.html"), {0}),
        "tables": (("tables", OUT, "--where", "exposure <> '\u591c'"), {0}),
        "evaluate": (("evaluate", OUT, "--labels", "labels.csv"), {0}),
        "export": (("export", OUT, "--format", "exclude", "--rank", "2"), {0}),
        "merge": (("merge", OUT, "-o", made / "m \u591c"), {0}),
        "forget": (("forget", OUT, "in/field \u591c 3.fits", "no \u591c", "--dry-run"), {2}),
        "reference": (("reference", OUT, "-o", made / "ref \u591c.ecsv"), {0}),
        "label": (("label", OUT, "labels.csv"), {0}),
        "settings": (("settings", "--config", "gone \u591c.toml"), {2}),
        "doctor": (("doctor", "--device", "\u591c"), {1, 2}),
        "train": (("train", "nowhere \u591c", "-o", made / "model.pt"), {2}),
        "inject": (("inject", "in/gone \u591c.fits", "--anomaly", "stripes:0.1", "-o", made / "i"), {2}),
        "simulate": (("simulate", made / "sim \u591c", "--anomalies", "\u591c"), {2}),
        "completion": (("completion", "\u591c"), {2}),
        "explain": (("explain", "in/field \u591c 3.fits", "in/bad \u591c.fits"), {0, 1}),
    }


def test_the_list_of_commands_is_whole(tmp_path):
    assert set(commands(tmp_path, tmp_path)) == set(cli.commands)


def _cases():
    """Every command in every encoding. The usual run takes the hardest encoding for those that print the most."""
    most = ("score", "show", "explain", "tables")
    for name in sorted(commands(Path(), Path())):
        for encoding in ENCODINGS:
            usual = (encoding == "C" and name in most) or (name, encoding) == ("show", "latin-1")
            yield pytest.param(name, encoding, marks=() if usual else pytest.mark.proof)


@pytest.mark.parametrize(("name", "encoding"), list(_cases()))
def test_any_command_prints_in_any_encoding(night, tmp_path, name, encoding):
    arguments, codes = commands(night, tmp_path)[name]
    done = run(arguments, night, ENCODINGS[encoding])
    assert done.returncode in codes, done.stderr
    for text in (done.stdout, done.stderr):
        assert b"Traceback" not in text
        assert b"UnicodeEncodeError" not in text, text
        assert b"codec can't" not in text, text


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "name",
    ["score", "settings"]
    + [
        pytest.param(name, marks=pytest.mark.proof)
        for name in ("show", "watch", "evaluate", "export", "completion", "reference")
    ],
)
def test_a_reader_that_goes_away_is_no_failure(night, tmp_path, name, stream):
    """`... | head -1` with pipefail, and a standard output and standard error that nothing reads."""
    arguments, codes = commands(night, tmp_path)[name]
    if name in ("settings", "completion"):
        arguments, codes = (name, *(["bash"] if name == "completion" else [])), {0}
    ours, theirs = os.pipe()
    os.close(ours)
    done = run(arguments, night, **{stream: theirs})
    os.close(theirs)
    assert done.returncode in codes, (done.returncode, done.stderr)
    if stream == "stdout":
        assert b"roken pipe" not in done.stderr
        assert b"Exception ignored" not in done.stderr
    if name == "score":
        assert (tmp_path / "s \u591c" / "exposures.ecsv").exists()


def test_closed_streams_take_no_file_of_ours(night, tmp_path):
    """With `>&- 2>&-` the store would get the file number of standard error, and messages would go into the store."""
    command = f"{sys.executable} -m gpuanom score in/a.fits gone.fits -o {tmp_path}/out {' '.join(FLAGS)} <&- >&- 2>&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(["bash", "-c", command], cwd=night, env=environment, check=False).returncode == 1
    again = gpuanom.score([], tmp_path / "out", device="cpu").tables.exposures
    assert list(again["status"]) == ["alone"]  # the file that does not exist is not listed again


def test_an_output_that_is_full_is_said(tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = run(["settings"], tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "dumb"},
        {"NO_COLOR": "1", "COLUMNS": "20", "LINES": "5", "PYTHONIOENCODING": "ascii"},
        *(
            pytest.param(alone, marks=pytest.mark.proof)
            for alone in (
                {"NO_COLOR": "1"},
                {"COLUMNS": "20", "LINES": "5"},
                {"TERM": "", "PYTHONIOENCODING": "ascii"},
            )
        ),
    ],
    ids=lambda environment: " ".join(environment),
)
@pytest.mark.parametrize(
    "name",
    ["score", pytest.param("watch", marks=pytest.mark.proof), pytest.param("show", marks=pytest.mark.proof)],
)
def test_any_terminal_will_do(night, tmp_path, name, environment):
    ours, theirs = pty.openpty()
    arguments, codes = commands(night, tmp_path)[name]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "gpuanom", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=night, env=settings, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # on Linux this error says that the other end of the terminal was closed
        pass
    os.close(ours)
    assert process.wait(60) in codes, shown
    assert b"Traceback" not in shown
    if "NO_COLOR" in environment:
        assert not re.search(rb"\x1b\[(\d+;)*[34]\d", shown)  # codes of colours; a single 3 is a slanted title
    if environment.get("TERM") == "dumb":
        assert b"\x1b[" not in shown


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")]
)
def test_an_interrupt_is_one_line_and_the_same_command_goes_on(tmp_path, number, code, word):
    nights.night(tmp_path / "in", exposures=30, ccds=4)
    arguments = ["score", "in", "-o", "out", "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "gpuanom", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    lines = [process.stderr.readline() for _ in range(3)]
    assert lines[1].startswith("exposure "), lines
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    said = [line for line in err.splitlines() if not line.startswith("exposure ")]
    assert said == [f"gpuanom: {word}; what was measured is kept, and the same command continues from there"]
    again = run(arguments, tmp_path)
    assert again.returncode == 0
    assert b"measured already" in again.stderr


def _row(**more):
    kinds = {f"{kind}_{what}": 9.0 for kind in gpuanom.records.KINDS for what in ("deviation", "z")}
    return {
        "exposure": "7",
        "camera": "C",
        "band": "r",
        "date_obs": "",
        "file": "a.fits",
        "status": "ok",
        **kinds,
        **more,
    }


def test_a_hook_reads_its_line_in_a_shell(tmp_path):
    hook = tmp_path / "hook.sh"
    hook.write_text(f'#!/bin/bash\nset -e\nread -r line\necho "$line" > {tmp_path}/heard\n')
    hook.chmod(0o755)
    said = []
    with alerts.Alerts(tmp_path, str(hook), said.append) as kept:
        kept.give(alerts.notice(_row(), 10, 10), _row())
    assert said == []
    assert json.loads((tmp_path / "heard").read_text())["exposure"] == "7"


def test_a_hook_that_does_not_read_is_no_failure(tmp_path):
    said = []
    with alerts.Alerts(tmp_path, "true", said.append) as kept:
        kept.give(alerts.notice(_row(), 10, 10), _row(note="x" * 1_000_000))
    assert said == []


def test_a_hook_is_run_for_names_that_the_system_cannot_encode(tmp_path):
    code = (
        "import gpuanom.nights.alerts as a, pathlib, tests.test_streams as t\n"
        "said = []\n"
        "row = t._row(band='\\u591c')\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "with a.Alerts(folder, 'env', said.append) as kept: kept.give(a.notice(row, 9, 9), row)\n"
        "assert not said, said"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **BARE}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"GPUANOM_BAND=\\u591c" in done.stderr


def test_a_table_goes_nowhere_when_standard_output_is_closed(night):
    closed = run(["tables", OUT], night, stdout=None, preexec_fn=lambda: os.close(1))
    assert (closed.returncode, closed.stderr) == (0, b"")
