"""`gpuanom inject`: an anomaly put into real images, to see whether it would be found."""

from __future__ import annotations

import gzip
import hashlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from astropy.io import fits

from gpuanom.cli.options import chosen_settings
from gpuanom.cli.screen import Screen
from gpuanom.errors import InputError, OutputError
from gpuanom.fits import discover
from gpuanom.fits.ccds import ccd_name, is_skipped
from gpuanom.fits.discover import rule_of
from gpuanom.fits.headers import Cards
from gpuanom.fits.planes import is_plane
from gpuanom.fits.quiet import quiet
from gpuanom.fits.sections import parse_section
from gpuanom.records import Exposure
from gpuanom.settings import Settings
from gpuanom.simulate.conditions import Anomaly, Place
from gpuanom.simulate.injectors import INJECTORS, parse
from gpuanom.simulate.injectors import inject as inject_array
from gpuanom.simulate.night import CCD_GAP, TRUTH, truth_table, write_whole

EPILOG = """\b
Examples:
  gpuanom inject --list                                           every anomaly, its strength and what it is
  gpuanom inject night/exp17.fits --anomaly stripes:0.1 -o odd    stripes of a tenth of the noise, any direction
  gpuanom inject night/*.fits --anomaly guiding:3@45 -o odd       3 pixels of drift along 45 degrees
  gpuanom inject night/exp17.fits --anomaly ring:0.5/80 -o odd    a ring of 80 pixels on one CCD

\b
Would it have been found?
  gpuanom score night -o scored
  gpuanom reference scored --output ref.ecsv
  gpuanom score odd -o found --reference ref.ecsv

The noise of the sky is kept: what a convolution, clouds or a shadow take away is added again, as white noise.
Convolutions (everything from elongation to donuts) act on stars that the atmosphere has widened already; shears are
those of stars of --fwhm. Coordinates are the focal plane's by DETSEC, or the CCDs on a grid in the files' order.
"""


def _list(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    for name, injector in INJECTORS.items():
        click.echo(f"{name:<12} {injector.default:<5g} [{injector.unit}]")
        also = [word for word, there in (("direction", injector.directed), (injector.sized, injector.sized)) if there]
        click.echo(f"{'':12} {injector.help}{' (' + ', '.join(also) + ')' if also else ''}; {injector.kind}")
    context.exit()


@click.command(epilog=EPILOG)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--anomaly", required=True, help="NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS], see --list.")
@click.option(
    "--output", "-o", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write."
)
@click.option("--fwhm", default=4.0, show_default=True, type=click.FloatRange(1, 50), help="Of the stars, in pixels.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of what is random about it.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file: rules of cameras.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the anomalies.")
def inject(images: tuple[str, ...], anomaly: str, output: Path, fwhm: float, seed: int, config: Path | None) -> int:
    """Put an anomaly into copies of images.

    IMAGE is what `gpuanom score` takes: files, folders, patterns, @lists. Each file is copied to the folder OUTPUT
    under its own name, its mask beside it, every CCD of an exposure showing its part of one pattern; OUTPUT/truth.ecsv
    says what was put in. Nothing is overwritten.
    """
    (wanted, *more) = parse(anomaly)
    if more:
        raise click.BadParameter("every image gets the anomaly; leave the count out", param_hint="'--anomaly'")
    settings = chosen_settings(config)
    found = discover(images, settings)
    files = [path for exposure in found.exposures for path in (*exposure.files, *exposure.masks) if path]
    _refuse(files, output)
    with Screen(quiet=False, verbose=False) as screen:
        for failure in found.failures:
            screen.line(f"failed {failure.path}: {failure.reason}")
        for skipped in found.skipped:
            screen.skip(skipped)
        rows, failed = [], len(found.failures)
        for exposure in found.exposures:
            mine = _of_exposure(wanted, exposure.exposure, seed)
            try:
                _copy(exposure, mine, output, settings, fwhm, seed)
            except InputError as error:
                failed += 1
                screen.line(f"failed {error}")
                continue
            rows.append((exposure.exposure, exposure.band, mine))
            screen.say(f"exposure {exposure.exposure}: {mine.name} of {mine.amplitude:g}{_along(mine)}")
        if rows:
            write_whole(output / TRUTH, truth_table(rows).write, format="ascii.ecsv")
    if not rows:
        raise InputError("no image to put an anomaly into", remedy="name FITS images of the sky")
    return 1 if failed else 0


def _along(anomaly: Anomaly) -> str:
    return "" if math.isnan(anomaly.direction) else f" along {anomaly.direction:.0f} deg"


