"""`gpuanom inject`: an anomaly put into real images, to see whether it would be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import chosen_settings
from gpuanom.cli.screen import Screen
from gpuanom.errors import GpuanomError, InputError, SettingsError, printable
from gpuanom.files import whole_file
from gpuanom.fits import discover
from gpuanom.fits.explain import other_names
from gpuanom.nights import injected
from gpuanom.nights.merge import make_references
from gpuanom.records import Exposure
from gpuanom.scoring.histograms.reference import References
from gpuanom.settings import Settings
from gpuanom.simulate.conditions import Anomaly
from gpuanom.simulate.folder import TRUTH
from gpuanom.simulate.injected_copies import (
    PlannedCopy,
    described,
    known_before,
    make_new_folder,
    plan_copy,
    write_copy,
)
from gpuanom.simulate.injectors import INJECTORS
from gpuanom.simulate.night import Row, truth_table
from gpuanom.simulate.syntax import parse

EPILOG = """\b
Examples:
  gpuanom inject --list                                           all anomalies, their usual strength and its unit
  gpuanom inject night/exp17.fits --anomaly stripes:0.1 -o odd    stripes of a tenth of the noise, random direction
  gpuanom inject night/*.fits --anomaly guiding:3@45 -o odd       3 pixels of drift along 45 degrees
  gpuanom inject night/exp17.fits --anomaly ring:0.5/80 -o odd    a ring with a radius of 80 pixels on one CCD

\b
Would the anomaly have been found? At the end, the verdicts before and after say so. They need 20 exposures of one
camera and band, or something to compare with:
  gpuanom score night -o scored
  gpuanom inject night/exp17.fits --anomaly stripes:0.1 -o odd --reference scored

The noise of the sky keeps its strength: where a convolution, clouds or a shadow take noise away, white noise is added.
The anomalies from elongation to donuts are convolutions, and act on stars that the atmosphere has blurred already; the
strength of a shear is the one that stars of --fwhm get. The place of a CCD in the focal plane follows from DETSEC, or
else the CCDs lie on a grid in the order of the files. The same --anomaly and --seed choose the same CCDs, and the same
place of a ring or streak, as in `gpuanom simulate`.

\b
OUTPUT/truth.ecsv has a row for each anomaly: strength, direction and size, and the CCDs whose pixels were changed. The
rows of a truth.ecsv beside the images are kept, so that two anomalies in one exposure are two rows.
CCDs that do not show the anomaly are copied without any change.
"""


def _list(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    for name, injector in INJECTORS.items():
        click.echo(f"{name:<12} {injector.default:<5g} [{injector.unit}]")
        also = [word for word, has in (("direction", injector.directed), (injector.sized, injector.sized)) if has]
        click.echo(f"{'':12} {injector.help}{' (' + ', '.join(also) + ')' if also else ''}; {injector.kind}")
    context.exit()


@click.command(epilog=EPILOG)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=GivenPath(str, readable=False))
@click.option("--anomaly", help="NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS], see --list.  [required]")
@click.option("--output", "-o", required=True, type=GivenPath(file_okay=False), help="Folder to write.")
@click.option(
    "--fwhm", default=4.0, show_default=True, type=click.FloatRange(1, 50), help="FWHM of the stars, in pixels."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the random choices.")
@click.option("--config", type=GivenPath(dir_okay=False), help="Settings file with camera rules.")
@click.option(
    "--reference",
    type=GivenPath(),
    metavar="FILE|SCORED",
    help="Judge the images before and after by this saved reference, or by this scored night (default: by the images "
    "themselves, if there are enough). They are measured with the settings of the reference.",
)
@click.option("--verdict/--no-verdict", default=True, help="Judge the images before and after.  [default: verdict]")
@click.option("--quiet", "-q", is_flag=True, help="Show failures and the verdicts only.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the anomalies.")
def inject(
    images: tuple[str, ...],
    anomaly: str | None,
    output: Path,
    fwhm: float,
    seed: int,
    config: Path | None,
    reference: Path | None,
    verdict: bool,
    quiet: bool,
) -> int:
    """Put an anomaly into copies of real images.

    IMAGE is a FITS file, a folder, a pattern or @list.txt, as for `gpuanom score`. Each file is copied into the folder
    OUTPUT under the same name, with its mask, and the anomaly is put into the copy; a pattern runs across all CCDs of
    an exposure. OUTPUT/truth.ecsv lists what was put in. Nothing is overwritten. At the end, a line for each exposure
    gives the verdict before and after.
    """
    if anomaly is None:
        raise click.UsageError("Missing option '--anomaly' (gpuanom inject --list prints all anomalies).")
    if reference is not None and not verdict:
        raise click.UsageError("--reference is what the images are judged by: leave out --no-verdict")
    (wanted, *more) = parse(anomaly)
    if more:
        raise click.BadParameter("every image gets the anomaly; leave the count out", param_hint="'--anomaly'")
    settings = chosen_settings(config)
    references = None if reference is None else _references(reference, settings)
    found = discover(images, settings)
    files = {path for exposure in found.exposures for path in exposure.files_and_masks}
    make_new_folder(sorted(files), output)
    with Screen(quiet=quiet, verbose=False) as screen:
        for failure in found.failures:
            screen.line(f"failed {failure.path}: {failure.reason}")
        for skipped in found.skipped:
            screen.skip(skipped)
        if line := other_names(found.other_names):
            screen.say(line)
        copies, n_unplanned = _planned(found.exposures, wanted, seed, settings, screen)
        written = _write_copies(copies, output, settings, fwhm, seed, screen)
    if written.is_interrupted:
        n = len({name for name, _, _, _ in written.rows})
        click.echo(
            f"gpuanom: interrupted; {n} of {len(copies)} exposures are in {output} (give a new folder)", err=True
        )
        return 130
    if not written.rows:
        raise InputError("no image to put an anomaly into", remedy="name FITS images of the sky")
    if verdict:
        copy_of = {f: output / f.name for e in written.exposures for f in e.files_and_masks}
        _judge(found.exposures, copy_of, settings, references, quiet=quiet)
    return 1 if found.failures or n_unplanned or written.n_failed else 0


def _planned(
    exposures: Sequence[Exposure], wanted: Anomaly, seed: int, settings: Settings, screen: Screen
) -> tuple[list[PlannedCopy], int]:
    """The copies to write, and the number of exposures that cannot have the anomaly."""
    planned = []
    for exposure in exposures:
        try:
            planned.append(plan_copy(exposure, wanted, seed, settings))
        except (InputError, SettingsError) as error:
            screen.line(f"failed {error}")
    return planned, len(exposures) - len(planned)


@dataclass
class _Written:
    """The copies that were written.

    Attributes
    ----------
    rows : list of Row
        Of the table of what was put in.
    exposures : list of Exposure
        The exposures that were copied.
    n_failed : int
        The number of exposures that could not be.
    is_interrupted : bool
    """

    rows: list[Row] = field(default_factory=list)
    exposures: list[Exposure] = field(default_factory=list)
    n_failed: int = 0
    is_interrupted: bool = False


def _write_copies(
    copies: Sequence[PlannedCopy], output: Path, settings: Settings, fwhm: float, seed: int, screen: Screen
) -> _Written:
    """Write copies until all are done or the user interrupts, and the table of what was put in."""
    written = _Written()
    bar, done, total = screen.count("injecting, CCDs"), 0, sum(len(copy.places) for copy in copies)
    try:
        for copy in copies:
            exposure = copy.exposure
            try:
                shown = write_copy(copy, output, settings, fwhm, seed)
            except InputError as error:
                written.n_failed += 1
                screen.line(f"failed {error}")
            else:
                written.rows += [*known_before(exposure), (exposure.exposure, exposure.band, copy.anomaly, shown)]
                written.exposures.append(exposure)
                on = "" if len(shown) == len(copy.places) else f", on {len(shown)} of {len(copy.places)} CCDs"
                screen.say(f"exposure {exposure.exposure}: {described(copy.anomaly)}{on}")
            done += len(copy.places)
            bar(done, total)
    except KeyboardInterrupt:
        written.is_interrupted = True
    finally:
        if written.rows:
            with whole_file(output / TRUTH) as partial:
                truth_table(written.rows).write(partial, format="ascii.ecsv", overwrite=True)
    return written


def _references(path: Path, settings: Settings) -> References:
    """The references to judge by, read before anything is written."""
    if not settings.statistics:
        raise SettingsError("these settings give no verdict (the setting statistics is false): leave out --reference")
    return make_references(path, say=lambda line: click.echo(line, err=True))


def _judge(
    exposures: Sequence[Exposure],
    copies: Mapping[Path, Path],
    settings: Settings,
    references: References | None,
    *,
    quiet: bool,
) -> None:
    """Print the verdict on each exposure before and after, or why there is none."""
    without = injected.why_not(exposures, settings) if references is None else {}
    for reason in dict.fromkeys(without.values()):
        click.echo(printable(reason))
    judged = [e for e in exposures if (e.camera, e.band) not in without]
    if not judged:
        return
    if references is not None:
        settings = settings.with_measurement(references.settings)
    try:
        with Screen(quiet=quiet, verbose=False) as screen:
            bar = screen.count("measuring before and after, exposures")
            found = injected.changes(judged, copies, settings, references, bar)
    except GpuanomError as error:
        click.echo(f"gpuanom: the copies are written, but cannot be judged: {error}", err=True)
        return
    for change in found:
        click.echo(printable(f"exposure {change.exposure}: before {change.before.words}; after {change.after.words}"))
