"""A survey's store with drawn counts and statistics in place of pixels, for benchmarks of what follows the measurement.

python profiling/synthetic_survey.py FOLDER [--exposures 17112] [--ccds 61]

Normal exposures of 61 CCDs in three bands, in the proportions of DECaLS DR3: about 50 sources and 10,000 gradients a
CCD, statistics of METHOD.md Part II around typical values, and no maps. What the exposures show beyond their static
patterns is drawn as well, and kept as if it had been made from maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gpuanom.records import (
    KINDS,
    CcdMeasurement,
    CcdStatistics,
    DatasetStatistics,
    Exposure,
    ExposureStatistics,
    Measurement,
)
from gpuanom.scoring.judged import static_pattern
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES as STATISTICS
from gpuanom.store.store import NAME, Store

BANDS = {"g": 3919, "r": 5712, "z": 7481}
"""Exposures of DECaLS DR3."""
EXPOSURES = sum(BANDS.values())
CAMERA = "DECam"
CCDS = 61
DRAWN = 1000
"""So many exposures are drawn by default: to draw a survey takes minutes."""

_TYPICAL = {
    **dict.fromkeys([f"stripe_power_{b}" for b in range(12)], (20.0, 0.15)),
    **dict.fromkeys([f"stripe_period_{b}" for b in range(12)], (30.0, 0.3)),
    **dict.fromkeys(["row_jitter", "column_jitter", "kurtosis"], (1.0, 0.05)),
    "masked_share": (0.05, 0.2),
    "masked_patch": (0.002, 0.5),
    "map_rms": (0.1, 0.15),
    "fwhm": (4.5, 0.15),
    **dict.fromkeys(["fwhm_error", "e1_error", "e2_error", "kurtosis_error", "e_constant_error"], (0.01, 0.2)),
    "e_gradient_error": (0.01, 0.2),
    "n_stars": (30.0, 0.3),
    "repeat_separation": (60.0, 0.5),
    "repeat_evidence": (2.0, 0.5),
    "repeat_share": (0.01, 0.5),
}
"""Typical value and scatter of the logarithm; what is not named has a mean of 0 and this scatter of its value:"""
_SCATTER = 0.02


def _statistics(names, n, rng):
    """Values of statistics, (n, len(names)) float32."""
    values = np.empty((n, len(names)), dtype=np.float32)
    for k, name in enumerate(names):
        if name == "streak":
            values[:, k] = 0.0
        elif name.endswith("angle") or "_angle_" in name:
            values[:, k] = rng.uniform(-90, 90, n)
        elif name in _TYPICAL:
            typical, scatter = _TYPICAL[name]
            values[:, k] = typical * np.exp(scatter * rng.standard_normal(n))
        else:
            values[:, k] = _SCATTER * rng.standard_normal(n)
    return values


def measurements(band, first, n, settings, rng, n_ccds=CCDS):
    """Yield n measured exposures, their ids counted from `first`."""
    theta = np.pi * ((np.arange(settings.bins) + 0.5) / settings.bins - 0.5)
    cosine, sine = np.cos(2 * theta), np.sin(2 * theta)
    names = [f"{'NS'[c % 2]}{c // 2 + 1}" for c in range(n_ccds)]
    nothing = np.empty((0, 0), np.int8), np.empty(0, np.float32), np.empty(0, np.float32)
    for i in range(first, first + n):
        # Each bin has Poisson counts, which is the same as a multinomial distribution of a Poisson total.
        mean = rng.lognormal(np.log(50), 0.4) / settings.bins
        each = np.array([mean, 0.8 * mean, 1e4 / settings.bins, 1e4 / settings.bins])
        counts = rng.poisson(np.broadcast_to(each[:, None], (n_ccds, len(KINDS), settings.bins)))
        of_ccds = _statistics(STATISTICS.ccds, n_ccds, rng)
        sky = rng.lognormal(np.log(1000), 0.3) * np.exp(0.02 * rng.standard_normal(n_ccds))
        ccds = tuple(
            CcdMeasurement(
                name=names[c],
                status="ok",
                reason="",
                coefficients=np.array([sky[c], 0.0, 0.0, 0.0, 0.0, 0.0]),
                sky=float(sky[c]),
                sigma=float(np.sqrt(sky[c])),
                n_points=1000,
                n_sigma_points=10_000,
                n_sources=int(counts[c, 0].sum()),
                n_without_orientation=0,
                n_isophote=int(counts[c, 1].sum()),
                n_gradients=int(counts[c, 2].sum()),
                masked_fraction=0.01,
                saturated_fraction=0.001,
                counts=counts[c],
                cosine=counts[c] @ cosine,
                sine=counts[c] @ sine,
                sky_axes=(0.0, 7.3e-5, 7.3e-5, 0.0),
                shape=(4094, 2046),
                statistics=CcdStatistics(of_ccds[c], *nothing),
            )
            for c in range(n_ccds)
        )
        name = str(i)
        place = Path(f"/data/decals/{band}/c4d_{name}_ooi_{band}_v1.fits.fz")
        about = Exposure(name, CAMERA, band, "2014-08-22T04:05:06.7", 90.0, (place,), (None,), f"{i:032x}", "decam")
        own = ExposureStatistics(STATISTICS, _statistics(STATISTICS.exposures, 1, rng)[0])
        yield Measurement(about, ccds, settings.fingerprint(), statistics=own)


def keep_pattern_values(store, settings, rng, n_ccds=CCDS):
    """Keep drawn values in place of what the exposures show beyond their static patterns."""
    for camera, band in sorted({(e.camera, e.band) for e in store.measured_exposures().values()}):
        statistics: DatasetStatistics = store.statistics(camera, band, STATISTICS)
        chosen = static_pattern.chosen_exposures(statistics, settings.seed)
        if chosen:
            print_ = static_pattern.pattern_fingerprint(statistics, chosen, settings.seed)
            shape = n_ccds, len(static_pattern.NAMES)
            drawn = {e: rng.lognormal(0, 0.1, shape).astype(np.float32) for e in statistics.exposures}
            store.keep_pattern_values(camera, print_, drawn)


def build(folder, exposures=EXPOSURES, n_ccds=CCDS, seed=1, drawn=DRAWN):
    """Make a store of so many exposures in a folder, unless it is there; return its path.

    At most `drawn` exposures are drawn; further ones are copies of these under other ids. A store whose statistics are
    those of another version is refused: they would be left out, and the command would seem fast.
    """
    path = Path(folder) / NAME
    if path.exists():
        with Store(path, Settings(), read_only=True) as store:
            if not store.holds_statistics(STATISTICS):
                raise SystemExit(f"{path} holds the statistics of another version: remove it")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, settings = path.with_suffix(".partial"), Settings()
    partial.unlink(missing_ok=True)
    rng, first, share = np.random.default_rng(seed), 1_000_000, min(1.0, drawn / exposures)
    with Store(partial, settings) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # this survey can be made again, if it is lost
        store._db.execute("PRAGMA journal_mode = OFF")
        for band, of_all in BANDS.items():
            n = round(exposures * of_all / sum(BANDS.values()))
            n_drawn = max(1, round(n * share))
            for measurement in measurements(band, first, n_drawn, settings, rng, n_ccds):
                store.add(measurement)
            store._db.execute("BEGIN")
            for start in range(n_drawn, n, n_drawn):
                _copy(store._db, first, start, min(n_drawn, n - start))
            store._db.execute("COMMIT")
            first += 1_000_000
        keep_pattern_values(store, settings, rng, n_ccds)
    partial.rename(path)
    return path


def _copy(db, first, start, n):
    """Copy n drawn exposures, whose ids begin with `first`, to ids that begin with `first + start`."""
    for table in ("exposures", "ccds", "ccd_columns", "statistics"):
        names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")][2:]
        db.execute(
            f"INSERT INTO {table} SELECT camera, CAST(CAST(exposure AS INTEGER) + ? AS TEXT), {', '.join(names)}"
            f" FROM {table} WHERE camera = ? AND exposure >= ? AND exposure < ?",  # by the index of its key
            (start, CAMERA, str(first), str(first + n)),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that gets the store")
    parser.add_argument(
        "--exposures", type=int, default=sum(BANDS.values()), help="exposures of the survey (default: 17112)"
    )
    parser.add_argument("--ccds", type=int, default=CCDS, help="CCDs of an exposure (default: 61)")
    options = parser.parse_args()
    print(build(options.folder, options.exposures, options.ccds))
