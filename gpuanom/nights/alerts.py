"""Alerts of a watched night: each is a line in alerts.jsonl, and can start a command.

The line is written when the command has ended: a watch that is killed in between repeats the alert and loses none.
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
from gpuanom.paths import path_text
from gpuanom.records import KINDS, ExposureKey
from gpuanom.scoring.verdict.levels import BAD

NAME = "alerts.jsonl"
"""The file in a night's folder that keeps the alerts."""

DEVIATION = 5.0
"""An exposure with at least this deviation gives an alert, by default."""

MIN_EXPOSURES = 10
"""Number of exposures of a camera and band before the first alert: fewer do not tell the usual scatter."""

LEAST_Z = 3.0
"""A score with a lower z, near its noise floor, never gives an alert."""

HOOK_SECONDS = 60.0
"""A command that takes longer is ended, seconds."""


def notice(row: Mapping[str, Any], n: int, least: int) -> dict[str, Any]:
    """Make the notice of an exposure, the content of one line of output.

    Parameters
    ----------
    row : mapping
        The row of the table of exposures, as plain values.
    n : int
        Number of measured exposures of the same camera and band.
    least : int
        Number of exposures that there must be before the first alert.

    Returns
    -------
    dict
        time (now, ISO 8601, UTC), exposure, camera, band, date_obs, file, status; score (the column of the score that
        deviates most), deviation and z of this score, None where there are none; early (whether there are fewer than
        `least` exposures), and n.
    """
    known = [(row[f"{kind}_deviation"], kind) for kind in KINDS if row[f"{kind}_deviation"] is not None]
    deviation, kind = max(known, key=lambda pair: (printed(pair[0]), pair[1]), default=(None, ""))
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{name: row[name] for name in ("exposure", "camera", "band", "date_obs", "file", "status")},
        "score": f"{kind}_kl" if kind else "",
        "deviation": deviation,
        "z": row[f"{kind}_z"] if kind else None,
        "early": n < least,
        "n": n,
    }


def alert(row: Mapping[str, Any], about: Mapping[str, Any], deviation: float) -> dict[str, Any] | None:
    """Make the alert of a bad exposure; None where the exposure is not bad.

    An exposure without a verdict gives an alert by the score by which it stands out.

    Parameters
    ----------
    row : mapping
        The row of the table of exposures, as plain values.
    about : mapping
        The `notice` of the exposure.
    deviation : float
        An exposure without a verdict stands out from this deviation on, by a score that counting noise does not explain
        (`LEAST_Z`).

    Returns
    -------
    dict or None
        The notice with score, deviation and z of the score that stands out most, and with verdict, cause and evidence
        where there is a verdict.
    """
    if row.get("verdict"):
        names = ("score", "deviation", "z", "verdict", "cause", "evidence")
        return {**about, **{name: row[name] for name in names}} if row["verdict"] == BAD else None
    clear = [kind for kind in KINDS if printed(row[f"{kind}_z"] or 0.0) >= LEAST_Z]
    known = [(printed(row[f"{kind}_deviation"]), kind) for kind in clear if row[f"{kind}_deviation"] is not None]
    found = [(d, kind) for d, kind in known if d >= printed(deviation)]
    if not found:
        return None
    most, kind = max(found)
    return {**about, "score": f"{kind}_kl", "deviation": most, "z": row[f"{kind}_z"]}


class Alerts:
    """The alerts of a night. Use as a context manager: it locks the night against a second `gpuanom watch`.

    Parameters
    ----------
    folder : Path
        The folder of the night.
    hook : str, optional
        A command with its arguments, quoted as for a shell, but run without a shell: no text from a header can become
        a part of it. It gets the alert as a line of JSON on standard input, and the values of the alert as GPUANOM_...
        in the environment.
    say : callable, optional
        Takes a line where the command fails.

    Raises
    ------
    SettingsError
        When the command cannot be run.
    OutputError
        When the file cannot be used, or another watch uses this night.
    """

    def __init__(self, folder: Path, hook: str | None = None, say: Callable[[str], None] = lambda _line: None) -> None:
        self._path = folder / NAME
        self._folder, self._say = folder, say
        self._hook = _command(hook) if hook is not None else []
        self._keys: set[ExposureKey] = set()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be used: {error.strerror} (check the permissions of the file and its folder)"
            ) from None
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            raise

    def _take(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):  # reading a pipe would never end
            raise OutputError(f"{self._path}: no regular file; it was left as it is (move it away)")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{self._folder}: another gpuanom watch is at this night (end it first)") from None
        except OSError:  # a file system without locks
            pass
        try:
            text = self._path.read_bytes()
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be read: {error.strerror} (the alerts that were given before stand in this file:"
                " check its permissions, or remove the file, and the alerts are given again)"
            ) from None
        self._torn = bool(text) and not text.endswith(b"\n")
        for line in text.split(b"\n"):
            # A line that is cut off, by a kill or a full disk, does not count: the alert will be given again.
            with suppress(ValueError, KeyError, TypeError):
                values = json.loads(line)
                self._keys.add((str(values["camera"]), str(values["exposure"])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._file)

    def __contains__(self, key: ExposureKey) -> bool:
        """Whether there was an alert of the exposure of this camera and id."""
        return key in self._keys

    def give(self, about: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Give an alert of an exposure: run the hook, and keep the alert.

        Parameters
        ----------
        about : mapping
            The alert, see `alert`: it is kept, and its values are put into the environment of the hook.
        row : mapping
            The exposure's row of the table; the hook gets it on standard input together with the alert.

        Raises
        ------
        OutputError
            When the alert cannot be kept.
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
        """Run the hook to its end; trouble is told by `say` and has no other effect."""
        variables = {f"GPUANOM_{key.upper()}": _plain(value) for key, value in values.items()}
        environment = {**os.environ, **variables, "GPUANOM_NIGHT": path_text(self._folder.absolute())}
        name = f"hook for exposure {values['exposure']}"
        try:
            process = subprocess.Popen(
                self._hook, stdin=subprocess.PIPE, stdout=2, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            self._say(f"{name}: cannot be run: {error}")
            return
        try:
            process.communicate(text.encode(), timeout=HOOK_SECONDS)
        except subprocess.TimeoutExpired:
            self._say(f"{name}: ended, it took more than {HOOK_SECONDS:.0f} s")
        else:
            if process.returncode:
                self._say(f"{name}: ended with exit code {process.returncode}")
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _plain(value: Any) -> str:
    """A value as a text for the environment; letters that the system's encoding lacks are escaped."""
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
