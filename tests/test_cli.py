"""The command line: exit codes, output and error streams, help texts that teach, and no traceback."""

from __future__ import annotations

import gc
import os
import pty
import signal
import subprocess
import sys

import click
import numpy as np
import pytest

from gpuanom.cli import cli, summary
from gpuanom.cli.given_path import GivenPath
from tests import nights
from tests.commands import run

QUICK = ("--points", "500", "--sigma-points", "1000")


@pytest.fixture
def small(tmp_path):
    nights.night(tmp_path / "in", exposures=4, odd=2)
    return tmp_path


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", ["", *cli.commands])
def test_a_help_text_has_room_in_a_narrow_terminal(capfd, monkeypatch, name, width):
    given = (name, "--help") if name else ("--help",)
    begin = "-h, --help" if name else "A night, from FITS files"  # the list of commands cuts their lines short
    monkeypatch.setenv("COLUMNS", "200")
    wide = run(capfd, *given)[1]
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = run(capfd, *given)[1]
    for line in narrow.splitlines():
        is_example = line.strip().startswith("gpuanom ") or " " not in line.strip()
        assert len(line) <= width or is_example, line
    assert narrow.partition(begin)[2].split() == wide.partition(begin)[2].split()  # no word is lost or moved


@pytest.mark.parametrize("option", ["--config", "--reference"])
def test_a_file_of_another_kind_is_refused_in_plain_words(tmp_path, capfd, option):
    path = nights.write(tmp_path, 1)
    code, _, err = run(capfd, "score", path, "-o", tmp_path / "out", option, path, "--device", "cpu")
    assert code == 2
    words = {
        "--config": "not a settings file, which is TOML",
        "--reference": "not a reference (gpuanom",
    }
    assert f"{path}: {words[option]}" in err
    assert "codec" not in err
    assert "ECSV" not in err


def test_score_prints_a_ranking_and_logs_a_line_an_exposure(small, capfd):
    code, out, err = run(capfd, "score", small / "in", "-o", small / "out", *QUICK)
    assert code == 0
    for title in ("source orientations", "isophotal orientations", "background gradients"):
        assert title in out
    assert "exposures.ecsv" in out
    for i in range(1, 5):
        assert f"exposure {i} TESTCAM r: 2 of 2 CCDs" in err
    # Where `auto` takes the CPU, and no device was asked for, it says so and gives the reason.
    assert err.startswith("device: ")
    assert err.count("\n") == 5


def test_what_is_ranked_beside_the_inputs_is_said(small, capfd):
    """Somebody who takes a file away, and scores again, may believe that its exposure is gone."""
    run(capfd, "score", small / "in", "-o", small / "out", *QUICK)
    assert "not among these files" not in run(capfd, "score", small / "in", "-o", small / "out", *QUICK)[2]
    (small / "in" / "exposure_002.fits").unlink()
    code, out, err = run(capfd, "score", small / "in", "-o", small / "out", *QUICK)
    assert (code, "status of 4 exposures: 4 ok" in out) == (0, True)
    assert "1 exposure measured before, not among these files, ranked as well (gpuanom forget leaves" in err
    assert "not among these files" not in run(capfd, "score", "-o", small / "out", *QUICK)[2]


