"""Measure a pool of exposures, normal ones and anomalous ones, from which `validation_verdict.py` draws its nights.

python profiling/pool.py FILE [--normals 2000] [--odd 3] [--strengths 2,3] [--seed 31337] [--ccds 8] [--shape 512,512]

FILE keeps measurements alone, no pixels. The same command goes on where it stopped, or adds what a larger number asks
for. Normal exposures are those of `realistic.py`; each anomalous exposure is another such exposure with one anomaly,
of the classes and strengths of `validation.STRENGTHS`. A few classes are drawn more often, for nights in which all
anomalies are of one kind.
"""

from __future__ import annotations

import bench  # isort: skip  # noqa: F401  (first: it sets the numbers of threads)

import argparse
import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import realistic
import validation as v
from realistic import Camera

import gpuanom
from gpuanom.records import Measurement
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES

SEED = 31_337
SETTINGS = Settings(gradient_points=v.POINTS)
ONE_KIND = (("elongation", 2), ("donuts", 2), ("stripes", 2))
"""Class and number of the strength of what is drawn `ONE_KIND_COUNT` times."""
ONE_KIND_COUNT = 15
FIRST_ODD = 1_000_000
"""Numbers of the anomalous exposures begin here, those of the normal ones with 1."""
AT_ONCE = 100
"""Normal exposures between two rounds over all classes and strengths."""


@dataclass(frozen=True)
class What:
    """An exposure of the pool.

    Attributes
    ----------
    number : int
        Number of the exposure.
    key : str
        A key of `validation.STRENGTHS`, empty for a normal exposure.
    k : int
        Number of the strength.
    """

    number: int
    key: str = ""
    k: int = 0

    @property
    def strength(self) -> float:
        """The strength of the anomaly, 0 without one."""
        return v.STRENGTHS[self.key][self.k] if self.key else 0.0


def measured(camera: Camera, what: What) -> Measurement:
    """Draw an exposure of the pool and measure it."""
    about = realistic.weather(camera, what.number)
    if what.key:
        anomaly = realistic.anomaly_of(camera, what.key, what.strength, about)
        ccds = realistic.ccds(camera, about, realistic.scenes(camera, about, anomaly), anomaly)
    else:
        ccds = realistic.ccds(camera, about, realistic.scenes(camera, about))
    return gpuanom.measure(ccds, SETTINGS, "cpu", exposure=f"{what.number:07d}", camera="SIM", band="r")


def wanted(normals: int, odd: int, strengths: list[int]) -> list[What]:
    """The exposures of a pool, in the order in which they are measured: a pool that is not finished holds all kinds."""
    result = []
    kinds = [(key, k) for key in v.STRENGTHS for k in strengths]
    again = max(odd, ONE_KIND_COUNT) if odd else 0
    for i in range(max(again, -(-normals // AT_ONCE))):
        result += [What(n + 1) for n in range(i * AT_ONCE, min((i + 1) * AT_ONCE, normals))]
        for j, (key, k) in enumerate(kinds):
            if i < odd or (i < again and (key, k) in ONE_KIND):
                result.append(What(FIRST_ODD + 1000 * i + j, key, k))
    return result


def read(path: Path) -> tuple[dict[str, object], dict[What, Measurement], int]:
    """What a pool says of itself, what it holds, and where it ends; a last record that was cut short is left out."""
    with path.open("rb") as file:
        about = pickle.load(file)
        found: dict[What, Measurement] = {}
        while True:
            end = file.tell()
            try:
                what, measurement = pickle.load(file)
            except (EOFError, pickle.UnpicklingError):
                return about, found, end
            found[what] = measurement


def main() -> None:
    """Measure what the pool lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--normals", type=int, default=2000)
    parser.add_argument("--odd", type=int, default=3, help="of each class and strength")
    parser.add_argument("--strengths", default="2,3", help="numbers of the strengths, from 0")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--ccds", type=int, default=v.CCDS)
    parser.add_argument("--shape", default=",".join(map(str, v.SHAPE)))
    options = parser.parse_args()
    ny, nx = map(int, options.shape.split(","))
    camera = Camera(options.ccds, (ny, nx), options.seed)
    about = {"camera": camera, "settings": SETTINGS.fingerprint(), "statistics": NAMES.text}
    if not options.file.exists():
        options.file.write_bytes(pickle.dumps(about))
    known, found, end = read(options.file)
    if known != about:
        raise SystemExit(f"{options.file} holds another pool: {known}, not {about}")
    strengths = [int(k) for k in options.strengths.split(",")]
    tasks = [what for what in wanted(options.normals, options.odd, strengths) if what not in found]
    with options.file.open("r+b") as file:
        file.truncate(end)
        file.seek(end)
        start = time.perf_counter()
        for i, what in enumerate(tasks, 1):
            pickle.dump((what, measured(camera, what)), file)
            file.flush()
            if i % 50 == 0 or i == len(tasks):
                each = (time.perf_counter() - start) / i
                print(
                    f"{i} of {len(tasks)} measured, {each:.2f} s each, {each * (len(tasks) - i):.0f} s left", flush=True
                )


if __name__ == "__main__":
    import pool  # by its name, as the records know it

    pool.main()
