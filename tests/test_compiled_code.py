"""Compiled loops stay in the user's cache folder, are announced once, and do not depend on Numba's settings."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuanom import compiling
from gpuanom.cli import main
from gpuanom.cli.screen import Screen
from gpuanom.loops import compile_ahead

ROOT = Path(__file__).parent.parent

# The program runs one of the loops, which adds big-endian words; messages to the user go to standard output.
PROGRAM = """
import numpy as np
from gpuanom import compiling
compiling.listen(print)
from gpuanom.fits.decoding.byteorder import total
assert total(np.array([1, 2], ">u4").view(np.uint32)) == 3
"""


def run(*, program=PROGRAM, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_CACHE")) and k != "HOME"}
    given = {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**kept, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def kept(folder):
    return [path for path in Path(folder).rglob("*") if path.suffix in (".nbi", ".nbc")]


def beside_the_sources():
    return list((ROOT / "gpuanom").rglob("*.nb?"))


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """A home in which the loops were compiled, and what was said of that."""
    home = tmp_path_factory.mktemp("home")
    before = beside_the_sources()
    said = run(HOME=home)
    assert beside_the_sources() == before
    return home, said


@pytest.fixture
def home(compiled_once, tmp_path):
    """A copy of that home, which the test may change."""
    return shutil.copytree(compiled_once[0], tmp_path / "home")


def test_loops_are_kept_in_the_users_cache_folder_and_said_once(compiled_once, tmp_path):
    """Beside the sources, compiled files would outlive an uninstallation and hide a checkout of the same name."""
    home, said = compiled_once
    assert said == [compiling.LOOPS]
    assert kept(home / ".cache" / "gpuanom" / "numba")
    before = beside_the_sources()
    assert run(HOME=home) == []
    assert run(HOME=tmp_path / "other", XDG_CACHE_HOME=home / ".cache") == []
    assert beside_the_sources() == before


def test_a_folder_that_numba_was_given_goes_first(tmp_path):
    run(HOME=tmp_path / "home", NUMBA_CACHE_DIR=tmp_path / "given")
    assert kept(tmp_path / "given")
    assert not kept(tmp_path / "home")


@pytest.mark.parametrize("where", ["no folder", "relative"])
def test_without_a_folder_loops_are_compiled_anew_and_it_is_said_in_a_line(tmp_path, where):
    (tmp_path / "file").write_text("")
    settings, program = {"NUMBA_CACHE_DIR": tmp_path / "file" / "below"}, PROGRAM
    if where == "relative":  # no HOME, and no user in the password database
        program = "import platformdirs\nplatformdirs.user_cache_dir = lambda *_, **__: '~/.cache/gpuanom'\n" + PROGRAM
        settings = {}
    assert run(HOME=tmp_path, program=program, **settings) == [compiling.LOOPS_NOT_KEPT]
    assert not (ROOT / "~").exists()


def test_damaged_files_of_the_cache_are_compiled_and_written_again(home):
    files = kept(home)
    assert files
    for path in files:
        path.write_bytes(b"no pickle")
    assert run(HOME=home) == [compiling.LOOPS]
    assert run(HOME=home) == []


def test_a_changed_source_is_compiled_again(home):
    changed = "import gpuanom.loops.digest as made_of\nmade_of._native_source = bytes\n" + PROGRAM
    assert run(HOME=home, program=changed) == [compiling.LOOPS]


@pytest.mark.proof
def test_several_first_runs_at_once(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("NUMBA_CACHE_DIR", None)
    several = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment) for _ in range(3)]
    assert [one.wait(300) for one in several] == [0, 0, 0]


@pytest.mark.proof
def test_numbas_switch_does_not_stop_the_loops(tmp_path):
    """When Numba did not compile, every exposure failed, since Python cannot read addresses."""
    assert run(HOME=tmp_path, NUMBA_DISABLE_JIT=1) == [compiling.LOOPS]
    program = PROGRAM + "import numba\nassert numba.config.DISABLE_JIT\n"
    assert run(HOME=tmp_path, NUMBA_DISABLE_JIT=1, program=program) == []


def test_a_line_is_shown_once_and_only_to_a_listener(monkeypatch):
    monkeypatch.setattr(compiling, "_shown", set())
    heard = []
    before = compiling.listen(None)
    try:
        compiling.begun("compiling")
        assert compiling.listen(heard.append) is None
        compiling.begun("compiling")
        compiling.begun("compiling")
        assert heard == ["compiling"]
    finally:
        compiling.listen(before)


def test_kernels_from_a_cache_are_not_said_to_be_compiled(monkeypatch):
    monkeypatch.setattr(compiling, "_shown", set())
    monkeypatch.setattr(compiling, "PATIENCE", 0.05)
    heard = []
    before = compiling.listen(heard.append)
    try:
        with compiling.watched("quick"):
            pass
        with compiling.watched("slow"):
            for _ in range(100):
                if heard:
                    break
                time.sleep(0.05)
    finally:
        compiling.listen(before)
    assert heard == ["slow"]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_command_shows_the_line_unless_quiet(monkeypatch, capsys, quiet):
    monkeypatch.setattr(compiling, "_shown", set())
    with Screen(quiet=quiet, verbose=False):
        compiling.begun(compiling.LOOPS)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ("" if quiet else compiling.LOOPS + "\n")
    assert compiling.LOOPS.startswith("compiling, once, less than a minute")


def test_every_command_but_doctor_listens(monkeypatch, capsys):
    """Commands that print no progress listen too: `show` and `export` read pixels."""
    heard = []
    monkeypatch.setattr(compiling, "listen", heard.append)
    with pytest.raises(SystemExit):
        main(["settings"])
    assert callable(heard[0])
    capsys.readouterr()
    heard[0]("compiling")
    assert capsys.readouterr().err == "compiling\n"


def test_the_list_of_modules_has_all_loops():
    package = ROOT / "gpuanom"
    found = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if "\nfrom gpuanom.native import" in path.read_text()
    }
    assert sorted(compile_ahead.MODULES) == sorted(found)


def ahead(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "gpuanom.loops.compile_ahead", "fits.decoding.byteorder"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder)},
        stdin=subprocess.PIPE,
    )


def test_a_further_process_compiles_for_this_one(compiled_ahead):
    assert run(NUMBA_CACHE_DIR=compiled_ahead) == []


def test_a_further_process_ends_with_the_first_one(tmp_path):
    with ahead(tmp_path) as process:
        process.stdin.close()
        assert process.wait(300) == 0
    assert not kept(tmp_path)  # compiling takes longer than reading the end of the input


@pytest.fixture(scope="module")
def compiled_ahead(tmp_path_factory):
    """A cache folder that a further process has filled."""
    folder = tmp_path_factory.mktemp("ahead")
    with ahead(folder) as process:
        assert process.wait(300) == 0
    return folder


@pytest.fixture
def claimed(compiled_ahead, tmp_path):
    """Claims of all loops of a new cache folder, held by somebody else."""
    shutil.copytree(compiled_ahead, tmp_path, dirs_exist_ok=True)
    files = kept(tmp_path)
    for path in files:
        path.unlink()
    names = [path.with_suffix(".lock") for path in files if path.suffix == ".nbi"]
    assert names
    assert all(path.exists() for path in names)
    with contextlib.ExitStack() as stack:
        for name in names:
            fcntl.flock(stack.enter_context(name.open("wb")), fcntl.LOCK_EX)
        yield tmp_path


def test_a_further_process_leaves_loops_that_another_one_compiles(claimed):
    with ahead(claimed) as process:
        assert process.wait(300) == 0
    assert not kept(claimed)


PATIENT = (
    "from gpuanom.loops import cache\n"
    "cache.PATIENCE, pauses, sleep = 0.5, [], cache.time.sleep\n"
    "cache.time.sleep = lambda seconds: (pauses.append(seconds), sleep(seconds))\n"
    + PROGRAM
    + "print(sum(pauses) > 0.1)\n"  # on a busy machine the half second is over after fewer pauses
)


def test_a_loop_that_another_process_never_finishes_is_compiled_here(claimed):
    assert run(program=PATIENT, NUMBA_CACHE_DIR=claimed) == [compiling.LOOPS, "True"]
    assert kept(claimed)


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (2, 1), (16, 3)])
def test_the_number_of_further_processes(monkeypatch, cores, expected):
    begun = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: begun.append(command))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(atexit, "register", lambda _: None)
    monkeypatch.setattr(compile_ahead, "_processes", [])
    monkeypatch.setattr(compile_ahead, "_allowed", False)
    compile_ahead.begin()
    assert begun == []  # a program that uses the package begins no processes unasked
    compile_ahead.allow()
    compile_ahead.begin()
    compile_ahead.begin()
    assert len(begun) == expected


def test_a_command_begins_further_processes(tmp_path):
    """They end with the command, whatever is left to compile."""
    allowed = "from gpuanom.loops import compile_ahead; compile_ahead.allow()"
    program = PROGRAM.replace("compiling.listen(print)", allowed)
    program += "print(*(process.pid for process in compile_ahead._processes))"
    (pids,) = run(NUMBA_CACHE_DIR=tmp_path, program=program)
    assert len(pids.split()) == min(compile_ahead.MOST, len(os.sched_getaffinity(0)) - 1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.split())


def test_a_loop_that_uses_what_is_around_it_is_refused():
    """Numba names such a loop otherwise in each process, which then compiles the loop and keeps one more copy."""
    from numba import types

    from gpuanom.native import native, swapped16

    def made(swapped):
        @native(types.uint16(types.uint16))
        def swap(number):
            return swapped(number)

        return swap

    with pytest.raises(TypeError, match=r"swap: a loop that uses what is around it is compiled by every process"):
        made(swapped16)


def test_every_kind_of_pixels_is_loaded_by_the_next_process(tmp_path):
    """The loops of `gpuanom.fits.decoding.byteorder`: the second process finds what the first one has compiled."""
    program = """
from gpuanom import compiling, native
from gpuanom.loops import compile_ahead
from gpuanom.fits.decoding import byteorder
said = []
compiling.listen(said.append)
for loop in native.native.made:
    if loop.module == byteorder.__name__:
        loop.compile()
print(len(said))
"""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert (first.strip(), second.strip()) == ("1", "0")
