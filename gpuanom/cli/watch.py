"""`gpuanom watch`: a night scored while it is taken."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import ReferenceFile, chosen_settings, formats_option, settings_options
from gpuanom.cli.screen import Screen
from gpuanom.cli.signals import ended_by_signals
from gpuanom.errors import printable
from gpuanom.nights import alerts

if TYPE_CHECKING:
    from gpuanom.nights.events import WatchEvents
    from gpuanom.tables.left_out import LeftOut, Unreferenced

EPILOG = """\b
Examples:
  gpuanom watch /data/tonight -o scored                         until Ctrl-C (or SIGTERM, or --until 07:00)
  gpuanom watch /data/tonight -o scored --reference ref.ecsv    compare with a saved reference, not with this night
  gpuanom watch /data/tonight -o scored --hook 'mail -s anomaly me@example.org'
  gpuanom watch /data/tonight -o scored --json | my-dashboard   a line of JSON for each exposure and each alert
  gpuanom watch /data/tonight -o scored --report                keep the page scored/report.html fresh
  gpuanom watch /data/tonight -o scored --once                  score all files that are there, and end

\b
Output: a line for each exposure, with time, id, camera and band; deviation and z of the score that deviates most; and
the status where something is wrong. Each new exposure shifts the scores of the others a little, and the first scores
of a night are rough: until a camera and band have --least exposures, their lines end in 'early' and raise no alert.
Then all exposures so far are judged again.

\b
A survey: of a folder with 1,000 exposures or more, the new ones are judged alone, by what `gpuanom score` found to be
normal; a line and the alerts name this null. The tables are then written when the watch ends by itself (--once,
--until), or by the next `gpuanom score -o SCORED`.

\b
Hook: the command is run once for each alert, without a shell; a restart does not repeat it, because
SCORED/alerts.jsonl lists the alerts that were given. The command gets the exposure's row as a line of JSON on standard
input, and in its environment GPUANOM_EXPOSURE, GPUANOM_CAMERA, GPUANOM_BAND, GPUANOM_DEVIATION, GPUANOM_Z,
GPUANOM_SCORE, GPUANOM_STATUS, GPUANOM_FILE and GPUANOM_NIGHT.

\b
Complete files: it is safest to write a file under another name (one that begins with a dot, say) and to rename it when
it is complete. Any other file counts as complete when it has not changed for --settle seconds and holds all data that
its headers announce. A file that stays incomplete for --patience seconds is listed as incomplete, without scores, and
is scored once it is complete. An exposure with a file for each CCD is measured again when another of its files comes.
A file that the system cannot read (a file server that does not answer) is tried again after a minute, then less and
less often.

\b
At the end, the CCDs without a measurement are counted once, by reason. Exit code 1: exposures failed, or CCDs were
lost (unreadable, corrupt, a mask that does not fit, two CCDs of one name, out of memory), or the reference that was
given holds no camera and band of the night.
"""


class Until(click.ParamType):  # type: ignore[type-arg]
    """A time of day, or a date and time, as seconds of `time.time`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The next moment with this local time of day, or the moment of a date and time."""
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
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER...", type=GivenPath(str, readable=False))
@click.option("--output", "-o", required=True, type=GivenPath(), help="Folder to write: measurements and tables.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, the number of a GPU, or several: 0,1.")
@click.option(
    "--reference",
    type=ReferenceFile(),
    help="Compare with this saved reference (gpuanom reference), not with the night so far.",
)
@click.option(
    "--every",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.02),
    help="Seconds between two looks for new files.",
)
@click.option(
    "--settle",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0),
    help="A file is complete when it has not changed for so many seconds; 0 where files are renamed when complete.",
)
@click.option(
    "--patience",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds after which a file that lacks data, and does not change, is listed as incomplete.",
)
@click.option(
    "--alert",
    "deviation",
    default=alerts.DEVIATION,
    show_default=True,
    type=float,
    help="Bad exposures give alerts. Of exposures without a verdict, those with a score that deviates at least so "
    f"much, with a z of at least {alerts.LEAST_Z:g}.",
)
@click.option(
    "--least",
    default=alerts.MIN_EXPOSURES,
    show_default=True,
    type=click.IntRange(2),
    help="Give no alert before so many exposures of a camera and band are scored.",
)
@click.option("--hook", metavar="COMMAND", help="Run this command at each alert; it may take a minute.")
@click.option(
    "--report",
    is_flag=True,
    help="Keep the page SCORED/report.html up to date. The page reloads itself in a browser, and shows the last"
    " exposure, the night's course, and everything that `gpuanom report` shows.",
)
@click.option(
    "--report-top",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Number of the most anomalous exposures with pictures on that page; the last exposure has one too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print exposures and alerts as lines of JSON.")
@click.option("--once", is_flag=True, help="End when all files that are there are scored; incomplete ones are listed.")
@click.option("--until", type=Until(), default=None, help="End at this time: 07:00, or 2026-11-24T07:00.")
@formats_option
@click.option("--threads", type=click.IntRange(1, 256), help="Threads that read files and, on a CPU, measure.")
@settings_options
@click.option("--verbose", "-v", is_flag=True, help="Show how files are read and memory is planned, and tracebacks.")
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
    report: bool,
    report_top: int,
    as_json: bool,
    once: bool,
    until: float | None,
    formats: tuple[str, ...] | None,
    threads: int | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Score a night while its exposures arrive.

    Each exposure is measured as soon as its files are complete, and ranked with all others so far.

    FOLDER is where the files arrive (or a pattern, or @list.txt); it need not exist yet. The folder SCORED (--output)
    holds the same tables that `gpuanom score` would make of the same files; `gpuanom report SCORED` works meanwhile.

    The watch may be ended and started again at any time, also in the middle of an exposure: nothing is measured twice.
    """
    settings = chosen_settings(**options)
    stop = threading.Event()
    from gpuanom.nights import watch as watching
    from gpuanom.nights.arrivals import Pace

    pace = Pace(every, settle, patience, once, float("inf") if until is None else until, stop)
    with (
        Screen(quiet=quiet, verbose=verbose) as screen,
        ended_by_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop.set),
        _Output(screen, as_json) as shown,
    ):
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
            report=report_top if report else None,
            events=shown.events(),
        )
    return int(shown.lost)


