"""What is found in real images: each exposure of a folder in turn gets every anomaly and is ranked among the others.

python profiling/validation_real.py FOLDER

Writes profiling/results/validation-real.md. FOLDER holds a few exposures of one camera and band; for the results in
docs/validation.md these were five exposures of VIRCAM.
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import gpuanom
from gpuanom.fits import discover
from gpuanom.fits.reader import read_ccds
from gpuanom.settings import Settings
from gpuanom.simulate import INJECTORS, Anomaly, CcdPlace, inject

SEED = 5
FWHM = 4.0
STRENGTHS = {
    "elongation": (0.06, 0.12, 0.25),
    "guiding": (1.5, 3.0, 6.0),
    "coma": (4.0, 8.0),
    "double": (3.0, 8.0, 20.0),
    "donuts": (8.0, 16.0, 32.0),
    "trails": (0.1, 0.3),
    "clouds": (0.6, 0.9),
    "stripes": (0.06, 0.12, 0.3),
    "ring": (1.0, 10.0),
    "streak": (3.0, 10.0),
    "fringing": (0.12, 0.3),
    "glow": (3.0, 30.0),
    "shadow": (0.03, 0.1),
}
COLUMNS = ("source_kl", "isophote_kl", "isophote_local_z", "background_kl", "flat_background_kl")


def spoiled(ccds, anomaly, number):
    """The CCDs of an exposure with the anomaly. Each CCD is alone on its focal plane, as in these exposures."""
    result = []
    for i, ccd in enumerate(ccds):
        ny, nx = ccd.image.shape
        place = CcdPlace((ny, nx), (-nx / 2, -ny / 2), max(nx, ny) / 2, i, len(ccds))
        rng = np.random.default_rng([SEED, number, i])
        image = inject(ccd.image.astype(np.float64), anomaly, place, fwhm=FWHM, rng=rng)
        result.append(replace(ccd, image=image.astype(np.float32)))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a few exposures of one camera and band")
    folder = parser.parse_args().folder
    settings = Settings()
    exposures = [list(read_ccds(e, settings)) for e in discover([folder], settings).exposures]
    normal = [gpuanom.measure(c, settings, "cpu", exposure=str(i)) for i, c in enumerate(exposures)]
    rows = []
    for name, strengths in STRENGTHS.items():
        injector = INJECTORS[name]
        for strength in strengths:
            first = dict.fromkeys(COLUMNS, 0)
            off = []
            for i, ccds in enumerate(exposures):
                direction = float(np.random.default_rng([SEED, i]).uniform(-90, 90)) if injector.directed else np.nan
                anomaly = Anomaly(injector.kind, name, strength, direction, seed=i)
                odd = gpuanom.measure(spoiled(ccds, anomaly, i), settings, "cpu", exposure=str(i))
                table = gpuanom.rank([*normal[:i], odd, *normal[i + 1 :]], settings, device="cpu").exposures
                mine = table["exposure"] == str(i)
                for column in COLUMNS:
                    first[column] += bool(table[column][mine][0] >= np.max(table[column]))
                kind = "isophote" if injector.kind == "source" else "background"
                # Stripes run perpendicular to the gradients.
                found = float(table[f"{kind}_angle"][mine][0]) + (90 if kind == "background" else 0)
                off.append(abs((found - direction + 90) % 180 - 90))
            angle = f"{np.median(off):.0f}" if injector.directed else ""
            rows.append((name, f"{strength:g}", *(first[c] for c in COLUMNS), angle))
    header = ("class", "strength", *COLUMNS, "off [deg]")
    bench.write(
        "validation-real.md",
        f"""# What is found in real images

{bench.machine("numpy", "gpuanom", pinned=False)}; {folder.name}:
{len(exposures)} exposures of one camera and band, {len(exposures[0])} CCD each.

Each exposure in turn gets the anomaly (`gpuanom.simulate.inject`) and is ranked among the other {len(exposures) - 1} as
they are: how many of the {len(exposures)} come first by each score (by chance: 1), and the median difference between
the angle found (isophotal, or across the gradients) and the direction put in.

{bench.table(header, rows)}""",
    )


if __name__ == "__main__":
    main()
