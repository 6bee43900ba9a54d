"""Nights of any size and with any names, written directly into a store: a report on them needs no pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpuanom.records import KINDS, CcdMeasurement, Exposure, Measurement
from gpuanom.settings import Settings
from gpuanom.store.store import NAME, Store

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload=window.hacked=1>'",
    'a&amp;b,"c"\n=1+1',
    "\u202eabc\x00\x1b[31m\u2028",
    "__proto__",
    "toString",
)


def ccd(name: str, rng: np.random.Generator, bins: int, shear: float = 0.0) -> CcdMeasurement:
    """The record of a CCD with plausible numbers, whose orientations lie along 30 degrees by `shear`."""
    theta = np.pi * (np.arange(bins) + 0.5) / bins - np.pi / 2
    p = 1.0 + shear * np.cos(2 * (theta - np.pi / 6))
    counts = np.array([rng.multinomial(n, p / p.sum()) for n in (60, 58, 10_000, 10_000)])
    return CcdMeasurement(
        name=name, status="ok", reason="", coefficients=np.array([100.0, 0, 0, 0, 0, 0]),
        sky=100.0 + float(rng.normal()), sigma=5.0, n_points=1000, n_sigma_points=10_000, n_sources=60,
        n_without_orientation=0, n_isophote=58, n_gradients=10_000, masked_fraction=0.0, saturated_fraction=0.0,
        counts=counts, cosine=counts @ np.cos(2 * theta), sine=counts @ np.sin(2 * theta), sky_axes=None,
    )  # fmt: skip


def night(
    folder: Path,
    n: int,
    *,
    names=(),
    ccds=("1", "2"),
    camera="TESTCAM",
    files: tuple[Path, ...] = (),
    bands=("g", "r"),
    odd=(),
    day=1,
) -> Path:
    """Write a night of n exposures without pixels; the exposures in `names` come first.

    The orientations of those numbered in `odd` are aligned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    rng = np.random.default_rng(1)
    assert len(KINDS) == 4
    with Store(folder / NAME, settings) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # this night may be lost in a crash
        for i in range(n):
            name = names[i] if i < len(names) else str(845_000 + i)
            exposure = Exposure(
                exposure=name, camera=camera, band=bands[i % len(bands)],
                date_obs=f"2026-01-{day + i // 400 % 28:02d}T{i // 60 % 10:02d}:{i % 60:02d}:00", exptime=90.0,
                files=files or (folder / f"gone_{i}.fits",), masks=(None,) * max(1, len(files)),
                fingerprint=f"f{i}", rule="any",
            )  # fmt: skip
            shear = 0.9 if i in odd else float(rng.exponential(0.05))
            store.add(
                Measurement(exposure, tuple(ccd(c, rng, settings.bins, shear) for c in ccds), settings.fingerprint())
            )
    return folder