class _Output:
    """The lines of a watch on standard output; on a terminal, the last line says what the watch waits for."""

    def __init__(self, screen: Screen, as_json: bool) -> None:
        self._screen, self._json = screen, as_json
        self.lost = False
        """Whether CCDs or whole exposures were lost, or the reference was of no use; known at the end."""
        shown = screen.console.is_terminal and not screen.quiet
        self._status = screen.console.status("waiting for exposures") if shown else None

    def __enter__(self) -> _Output:
        (self._status or nullcontext()).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def events(self) -> WatchEvents:
        """The callbacks that print the lines."""
        from gpuanom.nights.events import WatchEvents

        screen = self._screen
        return WatchEvents(
            device=screen.device,
            say=screen.line,
            done=self._done,
            debug=screen.debug,
            scored=self._scored,
            alert=self._alert,
            waiting=self._waiting,
            left_out=self._left_out,
            failures=self._failures,
            unreferenced=self._unreferenced,
        )

    def _left_out(self, groups: Sequence[LeftOut]) -> None:
        self.lost |= self._screen.left_out(groups)

    def _failures(self, failures: Sequence[Any]) -> None:
        # Each was told when it failed.
        self.lost |= bool(failures)

    def _unreferenced(self, without: Unreferenced) -> None:
        # Each camera and band was told when its first exposure came.
        self.lost |= without.is_all

    def _done(self, exposure: Any, result: Any, seconds: float) -> None:
        from gpuanom.records import Failure

        if isinstance(result, Failure):
            self._screen.line(f"failed exposure {exposure.exposure}: {result.reason}")
        elif self._screen.verbose:
            self._screen.done(exposure, result, seconds)

    def _waiting(self, text: str) -> None:
        if self._status:
            self._status.update(printable(text))

    def _echo(self, text: str) -> None:
        """Print a line; on a terminal above the line that says what the watch waits for."""
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
    exposure = " ".join(str(about[name]) for name in ("exposure", "camera", "band") if about[name])
    scores = "no scores yet"
    if about["deviation"] is not None:
        z = "" if about["z"] is None else f", z {about['z']:z.1f}"  # only scores of orientations have a z
        name = about["score"].removesuffix("_kl").replace("_", " ")
        scores = f"deviation {about['deviation']:z.1f}{z} by {name}"
    if about.get("verdict"):
        scores = ", ".join(filter(None, (about["verdict"], about["cause"], scores)))
    early = f", early ({about['n']} so far)" if about["early"] else ""
    # The status "ok" of an exposure that was read without trouble would be taken for a verdict, even behind an alert.
    status = "" if about["status"] == "ok" else f", {about['status']}"
    return printable(f"{time.strftime('%H:%M:%S')} exposure {exposure}: {scores}{status}{early}")
