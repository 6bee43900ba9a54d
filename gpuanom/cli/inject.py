"""`gpuanom inject`: an anomaly put into real images, to see whether it would be found."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from astropy.io import fits
from astropy.table import Table

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import chosen_settings
from gpuanom.cli.screen import Screen
from gpuanom.errors import GpuanomError, InputError, OutputError, SettingsError, printable
from gpuanom.files import FITS, make_folder, whole_file
from gpuanom.fits import discover
from gpuanom.fits.ccds.names import measured_ccd
from gpuanom.fits.ccds.sections import parse_section
from gpuanom.fits.discover import rule_of
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.packed import HEAD, packing
from gpuanom.nights import injected
from gpuanom.nights.merge import make_references
from gpuanom.records import Exposure
from gpuanom.scoring.reference import References
from gpuanom.settings import Settings
from gpuanom.simulate.acting import inject as inject_array
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.folder import INJECTED, TRUTH
from gpuanom.simulate.injectors import INJECTORS, shows
from gpuanom.simulate.night import CCD_GAP, Row, truth_table
from gpuanom.simulate.placing import for_exposure, key, settle
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


@dataclass(frozen=True)
class _Work:
    """An exposure, the anomaly that it gets, and the places of its CCDs."""

    exposure: Exposure
    anomaly: Anomaly
    places: dict[tuple[Path, int], CcdPlace]


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
    _refuse(sorted(files), output)
    interrupted = False
    with Screen(quiet=False, verbose=False) as screen:
        for failure in found.failures:
            screen.line(f"failed {failure.path}: {failure.reason}")
        for skipped in found.skipped:
            screen.skip(skipped)
        rows: list[Row] = []
        copied: list[Exposure] = []
        failed = len(found.failures)
        works = []
        for exposure in found.exposures:
            try:
                places = _places(exposure, settings)
                settled = settle(for_exposure(wanted, exposure.exposure, seed), list(places.values()))
                works.append(_Work(exposure, settled, places))
            except (InputError, SettingsError) as error:
                failed += 1
                screen.line(f"failed {error}")
        bar, done, total = screen.count("injecting, CCDs"), 0, sum(len(work.places) for work in works)
        try:
            for work in works:
                exposure = work.exposure
                try:
                    shown = _copy(work, output, settings, fwhm, seed)
                except InputError as error:
                    failed += 1
                    screen.line(f"failed {error}")
                else:
                    rows += [*_known_before(exposure), (exposure.exposure, exposure.band, work.anomaly, shown)]
                    copied.append(exposure)
                    on = _on(len(shown), len(work.places))
                    screen.say(f"exposure {exposure.exposure}: {_about(work.anomaly)}{on}")
                done += len(work.places)
                bar(done, total)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if rows:
                with whole_file(output / TRUTH) as partial:
                    truth_table(rows).write(partial, format="ascii.ecsv", overwrite=True)
    if interrupted:
        n = len({name for name, _, _, _ in rows})
        click.echo(f"gpuanom: interrupted; {n} of {len(works)} exposures are in {output} (give a new folder)", err=True)
        return 130
    if not rows:
        raise InputError("no image to put an anomaly into", remedy="name FITS images of the sky")
    if verdict:
        copies = {f: output / f.name for e in copied for f in e.files_and_masks}
        _judge(found.exposures, copies, settings, references)
    return 1 if failed else 0


def _references(path: Path, settings: Settings) -> References:
    """The references to judge by, read before anything is written."""
    if not settings.statistics:
        raise SettingsError("these settings give no verdict (the setting statistics is false): leave out --reference")
    return make_references(path, say=lambda line: click.echo(line, err=True))


def _judge(
    exposures: Sequence[Exposure], copies: Mapping[Path, Path], settings: Settings, references: References | None
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
        with Screen(quiet=False, verbose=False) as screen:
            bar = screen.count("measuring before and after, exposures")
            found = injected.changes(judged, copies, settings, references, bar)
    except GpuanomError as error:
        click.echo(f"gpuanom: the copies are written, but cannot be judged: {error}", err=True)
        return
    for change in found:
        click.echo(printable(f"exposure {change.exposure}: before {change.before.words}; after {change.after.words}"))


def _about(anomaly: Anomaly) -> str:
    return f"{anomaly.name} of {anomaly.amplitude:g}{_along(anomaly)}"


def _on(shown: int, of: int) -> str:
    return "" if shown == of else f", on {shown} of {of} CCDs"


def _known_before(exposure: Exposure) -> list[Row]:
    """What a truth table beside the images says is in them already."""
    rows: list[Row] = []
    for folder in sorted({path.parent for path in exposure.files}):
        try:
            table = Table.read(folder / TRUTH, format="ascii.ecsv")
            for row in table[table["exposure"] == exposure.exposure]:
                if row["class"] == "none":
                    continue
                amplitude, direction, size = (float(row[name]) for name in ("amplitude", "direction", "size"))
                before = Anomaly(str(row["kind"]), str(row["class"]), amplitude, direction, size)
                known = str(row["ccds"]).split() if "ccds" in table.colnames else ["unknown"]
                rows.append((exposure.exposure, exposure.band, before, known))
        except Exception:  # no table there, or one of another kind: it says nothing about these images
            continue
    return rows


def _along(anomaly: Anomaly) -> str:
    return "" if math.isnan(anomaly.direction) else f" along {anomaly.direction:.0f} deg"


def _refuse(files: list[Path], output: Path) -> None:
    """Make the folder; nothing in it is overwritten, and no two files become one."""
    names = [path.name for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OutputError(f"{output / twice[0]}: two of the images have this name (inject them into two folders)")
    make_folder(output)
    for name in (*names, TRUTH):
        if (output / name).exists():
            raise OutputError(f"{output / name}: exists already (give a new folder)")


def _copy(work: _Work, output: Path, settings: Settings, fwhm: float, seed: int) -> list[str]:
    """Write the files of an exposure with the anomaly in their CCDs; return the names of the CCDs that were changed.

    Raises
    ------
    InputError
        When pixels cannot be read, or the anomaly changes none of them; the exposure is not in the folder then.
    """
    exposure, anomaly, places = work.exposure, work.anomaly, work.places
    shown: list[str] = []
    written: list[Path] = []
    try:
        for path in exposure.files:
            # Opened twice: every CCD is read, so that a damaged one is said, but an image that was read from the file
            # to be written would be compressed anew, which changes the pixels of one compressed with loss.
            with ignore_astropy_warnings(), _opened(path) as hdus, _opened(path) as read:
                for number, name, hdu in _ccds(hdus, exposure, settings):
                    place = places[path, number]
                    pixels = _pixels(read[number], path, number)
                    if not shows(anomaly, place):
                        continue
                    rng = np.random.default_rng(key(exposure.exposure, seed, place.number))
                    after = _changed(pixels, anomaly, place, fwhm, rng)
                    if not np.array_equal(pixels, after, equal_nan=after.dtype.kind == "f"):
                        hdu.data = after
                        shown.append(name)
                        _forget_sums(hdu)
                hdus[0].header["HISTORY"] = f"{INJECTED} {_about(anomaly)}"
                _forget_sums(hdus[0])
                with whole_file(output / path.name, same=FITS) as partial:
                    _write(hdus, partial, path.suffix.lower())
                written.append(output / path.name)
        if not shown:
            reason = f"{_about(anomaly)} is too faint to change a pixel"
            raise InputError(reason, file=exposure.files[0], remedy="give a greater strength")
    except BaseException:
        for path in written:  # made here a moment ago
            path.unlink(missing_ok=True)
        raise
    for mask in exposure.masks:
        if mask is not None:
            try:
                shutil.copyfile(mask, output / mask.name)
            except OSError as error:
                raise OutputError(f"{mask}: cannot be copied: {error.strerror or error}") from None
    return shown


def _pixels(hdu: Any, path: Path, number: int) -> Any:
    try:
        return hdu.data
    except Exception as error:  # astropy raises many kinds on damaged data
        reason = f"its pixels cannot be read: {' '.join(str(error).split())[:120]}"
        raise InputError(reason, file=path, hdu=number) from None


def _forget_sums(hdu: Any) -> None:
    """Remove the checksums of what an HDU held before."""
    for name in ("CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"):
        hdu.header.remove(name, ignore_missing=True)


_PACKERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda raw: gzip.GzipFile("", "wb", mtime=0, fileobj=raw),
    ".bz2": lambda raw: bz2.BZ2File(raw, "wb"),
    ".xz": lambda raw: lzma.LZMAFile(raw, "wb"),  # noqa: SIM115 (whoever calls it closes it)
}


def _write(hdus: Any, path: Path, suffix: str) -> None:
    """Write a FITS file, packed as the end of its final name says; a packed file holds no date."""
    if suffix not in _PACKERS:
        hdus.writeto(path, overwrite=True)
        return
    with path.open("wb") as raw, _PACKERS[suffix](raw) as file:
        hdus.writeto(file)


def _opened(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            is_xz = packing(file.read(HEAD)) == "xz"  # which astropy 7.0 does not unpack
        return fits.open(io.BytesIO(lzma.decompress(path.read_bytes())) if is_xz else path)
    except Exception as error:  # astropy raises many kinds on files that are no FITS
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:120]}", file=path) from None


def _changed(data: Any, anomaly: Anomaly, place: CcdPlace, fwhm: float, rng: np.random.Generator) -> Any:
    """The pixels with the anomaly, of their own type."""
    kind = data.dtype
    pixels = inject_array(data.astype(np.float64), anomaly, place, fwhm=fwhm, rng=rng)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(kind.newbyteorder("="))


def _ccds(hdus: Any, exposure: Exposure, settings: Settings) -> Iterator[tuple[int, str, Any]]:
    """The CCDs among a file's HDUs, with the HDUs' numbers and the CCDs' names."""
    rule = rule_of(exposure, settings)
    for number, hdu in enumerate(hdus):
        if not hdu.is_image or len(hdu.shape) != 2 or min(hdu.shape) < settings.stamp_size:
            continue  # nothing that is scored
        if name := measured_ccd(rule, hdu.header, Cards(hdu.header, hdus[0].header), number):
            yield number, name, hdu


