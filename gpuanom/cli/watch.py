"""`gpuanom watch`: a night scored as it comes."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import click

from gpuanom.cli.options import chosen_settings, formats_option, settings_options
from gpuanom.cli.screen import Screen
from gpuanom.errors import printable
from gpuanom.nights import alerts
from gpuanom.nights import watch as watching
from gpuanom.nights.arrivals import Pace
from gpuanom.records import Failure
from gpuanom.tables.left_out import LeftOut

EPILOG = """\b
Examples:
  gpuanom watch /data/tonight -o scored                         until Ctrl-C (or SIGTERM, or --until 07:00)
  gpuanom watch /data/tonight -o scored --reference ref.ecsv    against what is normal, not the night so far
  gpuanom watch /data/tonight -o scored --hook 'mail -s anomaly me@example.org'
  gpuanom watch /data/tonight -o scored --json | my-dashboard   a line of JSON an exposure and alert
  gpuanom watch /data/tonight -o scored --once                  catch up with what is there, and end

\b
A line an exposure: time, id, camera, band; deviation and z of the score that deviates most; status. Every arrival
shifts the others' scores a little, and early ones are rough: until --least exposures of its camera and band are there
a line ends in 'early', and none of them is alerted of; then all are judged again.

\b
The hook is run without a shell, once an exposure, also over restarts (SCORED/alerts.jsonl keeps which); it has the
exposure's row as a line of JSON on standard input, and GPUANOM_EXPOSURE, GPUANOM_CAMERA, GPUANOM_BAND,
GPUANOM_DEVIATION, GPUANOM_Z, GPUANOM_SCORE, GPUANOM_STATUS, GPUANOM_FILE and GPUANOM_NIGHT in its environment.

\b
Files: written under another name (or one that begins with a dot) and renamed is safest. Others count as complete when
they have not changed for --settle seconds and hold all that their headers announce; one that lacks something for
--patience seconds is listed as incomplete, unscored, and taken up when it changes. An exposure of a file a CCD is
measured again when another file of it comes. What the system refuses to read (a file server that does not answer) is
tried again after a minute, and then less and less often.

\b
At the end the CCDs without a measurement are said once, with their number and reason. Exit code 1: some were lost
(unreadable, corrupt, a mask that does not fit, a second one of a name, out of memory).
"""


class Until(click.ParamType):  # type: ignore[type-arg]
    """A time of day, or a date and time, as seconds of `time.time`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The next time of day, local, or the moment."""
        if isinstance(value, float):
            return value
        now = datetime.now().astimezone()
        try:
            if len(value) <= 8:
                hour, minute = (int(part) for part in value.split(":"))
                end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
                return (end if end > now else end + timedelta(days=1)).timestamp()
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            self.fail(f"'{value}' is no time such as 07:00 or 2026-11-24T07:00 (or ...Z)", param, ctx)


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder for store and tables.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, a GPU's number, or several: 0,1.")
@click.option(
    "--reference", type=click.Path(dir_okay=False, path_type=Path), help="Saved reference to compare the night with."
)
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.02), help="Seconds between looks.")
@click.option(
    "--settle",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds for which a file must not change; 0 where files are renamed into place.",
)
@click.option(
    "--patience",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds after which a file that is not whole, and does not change, is listed as incomplete.",
)
@click.option(
    "--alert",
    "deviation",
    default=alerts.DEVIATION,
    show_default=True,
    type=float,
    help=f"Alert of deviations from here on, by a score whose z is at least {alerts.LEAST_Z:g}.",
)
@click.option(
    "--least",
    default=alerts.MIN_EXPOSURES,
    show_default=True,
    type=click.IntRange(2),
    help="Exposures of a camera and band before any of them is alerted of.",
)
@click.option("--hook", metavar="COMMAND", help="Run this at each alert, without a shell; at most a minute.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON on standard output, for exposures and alerts.")
@click.option("--once", is_flag=True, help="End when all that is there is scored; what is not whole is listed.")
@click.option("--until", type=Until(), default=None, help="End at this time: 07:00, or 2026-11-24T07:00.")
@formats_option
@click.option("--threads", type=click.IntRange(1, 256), help="Threads, as for `gpuanom score`.")
@settings_options
@click.option("--verbose", "-v", is_flag=True, help="Show memory plans, ways of reading, and tracebacks.")
@click.option("--quiet", "-q", is_flag=True, help="Show alerts and failures only.")
def watch(
    inputs: tuple[str, ...],
    output: Path,
    device: str,
    reference: Path | None,
    every: float,
    settle: float,
    patience: float,
    deviation: float,
    least: int,
    hook: str | None,
    as_json: bool,
    once: bool,
    until: float | None,
    formats: tuple[str, ...],
    threads: int | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Score exposures during the night, each as soon as its files are complete.

    FOLDER is what the files arrive in (or a pattern, or @list.txt); it need not exist yet. What was measured before is
    not measured again: end and start it as you like, also in the middle of an exposure. SCORED then holds what
    `gpuanom score` makes of the same files, and `gpuanom report SCORED` works meanwhile.
    """
    settings = chosen_settings(**options)
    stop = threading.Event()
    pace = Pace(every, settle, patience, once, float("inf") if until is None else until, stop)
    with Screen(quiet=quiet, verbose=verbose) as screen, _ended_by_signals(stop), _Told(screen, as_json) as told:
        watching.watch(
            inputs,
            output,
            settings=settings,
            device=device,
            reference=reference,
            formats=formats,
            threads=threads,
            pace=pace,
            deviation=deviation,
            least=least,
            hook=hook,
            events=told.events(),
        )
    return int(told.lost)


@contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the watch in order; a second one ends it at once."""
    before: dict[signal.Signals, Any] = {}

    def end(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Told:
    """What a watch tells, on standard output; on a terminal, what it waits for is the last line."""

    def __init__(self, screen: Screen, as_json: bool) -> None:
        self._screen, self._json = screen, as_json
        self.lost = False
        """Whether CCDs were lost; known at the end."""
        shown = screen.console.is_terminal and not screen.quiet
        self._status = screen.console.status("waiting for exposures") if shown else None

    def __enter__(self) -> _Told:
        (self._status or nullcontext()).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def events(self) -> watching.WatchEvents:
        """The events of a watch, told here."""
        screen = self._screen
        return watching.WatchEvents(
            device=screen.device,
            say=screen.line,
            done=self._done,
            debug=screen.debug,
            scored=self._scored,
            alert=self._alert,
            waiting=self._waiting,
            left_out=self._left_out,
        )

    def _left_out(self, groups: Sequence[LeftOut]) -> None:
        self.lost = self._screen.left_out(groups)

    def _done(self, exposure: Any, result: Any, seconds: float) -> None:
        if isinstance(result, Failure):
            self._screen.line(f"failed exposure {exposure.exposure}: {result.reason}")
        elif self._screen.verbose:
            self._screen.done(exposure, result, seconds)

    def _waiting(self, text: str) -> None:
        if self._status:
            self._status.update(printable(text))

    def _echo(self, text: str) -> None:
        """Print a line; where a terminal shows what is waited for too, through what draws that."""
        if self._status and sys.stdout.isatty():
            self._screen.console.print(text)
        else:
            click.echo(text)

    def _scored(self, about: Mapping[str, Any]) -> None:
        if self._json:
            self._echo(json.dumps({"event": "exposure", **about}))
        elif not self._screen.quiet:
            self._echo(line(about))

    def _alert(self, about: Mapping[str, Any]) -> None:
        if self._json:
            self._echo(json.dumps({"event": "alert", **about}))
        else:
            self._echo(f"ALERT {line(about)}")


def line(about: Mapping[str, Any]) -> str:
    """An exposure on one line of a terminal."""
    who = " ".join(str(about[name]) for name in ("exposure", "camera", "band") if about[name])
    scores = "no scores yet"
    if about["deviation"] is not None:
        scores = f"deviation {about['deviation']:z.1f}, z {about['z']:z.1f} by {about['score']}".replace("_", " ")
    early = f", early ({about['n']} so far)" if about["early"] else ""
    return printable(f"{time.strftime('%H:%M:%S')} exposure {who}: {scores}, {about['status']}{early}")
