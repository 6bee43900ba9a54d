"""Runs that are killed, out of disk space or locked out at random moments, then resumed: nothing is lost or duplicated.

python -m tests.crash [--kills 200] [--seed 0]

A small night is scored by `gpuanom score` and by `gpuanom watch`, in processes that end early: by SIGKILL after a
random time, by SIGKILL in the middle of a random write to disk (tests/killer.c), by a limit on the size of files
(RLIMIT_FSIZE, as on a full disk), or by a folder that must no longer be written to. The next run goes on in the same
folder. After every end the store passes SQLite's integrity check and holds each exposure whole, at most once, and with
all exposures that it held before; tables are whole. When a run reaches its end, the tables are byte for byte those of
an undisturbed run.

Most processes are forked from this process, which has imported everything: starting Python takes longer than the night.
The forked processes run as an ordinary user if this process runs as root. In one night of ten the real command is
killed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from astropy.table import Table

from gpuanom.cli import main as gpuanom
from gpuanom.nights.alerts import NAME as ALERTS
from gpuanom.store.store import NAME
from tests import nights

EXPOSURES = 12
NOBODY = 65534
FLAGS = ("--points", "500", "--threads", "2", "--device", "cpu")
WATCH = ("--once", "--settle", "0", "--every", "0.02", "--patience", "0")
TABLES = ("exposures.ecsv", "ccds.ecsv")
TABLES_WRITES = 20
"""Approximate number of write calls for the tables of a night."""
LONG = 120.0
HOW = ("time", "write", "disk", "folder", "command")
SHARES = (30, 35, 15, 10, 10)
"""Percentages, in the order of HOW."""


class Scene:
    """A night, the tables of an undisturbed run over it, and the time of that run."""

    def __init__(self, base):
        self.base = base
        base.chmod(0o777)
        nights.night(base / "in", exposures=EXPOSURES, bands=("g", "r"), ccds=1)
        self.seconds, self.writes = {}, {}
        # Modules and loops that are imported and compiled late.
        for word in ("score", "watch"):
            gpuanom_in_process([*self.arguments(word, base / f"warm-{word}"), "-q"])
        for word in ("score", "watch"):
            out = base / f"whole-{word}"
            begun = time.monotonic()
            assert self.ended(self.forked(self.arguments(word, out), last_write=0)) == 0, self.said()
            self.seconds[word] = time.monotonic() - begun
            self.writes[word] = int((base / "writes").read_text())
        self.whole = tables(base / "whole-score")
        assert self.whole == tables(base / "whole-watch")
        begun = time.monotonic()
        subprocess.run(self.command("score", base / "whole-command"), check=True, capture_output=True)
        self.seconds["command"] = time.monotonic() - begun
        assert self.whole == tables(base / "whole-command")
        self.largest = max(path.stat().st_size for path in (base / "whole-score").iterdir())

    def arguments(self, word, out):
        """The arguments of a command."""
        return [word, str(self.base / "in"), "-o", str(out), *FLAGS, *(WATCH if word == "watch" else ())]

    def command(self, word, out):
        """The command as a program with arguments."""
        return [sys.executable, "-m", "gpuanom", *self.arguments(word, out)]

    def forked(self, arguments, *, most_bytes=None, last_write=None):
        """Start a run in a new process, whose output goes to the file `said`."""
        child = os.fork()
        if child:
            return child
        code = 99
        try:
            said = os.open(self.base / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            for stream in (1, 2):
                os.dup2(said, stream)
            if os.getuid() == 0:
                os.fchmod(said, 0o666)
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            if last_write is not None and KILLER:
                KILLER.killer_arm(ctypes.c_long(last_write))
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            code = gpuanom_in_process(arguments)
            if last_write == 0:
                (self.base / "writes").write_text(str(KILLER.killer_done() if KILLER else 0))
        finally:
            os._exit(code)

    def ended(self, child):
        """The exit code of a process, negative if a signal ended the process."""
        end = time.monotonic() + LONG
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise AssertionError("a run did not end")
            time.sleep(0.002)

    def said(self):
        """The output of the last forked run."""
        return (self.base / "said").read_text()


def gpuanom_in_process(arguments):
    """Run a command in this process; its exit code."""
    try:
        gpuanom(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def killer():
    """The library that ends a process in the middle of a write; None where this process has not preloaded it."""
    found = ctypes.CDLL(None)
    try:
        found.killer_done.restype = ctypes.c_long
    except AttributeError:
        return None
    return found


KILLER = killer()


def preload():
    """Compile that library and start this program again with it; without a compiler, go on without the library."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if KILLER or not compiler:
        return
    library = Path(tempfile.mkdtemp(prefix="gpuanom-killer-")) / "killer.so"
    source = Path(__file__).parent / "killer.c"
    subprocess.run([compiler, "-x", "c", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    library.parent.chmod(0o755)
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.crash", *sys.argv[1:]], {**os.environ, "LD_PRELOAD": str(library)}
    )


def tables(folder):
    """The bytes of the tables of a night."""
    return {name: (folder / name).read_bytes() for name in TABLES if (folder / name).exists()}


class Night:
    """A folder in which runs go on, and what was found in it."""

    def __init__(self, scene, folder):
        self.scene, self.folder = scene, folder
        self.held = 0
        self.watched = False

    def check(self, seen):
        """Check everything that must hold after a run has ended, in whatever way."""
        if not self.folder.exists():
            return
        names = {path.name for path in self.folder.iterdir()}
        partial = {name for name in names if name.endswith(".partial")}
        assert partial <= {f".{name}.partial" for name in TABLES}, names
        assert names - partial <= {NAME, f"{NAME}-journal", ALERTS, *TABLES}, names
        seen["partial tables left"] += bool(partial)
        for name, content in tables(self.folder).items():
            if content != self.scene.whole[name]:
                assert self.watched, f"{name}: the tables of a part of the night"
                found = Table.read(content.decode().splitlines(), format="ascii.ecsv")
                assert content.endswith(b"\n")
                assert len(set(found["exposure"])) == len(found) <= EXPOSURES
        if NAME in names:
            n = self._stored(seen)
            assert n >= self.held, f"{self.held} exposures were stored, {n} are"
            self.held = n

    def _stored(self, seen):
        """The number of exposures in a copy of the store; each is checked to be whole."""
        probe = self.scene.base / "probe"
        shutil.rmtree(probe, ignore_errors=True)
        probe.mkdir()
        for name in (NAME, f"{NAME}-journal"):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, probe / name)
        journal = probe / f"{NAME}-journal"
        seen["transactions rolled back"] += journal.exists() and journal.read_bytes()[:8] == JOURNAL
        with closing(sqlite3.connect(probe / NAME)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return 0  # the run ended before the tables of the store were made
            rows = db.execute(
                "SELECT camera, exposure, n_ccd, length(histograms), length(sums) FROM exposures"
            ).fetchall()
            ccds = db.execute("SELECT camera, exposure, count(*) FROM ccds GROUP BY 1, 2").fetchall()
            failures = db.execute("SELECT * FROM failures").fetchall()
        assert len({row[:2] for row in rows}) == len(rows) <= EXPOSURES
        assert sorted(ccds) == sorted(row[:3] for row in rows)
        assert {row[3:] for row in rows} <= {(4 * 18 * 4, 4 * 2 * 8)}
        assert not failures
        return len(rows)

    def finished(self):
        """Check everything that must hold after a run that reached its end."""
        assert tables(self.folder) == self.scene.whole
        assert self.held == EXPOSURES
        left = {path.name for path in self.folder.iterdir()}
        journal = self.folder / f"{NAME}-journal"
        if journal.exists():  # left by a run that was killed between two transactions: there is nothing to roll back
            assert journal.read_bytes()[:8] != JOURNAL
            left.remove(journal.name)
        assert left <= {NAME, ALERTS, *TABLES}, left


JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""The first bytes of a journal with a transaction to roll back."""


def one_end(scene, night, how, word, draw):
    """One run, which may end early; its exit code."""
    arguments = scene.arguments(word, night.folder)
    night.watched |= word == "watch"
    if how == "nothing":
        return scene.ended(scene.forked(arguments))
    if how == "nothing, as this user":
        return subprocess.run(scene.command(word, night.folder), capture_output=True, check=False).returncode
    if how == "command":
        process = subprocess.Popen(
            scene.command(word, night.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(scene.seconds["command"] * draw.uniform(0.5, 1.5))
        process.kill()
        return process.wait()
    span = scene.seconds[word]
    if how == "write":
        # When all exposures are measured, only the tables are left to write.
        most = scene.writes[word] * (EXPOSURES - night.held) // EXPOSURES + TABLES_WRITES
        return scene.ended(scene.forked(arguments, last_write=draw.randint(1, most)))
    if how == "disk":
        child = scene.forked(arguments, most_bytes=draw.randint(0, scene.largest))
        if word == "watch":  # a watch waits for room on the disk
            time.sleep(2 * span)
            os.kill(child, signal.SIGKILL)
        code = scene.ended(child)
    elif how == "folder":
        child = scene.forked(arguments)
        time.sleep(span * draw.uniform(0.0, 1.0))
        mode = 0o777
        if night.folder.exists():
            night.folder.chmod(0o555)
        time.sleep(span)
        if word == "watch":
            os.kill(child, signal.SIGKILL)
        code = scene.ended(child)
        if night.folder.exists():
            night.folder.chmod(mode)
    else:
        child = scene.forked(arguments)
        time.sleep(span * draw.uniform(0.0, 1.1))
        os.kill(child, signal.SIGKILL)
        return scene.ended(child)
    said = scene.said()
    assert code in (0, 2, -signal.SIGKILL), (code, said)
    assert "Traceback" not in said, said
    if code == 2:
        assert sum(line.startswith("gpuanom: ") for line in said.splitlines()) == 1, said
    return code


def prove(kills, seed=0, show=lambda _text: None):
    """End this many runs early; counts of what was found, by name."""
    draw = random.Random(seed)
    seen = Counter()
    with tempfile.TemporaryDirectory(prefix="gpuanom-crash-") as name:
        scene = Scene(Path(name))
        night = None
        n_nights = 0
        while seen["ended early"] < kills or night is not None:
            if night is None:
                n_nights += 1
                # The real command runs as this user, and cannot go on in nights of another user.
                real = draw.random() < SHARES[-1] / sum(SHARES)
                night = Night(scene, scene.base / f"night-{n_nights}")
            how = "command" if real else draw.choices(HOW[:-1], SHARES[:-1])[0]
            how = "time" if how == "write" and not KILLER else how
            word = draw.choice(("score", "watch"))
            if seen["ended early"] >= kills:
                how = "nothing, as this user" if real else "nothing"
            code = one_end(scene, night, how, word, draw)
            if code:
                seen["ended early"] += 1
                seen[f"{word}: {WORDS[how]}"] += 1
                show(f"{seen['ended early']} of {kills}")
            night.check(seen)
            if code == 0:
                night.finished()
                seen["nights finished, tables equal to the byte"] += 1
                shutil.rmtree(night.folder)
                night = None
    return seen


WORDS = {
    "time": "SIGKILL after a random time",
    "write": "SIGKILL in the middle of a write",
    "disk": "disk full",
    "folder": "folder made unwritable",
    "command": "the real command, SIGKILL after a random time",
}


def main():
    """End runs early, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    preload()
    begun = time.monotonic()
    terminal = sys.stderr.isatty()
    seen = prove(options.kills, options.seed, lambda text: terminal and print(f"\r{text}", end="", file=sys.stderr))
    for what in sorted(seen, key=lambda w: (": " in w, w)):
        print(f"{seen[what]:5} {what}")
    if KILLER:
        shutil.rmtree(Path(os.environ["LD_PRELOAD"]).parent, ignore_errors=True)
    else:
        print("no compiler: nothing was ended in the middle of a write")
    print(f"{time.monotonic() - begun:.0f} s; user {'nobody' if os.getuid() == 0 else os.getuid()}")


if __name__ == "__main__":
    main()
