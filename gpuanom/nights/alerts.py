"""Alerts of a watched night: a line in alerts.jsonl each, and a command that is told of it.

A line is written once the command has ended, so that a kill between the two repeats an alert and none is lost.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpuanom.digits import printed
from gpuanom.errors import OutputError, SettingsError
from gpuanom.files import cannot_be_written
from gpuanom.naming import path_text
from gpuanom.records import KINDS, ExposureKey

NAME = "alerts.jsonl"
"""The file in a night's folder that keeps which exposures were alerted."""

DEVIATION = 5.0
"""An exposure that deviates by more is alerted of, by default."""

MIN_EXPOSURES = 10
"""Exposures of a camera and band before any of them is alerted of: the scatter of fewer is no measure."""

LEAST_Z = 3.0
"""A score that is nearer to its noise floor is never alerted of."""

HOOK_SECONDS = 60.0
"""A hook that takes longer is ended."""


def notice(row: Mapping[str, Any], n: int, least: int) -> dict[str, Any]:
    """What is said of an exposure on one line.

    Parameters
    ----------
    row : mapping
        Its row of the table of exposures, as plain values.
    n : int
        Exposures measured of its camera and band.
    least : int
        How many there must be before any of them is alerted of.

    Returns
    -------
    dict
        time (ISO 8601, now, UTC), exposure, camera, band, date_obs, file, status; score (which kind deviates most),
        its deviation and z, None where there are none; early (whether there are too few to compare with), and n.
    """
    known = [(row[f"{kind}_deviation"], kind) for kind in KINDS if row[f"{kind}_deviation"] is not None]
    deviation, kind = max(known, key=lambda pair: (printed(pair[0]), pair[1]), default=(None, ""))
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{name: row[name] for name in ("exposure", "camera", "band", "date_obs", "file", "status")},
        "score": kind,
        "deviation": deviation,
        "z": row[f"{kind}_z"] if kind else None,
        "early": n < least,
        "n": n,
    }


def alert(row: Mapping[str, Any], about: Mapping[str, Any], deviation: float) -> dict[str, Any] | None:
    """The notice of an exposure by the score for which it stands out; None where there is none.

    Parameters
    ----------
    row : mapping
    about : mapping
        Its `notice`.
    deviation : float
        At least this, by a score that counting noise does not explain (`LEAST_Z`).
    """
    clear = [kind for kind in KINDS if printed(row[f"{kind}_z"] or 0.0) >= LEAST_Z]
    known = [(printed(row[f"{kind}_deviation"]), kind) for kind in clear if row[f"{kind}_deviation"] is not None]
    found = [(d, kind) for d, kind in known if d >= printed(deviation)]
    if not found:
        return None
    most, kind = max(found)
    return {**about, "score": kind, "deviation": most, "z": row[f"{kind}_z"]}


class Alerts:
    """Who was alerted of what in a night. Use as a context manager: it keeps a second `gpuanom watch` away.

    Parameters
    ----------
    folder : Path
        The night's.
    hook : str, optional
        A command with its arguments, quoted as for a shell, but run without one: nothing that a header says can become
        a part of it. It gets the alert as a line of JSON on standard input, and its values as GPUANOM_... in the
        environment.
    say : callable, optional
        Takes a line on what became of a hook.

    Raises
    ------
    SettingsError
        When the hook is no command that can be run.
    OutputError
        When the file cannot be used, or another watch is at this night.
    """

    def __init__(self, folder: Path, hook: str | None = None, say: Callable[[str], None] = lambda _line: None) -> None:
        self._path = folder / NAME
        self._folder, self._say = folder, say
        self._hook = _command(hook) if hook is not None else []
        self._keys: set[ExposureKey] = set()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be used: {error.strerror}") from None
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            raise

    def _take(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):  # a pipe would be read for ever
            raise OutputError(f"{self._path}: no regular file; it was left as it is")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{self._folder}: another gpuanom watch is at this night (end it first)") from None
        except OSError:  # a file system without locks
            pass
        try:
            text = self._path.read_bytes()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read: {error.strerror}") from None
        self._torn = bool(text) and not text.endswith(b"\n")
        for line in text.split(b"\n"):
            # A line that a kill or a full disk has cut off is no alert: it will be given again.
            with suppress(ValueError, KeyError, TypeError):
                values = json.loads(line)
                self._keys.add((str(values["camera"]), str(values["exposure"])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._file)

    def __contains__(self, key: ExposureKey) -> bool:
        """Whether an exposure was alerted, by camera and id."""
        return key in self._keys

    def give(self, about: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Alert of an exposure: run the hook, and keep that it was done.

        Parameters
        ----------
        about : mapping
            Plain values in short, among them camera and exposure: what is kept, and what the environment gets.
        row : mapping
            The exposure's row of the table; the hook's standard input has all of it.

        Raises
        ------
        OutputError
            When it cannot be kept.
        """
        if self._hook:
            self._run(about, json.dumps({**row, **about}) + "\n")
        try:
            self._append(json.dumps(dict(about)) + "\n")
        except OSError as error:
            raise cannot_be_written(self._path, error) from None
        self._keys.add((str(about["camera"]), str(about["exposure"])))

    def _append(self, text: str) -> None:
        data = ("\n" * self._torn + text).encode()
        self._torn = True
        if os.write(self._file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)
        self._torn = False

    def _run(self, values: Mapping[str, Any], text: str) -> None:
        """Run the hook to its end; what goes wrong is said, and costs nothing else."""
        about = {f"GPUANOM_{name.upper()}": _plain(value) for name, value in values.items()}
        environment = {**os.environ, **about, "GPUANOM_NIGHT": path_text(self._folder.absolute())}
        who = f"hook for exposure {values['exposure']}"
        try:
            process = subprocess.Popen(
                self._hook, stdin=subprocess.PIPE, stdout=2, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            self._say(f"{who}: cannot be run: {error}")
            return
        try:
            process.communicate(text.encode(), timeout=HOOK_SECONDS)
        except subprocess.TimeoutExpired:
            self._say(f"{who}: ended, it took more than {HOOK_SECONDS:.0f} s")
        else:
            if process.returncode:
                self._say(f"{who}: ended with exit code {process.returncode}")
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _plain(value: Any) -> str:
    """A value as the environment holds it: what the system's encoding has no letters for is escaped."""
    text = "" if value is None else str(value).replace("\0", " ")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _command(hook: str) -> list[str]:
    try:
        words = shlex.split(hook)
    except ValueError as error:
        raise SettingsError(f"hook: {error}") from None
    if not words:
        raise SettingsError("hook: no command is given")
    if shutil.which(words[0]) is None:
        raise SettingsError(f"hook: there is no command '{words[0]}' that can be run (name it with its path)")
    return words
