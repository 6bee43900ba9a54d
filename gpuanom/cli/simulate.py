"""`gpuanom simulate`: a small night with known anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpuanom.cli.screen import Screen


def _shape(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    try:
        ny, nx = (int(part) for part in value.replace("x", ",").split(","))
    except ValueError:
        raise click.BadParameter("two whole numbers, rows and columns, such as 512,512") from None
    return ny, nx


@click.command()
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--exposures", default=16, show_default=True, type=click.IntRange(6, 100_000), help="Exposures to write.")
@click.option("--ccds", default=4, show_default=True, type=click.IntRange(1, 200), help="CCDs an exposure.")
@click.option("--shape", default="512,512", show_default=True, callback=_shape, help="Rows and columns of a CCD.")
@click.option("--bands", default="g,r", show_default=True, help="Bands, taken in turn.")
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed: equal seeds give equal files."
)
def simulate(output: Path, bands: str, **options: Any) -> None:
    """Write a small simulated night into the new folder OUTPUT.

    Two of its exposures have every source elongated along one axis, one has stripes in its background;
    OUTPUT/truth.ecsv says which. Needs GalSim (pip install 'gpuanom[simulate]').
    """
    from gpuanom.simulate import simulate_night

    with Screen(quiet=False, verbose=False) as screen:
        names = [band.strip() for band in bands.split(",") if band.strip()]
        truth = simulate_night(output, bands=names, progress=screen.count("simulating"), **options)
    odd = truth[truth["class"] != "none"]
    click.echo(f"{len(truth)} exposures in {output}, {len(odd)} of them anomalous:")
    for row in odd:
        click.echo(
            f"  exposure {row['exposure']}, band {row['band']}: {row['class']} of {float(row['amplitude']):.3g}"
            f" along {float(row['direction']):.0f} deg"
        )