def _refuse(files: list[Path], output: Path) -> None:
    """Make the folder; nothing in it is overwritten, and no two files become one."""
    names = [path.name for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OutputError(f"{output / twice[0]}: two of the images have this name (inject them into two folders)")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made: {error.strerror or error}") from None
    for name in (*names, TRUTH):
        if (output / name).exists():
            raise OutputError(f"{output / name}: exists already (give a new folder)")


def _of_exposure(wanted: Anomaly, exposure: str, seed: int) -> Anomaly:
    """The anomaly as one exposure has it: what was not given is drawn, for each exposure its own."""
    rng = np.random.default_rng(_key(exposure, seed))
    direction = 90 - rng.uniform(0, 180)
    if INJECTORS[wanted.name].directed and math.isnan(wanted.direction):
        wanted = replace(wanted, direction=round(direction, 1))
    return replace(wanted, seed=int(rng.integers(2**31)))


def _key(exposure: str, *numbers: int) -> list[int]:
    return [int.from_bytes(hashlib.blake2b(exposure.encode(), digest_size=7).digest(), "little"), *numbers]


def _copy(exposure: Exposure, anomaly: Anomaly, output: Path, settings: Settings, fwhm: float, seed: int) -> None:
    """Write the files of an exposure with the anomaly in their CCDs."""
    places = _places(exposure, settings)
    for path in exposure.files:
        with quiet(), _opened(path) as hdus:
            for number, hdu in _ccds(hdus, exposure, settings):
                place = places[path, number]
                rng = np.random.default_rng(_key(exposure.exposure, seed, place.number))
                try:
                    pixels = hdu.data
                except Exception as error:  # astropy raises many kinds on damaged data
                    reason = f"its pixels cannot be read: {' '.join(str(error).split())[:120]}"
                    raise InputError(reason, file=path, hdu=number) from None
                hdu.data = _changed(pixels, anomaly, place, fwhm, rng)
            hdus[0].header["HISTORY"] = f"gpuanom inject: {anomaly.name} of {anomaly.amplitude:g}{_along(anomaly)}"
            write_whole(output / path.name, partial(_write_gzip, hdus) if path.suffix == ".gz" else hdus.writeto)
    for mask in exposure.masks:
        if mask is not None:
            try:
                shutil.copyfile(mask, output / mask.name)
            except OSError as error:
                raise OutputError(f"{mask}: cannot be copied: {error.strerror or error}") from None


def _write_gzip(hdus: Any, path: Path, overwrite: bool) -> None:
    """Compressed as astropy does by a name's end, which a file being written does not have yet; without a date."""
    with path.open("wb" if overwrite else "xb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
        hdus.writeto(file)


def _opened(path: Path) -> Any:
    try:
        return fits.open(path)
    except Exception as error:  # astropy raises many kinds on files that are no FITS
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:120]}", file=path) from None


def _changed(data: Any, anomaly: Anomaly, place: Place, fwhm: float, rng: np.random.Generator) -> Any:
    """The pixels with the anomaly, of their own type."""
    kind = data.dtype
    pixels = inject_array(data.astype(np.float64), anomaly, place, fwhm=fwhm, rng=rng)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(kind.newbyteorder("="))


def _ccds(hdus: Any, exposure: Exposure, settings: Settings) -> Iterator[tuple[int, Any]]:
    """The CCDs among a file's HDUs, with the HDUs' numbers."""
    rule = rule_of(exposure, settings)
    for number, hdu in enumerate(hdus):
        if not hdu.is_image or len(hdu.shape) != 2 or is_plane(rule, hdu.header):
            continue
        if min(hdu.shape) < settings.stamp_size:
            continue  # nothing that is scored
        if not is_skipped(rule, ccd_name(rule, Cards(hdu.header, hdus[0].header), number)):
            yield number, hdu


def _places(exposure: Exposure, settings: Settings) -> dict[tuple[Path, int], Place]:
    """Where the CCDs of an exposure lie: as DETSEC says if all have it, else on a square grid."""
    shapes: dict[tuple[Path, int], tuple[int, int]] = {}
    sections: list[tuple[float, float]] = []
    for path in exposure.files:
        with quiet(), _opened(path) as hdus:
            for number, hdu in _ccds(hdus, exposure, settings):
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
        key: Place(shape, (x - middle[0], y - middle[1]), extent, i, len(shapes))
        for i, ((key, shape), (x, y)) in enumerate(zip(shapes.items(), sections, strict=True))
    }