def _places(exposure: Exposure, settings: Settings) -> dict[tuple[Path, int], CcdPlace]:
    """Where the CCDs of an exposure lie: as DETSEC says if all have it, else on a square grid."""
    shapes: dict[tuple[Path, int], tuple[int, int]] = {}
    sections: list[tuple[float, float]] = []
    for path in exposure.files:
        with ignore_astropy_warnings(), _opened(path) as hdus:
            for number, _, hdu in _ccds(hdus, exposure, settings):
                shapes[path, number] = (int(hdu.shape[0]), int(hdu.shape[1]))
                try:
                    section = parse_section(Cards(hdu.header).get("DETSEC"))
                    sections.append((float(section.x0), float(section.y0)))
                except InputError:
                    pass
    if not shapes:
        raise InputError("no CCD of a size that is scored", file=exposure.files[0])
    if len(sections) != len(shapes):
        columns = math.ceil(math.sqrt(len(shapes)))
        height, width = (max(shape[i] for shape in shapes.values()) + CCD_GAP for i in (0, 1))
        sections = [((i % columns) * width, (i // columns) * height) for i in range(len(shapes))]
    ends = [(x + shape[1], y + shape[0]) for (x, y), shape in zip(sections, shapes.values(), strict=True)]
    low = [min(corner[i] for corner in sections) for i in (0, 1)]
    high = [max(end[i] for end in ends) for i in (0, 1)]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    extent = max(b - a for a, b in zip(low, high, strict=True)) / 2
    return {
        key: CcdPlace(shape, (x - middle[0], y - middle[1]), extent, i, len(shapes))
        for i, ((key, shape), (x, y)) in enumerate(zip(shapes.items(), sections, strict=True))
    }