def test_an_interrupt_while_the_program_is_imported_is_one_line():
    """No command is there yet that could say so."""
    program = (
        "import builtins\n"
        "plain = builtins.__import__\n"
        "def imported(name, *rest, **more):\n"
        "    if name == 'gpuanom.cli': raise KeyboardInterrupt\n"
        "    return plain(name, *rest, **more)\n"
        "builtins.__import__ = imported\n"
        "from gpuanom.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_only_a_command_that_measures_says_that_measurements_are_kept(monkeypatch, capfd):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    for command in cli.commands:
        more = "; what was measured is kept" if command in ("score", "watch") else "\n"
        code, _, err = run(capfd, command)
        assert code == 130
        assert err.startswith(f"gpuanom: interrupted{more}")


def unheard(*_):
    """A signal comes that no command hears: it would end the tests otherwise."""


@pytest.fixture
def not_ignored():
    """The signals are not ignored, also where the tests run under nohup."""
    before = {number: signal.signal(number, unheard) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_batch_systems_and_closed_terminals_interrupt_every_command(monkeypatch, capfd, number, code):
    def signalled(*_, **__):
        signal.raise_signal(number)

    monkeypatch.setattr(cli, "main", signalled)
    for command in cli.commands:
        measures = command in ("score", "watch")
        kept = "; what was measured is kept, and the same command continues from there" if measures else ""
        assert run(capfd, command) == (code, "", f"gpuanom: ended by {number.name}{kept}\n")
    assert signal.getsignal(number) is unheard

    def with_own_words(*_, **__):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            return 130

    monkeypatch.setattr(cli, "main", with_own_words)
    assert run(capfd, "inject") == (code, "", "")
    signal.signal(number, signal.SIG_IGN)  # as nohup does with SIGHUP
    monkeypatch.setattr(cli, "main", signalled)
    assert run(capfd, "merge") == (0, "", "")


def test_quiet_says_nothing_when_all_is_well(small, capfd):
    assert run(capfd, "score", small / "in", "-o", small / "out", "-q", *QUICK) == (0, "", "")


def test_every_long_command_that_writes_can_be_quiet(small, capfd):
    """A cron job mails what its commands print. The other commands are there to print what they are asked for."""
    night = ("score", small / "in", "-o", small / "out", "-q", *QUICK)
    assert run(capfd, *night) == (0, "", "")
    assert run(capfd, "reference", small / "out", "-o", small / "ref.ecsv", "-q") == (0, "", "")
    image = next((small / "in").glob("*.fits"))
    words = (image, "-o", small / "odd", "--anomaly", "stripes:1", "--no-verdict", "-q")
    assert run(capfd, "inject", *words) == (0, "", "")
    loud = {n for n, c in cli.commands.items() if not any("--quiet" in option.opts for option in c.params)}
    assert loud == {"show", "tables", "explain", "settings", "label", "export", "doctor", "completion"}


def test_overwrite_is_what_existing_overwrite_is(small, capfd):
    night = ("score", small / "in", "-o", small / "out", *QUICK)
    assert run(capfd, *night)[0] == 0
    assert "measured already" in run(capfd, *night)[2]
    assert "measured already" not in run(capfd, *night, "--overwrite")[2]
    code, _, err = run(capfd, *night, "--overwrite", "--existing", "fail")
    assert (code, err.splitlines()[-1]) == (
        2, "Error: --overwrite and --existing fail contradict each other: give one of them"
    )  # fmt: skip


def test_a_home_folder_that_may_not_be_read_is_named(small, capfd, monkeypatch):
    """As in a container that runs as another user: astropy looks for its settings in ~/.astropy."""
    monkeypatch.setenv("HOME", str(small / "home"))
    for name, words in (("home/.astropy/config", "set HOME to a folder that you may read"), ("other", "unexpected")):
        error = PermissionError(13, "Permission denied", str(small / name))

        def refused(*_arguments, error=error, **_options):
            raise error

        monkeypatch.setattr(cli, "main", refused)
        code, _, err = run(capfd, "tables", small)
        assert (code, err.count("\n")) == (2, 1)
        assert words in err
        assert str(small / name) in err


def test_exit_codes(small, capfd):
    (small / "in" / "bad.fits").write_text("no FITS")
    code, _, err = run(capfd, "score", small / "in", "-o", small / "out", "-q", *QUICK)
    assert code == 1
    assert "bad.fits" in err
    code, _, err = run(capfd, "score", small / "nowhere", "-o", small / "other", "--device", "cpu")
    assert code == 2
    assert "nowhere" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--bins", "1"], "bins"),
        (["--threshold", "-3"], "threshold"),
        (["--device", "7"], "device '7'"),
        (["--format", "xls"], "xls"),
        (["--reference", "none.ecsv"], "none.ecsv"),
        (["--config", "none.toml"], "none.toml"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_is_refused_by_name(small, capfd, arguments, word):
    code, out, err = run(capfd, "score", small / "in", "-o", small / "out", *arguments)
    assert code == 2
    assert out == ""
    assert word in err


def test_settings_print_as_toml_and_come_back(tmp_path, capfd):
    code, out, _ = run(capfd, "settings", "--threshold", "10", "--no-mask")
    assert code == 0
    assert "threshold = 10.0" in out
    (tmp_path / "my.toml").write_text(out)
    assert run(capfd, "settings", "--config", tmp_path / "my.toml")[1] == out


def test_reference_and_score_against_it(small, capfd):
    run(capfd, "score", small / "in", "-o", small / "out", "-q", *QUICK)
    code, out, _ = run(capfd, "reference", small / "out", "-o", small / "ref.ecsv")
    assert code == 0
    assert "TESTCAM r: 4 exposures" in out
    code, _, _ = run(capfd, "score", small / "in", "-o", small / "two", "--reference", small / "ref.ecsv", "-q", *QUICK)
    assert code == 0
    code, _, err = run(capfd, "score", small / "in", "-o", small / "three", "--reference", small / "ref.ecsv")
    assert code == 2
    assert "gradient_points 500 there, 10000 here" in err
    code, _, err = run(capfd, "reference", small / "in", "-o", small / "no.ecsv")
    assert code == 2
    assert "no such store" in err


def test_merge(small, capfd):
    for i in (1, 2):
        run(capfd, "score", f"{small}/in/*_00{i}.fits", "-o", small / f"out{i}", "-q", *QUICK)
    code, out, _ = run(capfd, "merge", small / "out1", small / "out2", "-o", small / "both", "--format", "ecsv,csv")
    assert code == 0
    assert "2 exposures" in out
    assert (small / "both" / "exposures.csv").exists()


def test_list_file_and_pattern(small, capfd):
    (small / "list.txt").write_text("# tonight\nin/exposure_001.fits\nin/exposure_002.fits\n")
    code, _, err = run(capfd, "score", f"@{small}/list.txt", "-o", small / "out", *QUICK)
    assert code == 0
    assert "exposure 2" in err
    code, _, err = run(capfd, "score", f"{small}/in/*_00[34].fits", "-o", small / "out", *QUICK)
    assert code == 0
    assert "exposure 4" in err


def test_every_command_teaches(capfd):
    for name, command in cli.commands.items():
        code, out, _ = run(capfd, name, "--help")
        assert code == 0
        assert (command.help or "").split("\n")[0][:40] in out
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


def _path_arguments():
    """Command, and the words on the command line that give an empty path: a case for each argument and option."""
    for name, command in sorted(cli.commands.items()):
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                words = ("",) if isinstance(parameter, click.Argument) else (parameter.opts[0], "")
                # Arguments before this one, which must be given for this one to be seen.
                before = [p for p in command.params[: command.params.index(parameter)] if isinstance(p, click.Argument)]
                yield name, (*("x" for _ in before if isinstance(parameter, click.Argument)), *words)


@pytest.mark.parametrize(("name", "words"), list(_path_arguments()))
def test_an_empty_path_is_not_the_present_folder(name, words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capfd, name, *words)
    assert code == 2
    assert out == ""
    assert "the path is empty (is a variable of the shell not set? The present folder is .)" in err
    assert not list(tmp_path.iterdir())


def test_every_path_of_the_command_line_may_not_be_empty():
    paths = [p.type for command in cli.commands.values() for p in command.params if isinstance(p.type, click.Path)]
    assert len(paths) > 30
    assert all(isinstance(path, GivenPath) for path in paths)
    # What is named like a path, but is of another type, would be taken as it is.
    texts = {
        p.name
        for command in cli.commands.values()
        for p in command.params
        if isinstance(p.type, click.types.StringParamType)
    }
    assert not texts & {"inputs", "images", "nights", "folder", "output", "files", "config", "reference", "model"}


@pytest.mark.parametrize(("words", "searched"), [((), False), (("--model", "night/model.pt"), True)])
def test_circles_of_objects_are_freed_unless_only_tables_are_made(words, searched, capfd, monkeypatch):
    """A model reads the stamps of a whole night again, without inputs too."""
    seen = []
    monkeypatch.setattr("gpuanom.nights.score.score", lambda *_, **__: (seen.append(gc.isenabled()), 1 / 0))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr("gpuanom.cli.score.reuse_memory", lambda: None)
    with pytest.raises(ZeroDivisionError):
        cli.main(["score", "-o", "night", "--device", "cpu", *words], standalone_mode=False)
    capfd.readouterr()
    assert seen == [searched]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(capfd, shell):
    code, out, _ = run(capfd, "completion", shell)
    assert code == 0
    assert "_GPUANOM_COMPLETE" in out


def test_progress_on_a_terminal(small):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpuanom", "score", str(small / "in"), "-o", str(small / "out"), *QUICK]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # on Linux this error says that the other end of the terminal was closed
        pass
    out, _ = process.communicate()
    assert process.returncode == 0
    assert b"measuring exposures" in shown
    assert b"exposure 1 TESTCAM" not in shown
    assert b"source orientations" in out


def test_reader_that_goes_away(small):
    command = f"{sys.executable} -m gpuanom score {small / 'in'} -o {small / 'out'} {' '.join(QUICK)} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_skipped_files_are_counted_by_kind_or_named(small, capfd):
    for i in (7, 8):
        nights.write(small / "in", i, f"dark{i}.fits", OBSTYPE="dark")
    _, _, err = run(capfd, "score", small / "in", "-o", small / "out", *QUICK)
    assert "skipped 2 files: " in err
    assert "dark7.fits" not in err
    _, _, err = run(capfd, "score", small / "in", "-o", small / "out", "-v", *QUICK)
    assert "dark7.fits" in err


def test_the_summary_orders_by_deviation_then_by_score():
    """Exposures without a deviation come last; of equal ones the higher score comes first, then the first row."""
    deviation = np.array([1.0, np.nan, 3.0, 3.0, np.nan, 3.0, -2.0])
    score = np.array([9.0, 1.0, 4.0, 5.0, 2.0, 5.0, 9.0])
    expected = sorted(range(7), key=lambda i: (-np.nan_to_num(deviation[i], nan=-np.inf), -score[i], i))
    assert summary._by_deviation(deviation, score).tolist() == expected == [3, 5, 2, 0, 6, 4, 1]


def test_the_screen_calls_no_exposure_ok_that_has_no_verdict(small, capfd):
    """Four exposures are too few for verdicts; with --profile paper there is no such column."""
    _, out, _ = run(capfd, "score", small / "in", "-o", small / "out", *QUICK)
    heads = [line for line in out.splitlines() if line.split()[:2] == ["exposure", "camera"]]
    rows = [line for line in out.splitlines() if line.split()[1:2] == ["TESTCAM"]]
    assert {line.split()[-1] for line in heads} == {"verdict"}
    assert {line.split()[-1] for line in rows} == {"-"}
    _, out, _ = run(capfd, "score", small / "in", "-o", small / "paper", "--profile", "paper", "--device", "cpu")
    heads = [line for line in out.splitlines() if line.split()[:2] == ["exposure", "camera"]]
    rows = [line for line in out.splitlines() if line.split()[1:2] == ["TESTCAM"]]
    assert {line.split()[-1] for line in heads} == {"status"}
    assert {line.split()[-1] for line in rows} == {"ok"}


def test_a_dash_is_no_path(small, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("score", tmp_path / "in", "-o", "-"), ("history", tmp_path, "-o", "-"), ("explain", "-")):
        code, _, err = run(capfd, *words)
        assert code == 2
        assert "- is no path here (/dev/stdout is standard output" in err
    assert not (tmp_path / "-").exists()
