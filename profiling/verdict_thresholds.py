"""Find the thresholds of the verdict: noise goes through all of `gpuanom.scoring.evidence.fit_null` (METHOD.md 13).

    python profiling/verdict_thresholds.py [--nights N]

Every statistic of every exposure and CCD is independent noise: ln Gamma(3), with the long tail toward small values for
one statistic and toward large values for the next one, because Gaussian noise is too lenient. A threshold is the
evidence that a third of the noise that METHOD.md allows reaches: 0.1% of the exposures for `bad` and 0.67% for `check`
(0.17% and 1% below 150 exposures), and 0.033% of the CCDs. It is the largest of those found with 1, 4 and 16 CCDs. The
numbers printed last are the defaults of the settings.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.judged.judged_statistics import OF_CCDS, OF_EXPOSURES, SOURCES_PER_STAR, VECTOR_KINDS
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.scoring.verdict.thresholds import THRESHOLD_EXPOSURES

ALLOWED = {20: (0.005, 0.03), 30: (0.005, 0.03), 50: (0.005, 0.03), 150: (0.003, 0.02), 1000: (0.003, 0.02)}
"""Shares of normal exposures that may be bad, and bad or check, by the number of exposures."""

LATEST = ("crosstalk_masked", SOURCES_PER_STAR)
"""Statistics of exposures that are drawn last: the noise of the others is as it was before there were these."""

ALLOWED_CCDS = 0.001
PART = 1.0 / 3.0


def noise(random: np.random.Generator, n: int, n_ccd: int) -> Measured:
    """Return a dataset of n exposures of n_ccd CCDs in which nothing is wrong and nothing depends on anything."""
    drawn = 0

    def values(size: int, logarithm: bool) -> np.ndarray:
        nonlocal drawn
        drawn += 1
        gamma = random.gamma(3.0, size=size)
        gamma = 1.0 / gamma if drawn % 2 else gamma
        return gamma if logarithm else np.log(gamma)

    exposures = {}
    made = ("_vector", "_gradient")
    for judged in OF_EXPOSURES:
        if judged.name.endswith(made) and judged.name.removesuffix("_vector").removesuffix("_gradient") in VECTOR_KINDS:
            continue  # these are made of the CCDs
        for column in judged.columns if judged.name not in LATEST else ():
            exposures[column] = values(n, judged.logarithm)
    exposures["n_sources"] = 1000.0 * exposures["n_sources"]
    exposures["sky"] = 1000.0 * exposures["sky"]
    exposures["sigma"] = 0.1 * np.sqrt(exposures["sky"])
    total = n * n_ccd
    ccds = {judged.name: values(total, judged.logarithm) for judged in OF_CCDS if not judged.name.endswith("_off")}
    for kind in VECTOR_KINDS:
        ccds[f"{kind}_cos"], ccds[f"{kind}_sin"] = 0.03 * values(total, False), 0.03 * values(total, False)
        ccds[f"{kind}_variance"] = np.full(total, 0.02**2)
    ccds["e1"], ccds["e2"] = 0.01 * values(total, False), 0.01 * values(total, False)
    logarithms = {judged.name: judged.logarithm for judged in OF_EXPOSURES}
    exposures |= {name: values(n, logarithms[name]) for name in LATEST}
    side = math.ceil(math.sqrt(n_ccd))
    place = np.tile(np.arange(n_ccd), n)
    scale = max(1, side - 1)
    x, y = 2.0 * (place % side) / scale - 1.0, 2.0 * (place // side) / scale - 1.0
    return Measured(n, exposures, np.repeat(np.arange(n), n_ccd), [f"C{k}" for k in place], ccds, x, y)


def main() -> None:
    """Print the evidence that noise reaches, and the thresholds that follow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=1, help="repeat so many times what is simulated by default")
    nights = parser.parse_args().nights
    found: dict[str, list[float]] = {"bad": [], "check": [], "bad_ccd": []}
    print("exposures CCDs nights  P(p<.1)  P(p<.01)    bad  check  bad CCD  second CCD at check")
    for n in THRESHOLD_EXPOSURES:
        largest = dict.fromkeys(found, 0.0)
        for n_ccd in (1, 4, 16):
            random = np.random.default_rng((n, n_ccd))
            count = nights * max(4, 6000 // n)
            evidence, of_ccds, second = [], [], []
            for _ in range(count):
                of_night = fit(noise(random, n, n_ccd))[1]
                evidence.append(of_night.of_exposures)
                of_ccds.append(of_night.of_ccds)
                second.append(of_night.second_ccd)
            every = np.concatenate(evidence)
            bad, check = (float(np.quantile(every, 1.0 - PART * share)) for share in ALLOWED[n])
            ccd = float(np.nanquantile(np.concatenate(of_ccds), 1.0 - PART * ALLOWED_CCDS)) if n_ccd >= 3 else 0.0
            for name, value in (("bad", bad), ("check", check), ("bad_ccd", ccd)):
                largest[name] = max(largest[name], value)
            calibrated = [float(np.mean(every > -math.log(p))) for p in (0.1, 0.01)]
            above = float(np.mean(np.concatenate(second) >= check)) if n_ccd >= 3 else 0.0
            print(
                f"{n:9d} {n_ccd:4d} {count:6d}  {calibrated[0]:7.4f}  {calibrated[1]:8.4f}  {bad:5.1f}  {check:5.1f}"
                f"  {ccd:7.1f}  {above:.4f}",
                flush=True,
            )
        for name, value in largest.items():
            found[name].append(value)
    for name, values in found.items():
        print(f"{name} = {tuple(float(math.ceil(10.0 * v) / 10.0) for v in values)}")


if __name__ == "__main__":
    main()
